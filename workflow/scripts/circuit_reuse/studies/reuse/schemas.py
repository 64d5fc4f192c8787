"""The Parquet tables of the reuse study."""

import pyarrow as pa

from circuit_reuse.data.csv_tables import columns
from circuit_reuse.data.tables import CIRCUIT, COMPONENT, EXAMPLE, N_CLUSTERS, NAMES, bounds, column, optional, table
from circuit_reuse.studies.reuse.schemas_specificity import (
    FINE_GRAINED,
    FINE_GRAINED_SHARED,
    GENERIC,
    GENERIC_RUNS,
    GENERIC_SETS,
    LAYERS,
    OPTIMAL,
    OPTIMAL_RUNS,
    OVERLAP,
    SPECIFICITY,
    STABILITY,
    THRESHOLD,
    TOP_K,
    VARIANTS,
)

# Shares of nodes or edges whose faithfulness the table of areas gives too: the areas hardly see small circuits.
SMALL = (0.005, 0.01, 0.02)
K = column(pa.int32(), "components per example circuit that top_k stands for")

CIRCUITS = table(
    kind=column(
        pa.string(),
        "example, shared, half (shared by a random half of the examples), control (disjoint) or random (same composition, or as many in each layer)",
    ),
    top_k=TOP_K,
    k=K,
    threshold=optional(pa.float64(), "reuse threshold p, a share; null for example circuits"),
    example=optional(pa.int32(), "the example whose circuit this is"),
    control=optional(pa.int32(), "number of the control or random set, from 0; of a half, 2 d or 2 d + 1 of draw d"),
    circuit=column(
        pa.string(),
        "hash of the component names; of the circuit that a control is for; of random sets, their composition, or layer-matched "
        "and the hash of the circuit",
    ),
    components=column(NAMES, "component names in the order of the computation"),
    problem=optional(pa.string(), "why a shared circuit has no controls"),
)
INCLUSION = table(
    top_k=TOP_K,
    k=K,
    component=COMPONENT,
    n_containing=column(pa.int32(), "train examples whose circuit holds the component"),
    frequency=column(pa.float64(), "the same as a share"),
    mean_score=column(pa.float64(), "mean score over the train examples"),
)
SIMILARITY = table(
    top_k=TOP_K,
    first=column(pa.int32(), "example"),
    second=column(pa.int32(), "a later example"),
    jaccard=column(pa.float64(), "Jaccard index of the two example circuits"),
    rank_correlation=optional(pa.float64(), "Spearman correlation of all absolute scores"),
)
CLUSTERS = table(
    top_k=TOP_K,
    example=EXAMPLE,
    cluster=column(pa.int32(), "cluster of example circuits, from 1"),
    place=column(pa.int32(), "place in the clustered order"),
    variant=column(pa.string(), "label of the example"),
    template=column(pa.string(), "template of the example"),
)
REUSE = table(
    task=column(pa.string(), "task"),
    top_k=TOP_K,
    k=K,
    threshold=THRESHOLD,
    n_examples=column(pa.int32(), "train examples"),
    n_clusters=N_CLUSTERS,
    circuit=CIRCUIT,
    n_components=column(pa.int32(), "components of the shared circuit"),
    reuse=column(pa.float64(), "min(size, K) / K"),
    reuse_null=column(
        pa.float64(), "mean of the same with random example circuits, those of a cluster as alike as they are"
    ),
    reuse_null_high=column(pa.float64(), "95 per cent quantile of the same"),
    p_reuse=column(pa.float64(), "(1 + random draws with as much reuse) / (draws + 1)"),
    reuse_other=optional(
        pa.float64(), "mean reuse when circuits are mixed with another task's, for the task with the largest p"
    ),
    p_reuse_other=optional(pa.float64(), "permutation p against the task it is least apart from"),
    reuse_rarefied=column(pa.float64(), "mean reuse over subsets of a fixed size"),
    mean_n_components=column(pa.float64(), "mean size of example circuits: K, less components of score 0"),
    share_tied=column(pa.float64(), "share of example circuits whose last component ties with one outside"),
    identifiability=column(pa.float64(), "mean inclusion frequency of the K most frequent"),
    mean_jaccard=column(pa.float64(), "mean Jaccard index of two example circuits"),
    mean_rank_correlation=optional(pa.float64(), "mean Spearman correlation of two examples"),
    n_circuit_clusters=column(pa.int32(), "clusters of example circuits"),
    cluster_variant_agreement=optional(pa.float64(), "adjusted Rand index of clusters, variants"),
    p_variant=optional(pa.float64(), "permutation p that similarity follows the variant"),
    p_template=optional(pa.float64(), "permutation p that similarity follows the template"),
)

TESTS = table(
    top_k=TOP_K,
    k=K,
    threshold=THRESHOLD,
    circuit=CIRCUIT,
    n_components=column(pa.int32(), "components of the shared circuit"),
    n_examples=column(pa.int32(), "held-out examples"),
    n_clusters=N_CLUSTERS,
    n_controls=column(pa.int32(), "different random circuits, disjoint from it"),
    n_random=column(
        pa.int32(),
        "different layer-matched random sets, for p_value: fewer than 19 cannot give 0.05; 0 where it fills its layers",
    ),
    n_random_uniform=column(pa.int32(), "different random sets of its composition, for p_uniform"),
    n_random_norm=column(pa.int32(), "different norm-matched random sets, for p_norm"),
    split=column(pa.string(), "held_out"),
    replacement=column(pa.string(), "what removed components are replaced by"),
    metric=column(pa.float64(), "mean metric of the intact model, logits or nats"),
    gap=column(pa.float64(), "mean metric of the clean prompts - of the corrupt ones, logits or nats"),
    effect=optional(
        pa.float64(), "mean change in the metric when the circuit is removed, logits or nats; negative is harm"
    ),
    **bounds("effect"),
    effect_control=optional(pa.float64(), "mean of the same over the controls"),
    **bounds("effect_control", "quantile over the controls"),
    effect_random=optional(pa.float64(), "mean of the same over the random sets of p_value, those of the same layers"),
    **bounds("effect_random", "quantile over these"),
    difference=optional(pa.float64(), "effect - effect_control, logits or nats"),
    **bounds("difference", "bootstrap bound"),
    accuracy=column(pa.float64(), "share correct without intervention"),
    **bounds("accuracy", "Wilson's bound, of the effective number of examples"),
    accuracy_circuit=optional(pa.float64(), "share correct with the circuit removed"),
    **bounds("accuracy_circuit", "Wilson's bound, of the effective number of examples"),
    accuracy_control=optional(pa.float64(), "share correct with a control removed, mean"),
    **bounds("accuracy_control", "quantile over the controls"),
    accuracy_control_0=optional(pa.float64(), "the same for control 0, which p_mcnemar uses"),
    lift=optional(
        pa.float64(), "(accuracy_circuit - accuracy_control) / accuracy; negative is harm beyond the controls"
    ),
    **bounds("lift", "bound, adjusted Wald"),
    p_mcnemar=optional(
        pa.float64(),
        "exact McNemar, circuit against control 0, two-sided; sign flips of clusters where examples share any",
    ),
    p_permutation=optional(
        pa.float64(), "sign flips of effect - mean control by cluster, two-sided; null for fewer than 6 clusters"
    ),
    p_value=optional(
        pa.float64(),
        "rank test: (1 + random sets that hurt as much) / (random sets + 1), among sets with as many heads and MLPs in each layer",
    ),
    p_uniform=optional(pa.float64(), "the same among sets with as many heads and MLPs from any layer"),
    p_norm=optional(
        pa.float64(),
        "the same among sets with as many heads and MLPs in each stratum of output norm; null unless asked for",
    ),
    faithfulness=optional(pa.float64(), "(metric of the circuit alone - all removed) / (intact - all removed)"),
    **bounds("faithfulness"),
    faithfulness_control=optional(pa.float64(), "the same for the controls alone, mean"),
    kl=optional(pa.float64(), "mean KL(clean || circuit removed), nats"),
    problem=optional(pa.string(), "why there is no test"),
    components=column(NAMES, "the components of the shared circuit"),
)
CROSS = table(
    source=column(pa.string(), "task whose shared circuit is removed"),
    target=column(pa.string(), "task on whose held-out examples it is removed"),
    top_k=TOP_K,
    threshold=THRESHOLD,
    circuit=CIRCUIT,
    n_components=column(pa.int32(), "components"),
    n_examples=column(pa.int32(), "held-out examples of the target"),
    n_clusters=N_CLUSTERS,
    n_controls=column(pa.int32(), "different random circuits compared with"),
    accuracy=column(pa.float64(), "share correct without intervention"),
    accuracy_drop=optional(pa.float64(), "accuracy - accuracy with the circuit removed; positive is harm"),
    **bounds("accuracy_drop", "bound, adjusted Wald"),
    accuracy_drop_control=optional(pa.float64(), "mean drop for the controls"),
    effect=optional(
        pa.float64(), "mean change in the metric when the circuit is removed, logits or nats; negative is harm"
    ),
    **bounds("effect", "bootstrap bound"),
    effect_control=optional(pa.float64(), "mean of the same over the controls"),
    jaccard=optional(pa.float64(), "Jaccard index of the two tasks' shared circuits"),
)
AGREEMENT = table(
    task=column(pa.string(), "task"),
    example=EXAMPLE,
    method=column(pa.string(), "method compared with activation patching"),
    rank_correlation=optional(pa.float64(), "Spearman, |score| over the components that circuits may hold"),
    top_overlap=column(pa.float64(), "share of the K largest that both have"),
)
LEVEL = column(pa.string(), "node (heads, MLPs, input) or edge")
RANKING = column(pa.string(), "absolute, signed (helpful first) or random")
SIZE = column(pa.float64(), "share of all nodes or edges that the circuit holds")
KEPT = column(pa.int32(), "nodes or edges that it holds: the share, rounded down")
CURVE_RUNS = table(
    level=LEVEL,
    ranking=RANKING,
    draw=optional(pa.int32(), "number of the random ranking"),
    share_kept=SIZE,
    n_kept=KEPT,
    example=EXAMPLE,
    metric=column(pa.float64(), "metric with all else corrupted, logits or nats"),
)
CURVES = table(
    level=LEVEL,
    ranking=RANKING,
    share_kept=SIZE,
    n_kept=KEPT,
    n_total=column(pa.int32(), "all nodes or edges"),
    n_examples=column(pa.int32(), "held-out examples"),
    n_clusters=N_CLUSTERS,
    faithfulness=optional(pa.float64(), "0 all corrupted, 1 the intact model"),
    **bounds("faithfulness"),
    cpr=optional(pa.float64(), "area under faithfulness, signed ranking; of the level"),
    **bounds("cpr", "bootstrap bound"),
    cmd=optional(pa.float64(), "area under |1 - faithfulness|, absolute ranking; of the level"),
    cmd_low=optional(pa.float64(), "2.5 per cent bound of resampled examples: a spread"),
    cmd_high=optional(pa.float64(), "97.5 per cent bound of the same; CMD is biased upwards"),
    cpr_random=optional(pa.float64(), "the same for random rankings"),
    **bounds("cpr_random", "bootstrap bound"),
    cmd_random=optional(pa.float64(), "the same for random rankings"),
    **bounds("cmd_random", "bootstrap bound"),
)
EDGES = table(
    writer=column(pa.string(), "component that writes"),
    reader=column(pa.string(), "a5.h1.q, .k or .v, m3 or logits"),
    score=column(pa.float64(), "mean score over the train examples, units of the metric"),
    score_standard_error=column(pa.float64(), "of the mean"),
    score_absolute=column(pa.float64(), "mean of the absolute score"),
)
COMPLETENESS = table(
    kind=column(pa.string(), "completeness (a random half left out) or minimality (one)"),
    n_components=column(pa.int32(), "nodes of the circuit"),
    left_out=column(NAMES, "what is left out"),
    faithfulness=optional(pa.float64(), "faithfulness of the circuit"),
    faithfulness_model_without=optional(pa.float64(), "faithfulness of the model without what is left out"),
    faithfulness_without=optional(pa.float64(), "faithfulness of the circuit without it"),
    difference=optional(pa.float64(), "completeness: |full - circuit| without it; minimality: what the circuit loses"),
)
HYPOTHESES = table(
    test=column(
        pa.string(),
        "equivalence (sign test: the circuit alone has the larger metric on half of the examples), independence (HSIC, permutations: the "
        "model without the circuit does not know which examples the whole one does well on) or minimality (binomial: taking the component "
        "from the circuit changes the metric more than a share of random components that were added to it)",
    ),
    component=optional(pa.string(), "the component, of minimality"),
    n_components=column(pa.int32(), "nodes of the circuit"),
    n_examples=column(pa.int32(), "held-out examples"),
    n_clusters=N_CLUSTERS,
    n_random=column(pa.int32(), "permutations, or random components added"),
    statistic=column(pa.float64(), "share of examples; HSIC; mean |change of the metric|"),
    p_value=optional(
        pa.float64(),
        "small: against equivalence, against independence, for the component being needed; null without a random component",
    ),
)

SCHEMAS = {
    "circuits": CIRCUITS,
    "inclusion": INCLUSION,
    "similarity": SIMILARITY,
    "clusters": CLUSTERS,
    "reuse": REUSE,
    "tests": TESTS,
    "cross_task": CROSS,
    "specificity": SPECIFICITY,
    "overlap": OVERLAP,
    "stability": STABILITY,
    "variants": VARIANTS,
    "fine_grained": FINE_GRAINED,
    "optimal_runs": OPTIMAL_RUNS,
    "fine_grained_shared": FINE_GRAINED_SHARED,
    "generic_runs": GENERIC_RUNS,
    "generic_sets": GENERIC_SETS,
    "generic": GENERIC,
    "agreement": AGREEMENT,
    "curve_runs": CURVE_RUNS,
    "curves": CURVES,
    "edges": EDGES,
    "completeness": COMPLETENESS,
    "hypotheses": HYPOTHESES,
}

AREAS = ("cpr", "cmd", "cpr_random", "cmd_random")
PUBLISHED = (
    "model_name hf_revision task method num_examples baseline_train_accuracy baseline_val_accuracy _metrics_path top_k "
    "reuse_threshold reuse_percent shared_circuit_size train_knockout_diff val_knockout_diff perm_train_p perm_train_obs "
    "perm_val_p perm_val_obs task_display model_display method_display"
).split()
# The tables for people, by the names of the outputs.
CSVS = {
    "summary": columns(
        "model task method",
        REUSE,
        TESTS,
        q="p_value p_uniform p_norm p_permutation p_mcnemar p_reuse p_reuse_other",
        n_examples_train="train examples, which circuits are chosen on",
    ),
    "aggregated": dict.fromkeys(
        PUBLISHED, "as in the published study, shares in per cent; train columns stay empty, its val is held out"
    ),
    "cross": columns("model method", CROSS),
    "specificity": columns("model method", SPECIFICITY, q="p_value"),
    "overlap": columns("model method", OVERLAP, q="p_value"),
    "generic": columns("model method", GENERIC, q="p_value p_left"),
    "stability": columns("model task", STABILITY),
    "layers": LAYERS,
    "fine_grained": columns("model task", FINE_GRAINED, q="p_value p_effect"),
    "fine_grained_shared": columns("model task", FINE_GRAINED_SHARED),
    "optimal": OPTIMAL,
    "agreement": columns(
        "model task method",
        rank_correlation="mean over examples of the Spearman correlation of absolute scores with activation patching",
        top_overlap="mean over examples of the share of the K largest that both have",
        n_examples="examples compared",
    ),
    "accuracy": columns(
        "model task",
        split="train or held_out",
        n_examples="pairs that were drawn",
        n_valid="pairs that can be used",
        accuracy="share of the valid pairs that the intact model answers correctly",
        clean_metric="mean metric of the clean prompts, logits or nats",
        corrupt_metric="mean metric of the corrupt prompts, same answers",
    ),
}
# Those of the curves of faithfulness, in a folder of their own.
FAITHFULNESS_CSVS = {
    "curves": columns("model task method", CURVES, without=[n for n in CURVES.names if n.startswith(AREAS)]),
    "areas": columns(
        "model task method",
        {name: text for name, text in columns("", CURVES).items() if name.startswith(AREAS)},
        level="node (heads, MLPs, input) or edge",
    )
    | {f"faithfulness_at_{share:g}": f"faithfulness of the {100 * share:g} % of largest |score|" for share in SMALL},
    "completeness": columns("model task method", COMPLETENESS),
    "hypotheses": columns("model task method", HYPOTHESES, q="p_value"),
}
