"""The Parquet tables of the contrast study."""

import pyarrow as pa

from circuit_reuse.data.csv_tables import columns
from circuit_reuse.data.tables import COMPONENT, N_CLUSTERS, NAMES, bounds, column, optional, table

CONDITION = column(
    pa.string(),
    "what is compared: real (a text of each set); controls unrelated (two of one set), shuffled "
    "(labels in random order), right_truncated and left_truncated (a text and itself without its end, its beginning), "
    "padded (real, the second "
    "made longer); half_1, half_2 (every other real pair)",
)
SCORED_BY = column(pa.string(), "scoring or attribution method that scored the components; file for a circuit file")
RULE = column(pa.string(), "published, ratio or knapsack; the name of the circuit for a file")
CIRCUIT = column(pa.string(), "hash of the component names, `input` left out")
COST = column(pa.int32(), "write cost: d_model for the input and an MLP, d_head for a head")

DIFFERENCES = table(
    condition=CONDITION,
    scoring=column(pa.string(), "scoring of the config"),
    component=COMPONENT,
    cost=COST,
    n_pairs=column(pa.int32(), "pairs compared"),
    n_clusters=column(pa.int32(), "clusters that these fall into: the units of p and of the bootstrap"),
    score=optional(pa.float64(), "the scoring's score; null with fewer than 2 pairs or no spread"),
    **bounds("score", "bootstrap bound over clusters"),
    score_null=optional(pa.float64(), "mean score over sign flips; distance only"),
    score_null_high=optional(pa.float64(), "95 per cent quantile over sign flips; distance only"),
    excess=optional(pa.float64(), "mean_of_norms: of neighbouring pairs, between the sets less within them; else null"),
    p_excess=optional(pa.float64(), "one-sided p of the excess, by sign flips; empty for fewer than 6 clusters"),
    p_value=optional(
        pa.float64(),
        "p that the sets' mean activations at these positions differ, by sign flips; empty for fewer than 6 clusters",
    ),
    q_value=optional(pa.float64(), "Benjamini-Hochberg over the components of condition and scoring"),
)
PAIRS = table(
    pair=column(pa.dictionary(pa.int32(), pa.string()), "name of the pair"),
    positions=column(pa.dictionary(pa.int32(), pa.string()), "positions averaged over"),
    component=COMPONENT,
    norm=column(pa.float32(), "length of the difference of the two texts' mean activations"),
)
DRAWS = table(
    condition=CONDITION,
    scored_by=SCORED_BY,
    component=COMPONENT,
    score=optional(pa.float64(), "score"),
    score_draws=column(pa.list_(pa.float32()), "the same in each bootstrap draw; nan where it cannot be had"),
    score_null=column(pa.list_(pa.float32()), "the same for each flip of labels; none for attribution"),
)
CONTRAST_CIRCUITS = table(
    condition=CONDITION,
    scored_by=SCORED_BY,
    rule=RULE,
    budget=column(pa.float64(), "budget as configured: dimensions from 1, below 1 a share of all"),
    dimensions=column(pa.int32(), "budget in dimensions of the stream"),
    cost=COST,
    main=column(pa.bool_(), "whether this is the budget at which circuits are tested"),
    circuit=CIRCUIT,
    components=column(NAMES, "component names, `input` first, then those chosen first"),
)
INCLUSION_DRAWS = table(
    condition=CONDITION,
    scored_by=SCORED_BY,
    rule=RULE,
    component=COMPONENT,
    in_circuit=column(pa.bool_(), "whether the circuit at the main budget holds it"),
    frequency=column(pa.float64(), "share of bootstrap draws whose circuit holds it"),
)
SCHEMAS = {
    "differences": DIFFERENCES,
    "pairs": PAIRS,
    "draws": DRAWS,
    "contrast_circuits": CONTRAST_CIRCUITS,
    "inclusion_draws": INCLUSION_DRAWS,
}

CHOSEN = {
    "scored_by": SCORED_BY[1],
    "rule": RULE[1],
    "dimensions": "budget in dimensions of the stream",
    "cost": COST[1],
}
KEPT = {
    "faithfulness": "(metric of the circuit alone - all corrupted) / (intact - all corrupted)",
    "effect_share": "effect of removing the circuit as a share of that of removing everything; positive is harm",
}
# The tables for people, by the names of the outputs.
CSVS = {
    "differences": columns("model set", DIFFERENCES),
    "circuits": columns("model set", CONTRAST_CIRCUITS),
    "inclusion": columns("model set", INCLUSION_DRAWS),
    "tests": columns(
        "model set",
        CHOSEN,
        KEPT,
        ends="faithfulness faithfulness_random effect_share effect_share_random faithfulness_lead",
        q="p_faithfulness p_effect_share",
        circuit=CIRCUIT[1],
        n_heads="heads of the circuit",
        n_mlps="its MLPs",
        n_examples="held-out examples",
        n_clusters=N_CLUSTERS[1],
        n_random="different random circuits of its composition",
        accuracy="share that the intact model answers correctly",
        accuracy_kept="share correct with the circuit alone",
        accuracy_circuit="share correct with the circuit removed",
        faithfulness_random="mean of the same over random circuits",
        effect_share_random="mean of the same over random circuits",
        p_faithfulness="rank of faithfulness among random circuits, one-sided",
        p_effect_share="rank of effect_share among random circuits, one-sided",
        faithfulness_lead="faithfulness less that of the circuit by attribution within the same budget",
    ),
    "budget_sweep": columns(
        "model set",
        CHOSEN,
        KEPT,
        ends="faithfulness effect_share",
        budget="budget as configured: dimensions from 1, below 1 a share of all",
        n_random="random circuits of the budget, of which the row gives the mean and, as bounds, the range",
    ),
    "components": columns(
        "model set",
        DIFFERENCES,
        ends="effect_share effect_share_absolute",
        q="p_effect p_absent",
        n_examples="held-out examples",
        n_clusters_held_out="clusters that the held-out examples fall into: the units of the interval and test of the effect",
        effect="mean change in the metric when the component alone is corrupted, logits or nats; negative is harm",
        effect_share="the same as a share of the effect of corrupting everything; positive is harm",
        effect_share_absolute="mean |change| as a share of the mean whole |effect|",
        p_effect="two-sided sign-flip p of the effect",
        p_absent="p that the mean |change| is contrast.margin of the whole |effect| or more, the larger of Student's and Hall's: small where the component does nothing alone",
        interpretation="does (differs, has an effect alone), idle (differs, has none), open (differs, effect not decided), silent (has an effect, no difference shown) or none",
    ),
    "lengths": columns(
        "model set",
        scoring="scoring of the config",
        condition=CONDITION[1],
        n_pairs="pairs compared",
        n_clusters="clusters of these",
        n_components="components compared",
        n_significant="components with q of at most tests.alpha; empty where there is no q",
        top_component="component of largest score",
        top_score="its score",
        mean_score="mean score",
        ratio="median score as a share of the real comparison's, over components whose real score is above 0",
        correlation="Spearman correlation with the scores of the real comparison",
        by_construction="whether the comparison cannot come out otherwise, by construction",
        jaccard="Jaccard index of the circuit with that of the real comparison",
    ),
    "replicate": columns(
        ends="value",
        pair="comparison of two circuits",
        kind="given (asked for), halves, control or scorings",
        statistic="statistic",
        value="its value",
        threshold="threshold of contrast.replicate.thresholds",
        passes="whether it passes; empty where nothing is asked or known",
    ),
    "replicate_components": columns(
        pair="comparison of two circuits",
        kind="given (asked for), halves, control or scorings",
        component="component",
        in_first="whether the first circuit holds it",
        in_second="whether the second does",
        rank_first="its rank in the first",
        rank_second="in the second",
        score_first="its score in the first",
        score_second="in the second",
    ),
}
