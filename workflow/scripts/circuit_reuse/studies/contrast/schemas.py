"""The Parquet tables of the contrast study."""

import pyarrow as pa

from circuit_reuse.data.tables import COMPONENT, NAMES, column, optional, table

CONDITION = column(
    pa.string(),
    "what is compared: real (a text of each set); controls unrelated (two of one set), shuffled "
    "(labels in random order), right_truncated and left_truncated (a text and itself without its end, its beginning), "
    "padded (real, the second "
    "made longer); half_1, half_2 (every other real pair)",
)
SOURCE = column(pa.string(), "scoring or attribution method that scored the components; file for a circuit file")
RULE = column(pa.string(), "published, ratio or knapsack; the name of the circuit for a file")
CIRCUIT = column(pa.string(), "hash of the component names, `input` left out")
COST = column(pa.int32(), "write cost: d_model for the input and an MLP, d_head for a head")

DIFFERENCES = table(
    condition=CONDITION,
    scoring=column(pa.string(), "scoring of the config"),
    component=COMPONENT,
    cost=COST,
    pairs=column(pa.int32(), "pairs compared"),
    clusters=column(pa.int32(), "clusters that these fall into: the units of p and of the bootstrap"),
    score=optional(pa.float64(), "the scoring's score; null with fewer than 2 pairs or no spread"),
    low=optional(pa.float64(), "lower end of its 95 per cent bootstrap interval over clusters"),
    high=optional(pa.float64(), "upper end"),
    null=optional(pa.float64(), "mean score over sign flips; distance only"),
    null_high=optional(pa.float64(), "95 per cent quantile over sign flips; distance only"),
    excess=optional(pa.float64(), "mean_of_norms: of unrelated pairs, between the sets less within them; else null"),
    p_excess=optional(pa.float64(), "one-sided p of the excess, by sign flips"),
    p_value=optional(pa.float64(), "p that the sets' mean activations at these positions differ, by sign flips"),
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
    source=SOURCE,
    component=COMPONENT,
    score=optional(pa.float64(), "score"),
    draws=column(pa.list_(pa.float32()), "the same in each bootstrap draw; nan where it cannot be had"),
    null=column(pa.list_(pa.float32()), "the same for each flip of labels; none for attribution"),
)
CONTRAST_CIRCUITS = table(
    condition=CONDITION,
    source=SOURCE,
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
    source=SOURCE,
    rule=RULE,
    component=COMPONENT,
    selected=column(pa.bool_(), "whether the circuit at the main budget holds it"),
    probability=column(pa.float64(), "share of bootstrap draws whose circuit holds it"),
)
SCHEMAS = {
    "differences": DIFFERENCES,
    "pairs": PAIRS,
    "draws": DRAWS,
    "contrast_circuits": CONTRAST_CIRCUITS,
    "inclusion_draws": INCLUSION_DRAWS,
}
