"""The Parquet tables of the scaling study.  `first` and `second` are its two tasks, in order."""

import pyarrow as pa

from circuit_reuse.data.tables import COMPONENT, EXAMPLE, NAMES, column, optional, table

SPLIT = column(pa.string(), "train (heroes are chosen) or held_out (everything reported)")
REPLACEMENT = column(pa.string(), "zero, mean, corrupt or resample")
LAYER = column(pa.int32(), "layer, from 0")
HEAD = column(pa.int32(), "head, from 0")
CATEGORY = "first_only, second_only, shared, weak or uncertain"

SCAN = table(
    example=EXAMPLE,
    split=SPLIT,
    replacement=REPLACEMENT,
    component=COMPONENT,
    metric=column(pa.float32(), "metric with the head replaced, logits or nats"),
    delta=column(pa.float32(), "the same less the metric of the intact model: negative where it helps"),
    correct=column(pa.bool_(), "whether the answer is correct with the head replaced"),
    base=column(pa.float32(), "metric of the intact model"),
    base_correct=column(pa.bool_(), "whether the intact model answers correctly"),
    output_norm=column(pa.float32(), "norm of what the head writes into the stream, mean over positions"),
)
TRACE = table(
    example=EXAMPLE,
    direction=column(pa.string(), "restore (clean into the corrupt run) or corrupt (corrupt into the clean run)"),
    part=column(pa.string(), "z, q, k, v, pattern of a head; attention, mlp or stream of a layer"),
    layer=LAYER,
    head=optional(pa.int32(), "head; null for parts of layers"),
    role=optional(pa.string(), "positions at which it is put in; null for all"),
    influence=column(pa.float32(), "change in the metric of the run, logits or nats"),
    gap=column(pa.float32(), "clean less corrupt metric of the example, same units"),
)


def both(kind, name, text):
    """Two columns, one a task, null where a task could not be measured."""
    return {f"{name}_{side}": optional(kind, f"{text}, {side} task") for side in SIDES}


SIDES = ("first", "second")
HEADS = table(
    split=SPLIT,
    replacement=REPLACEMENT,
    component=COMPONENT,
    layer=LAYER,
    head=HEAD,
    depth=column(pa.float64(), "layer / number of layers"),
    **both(pa.int32(), "n", "examples"),
    **both(pa.float64(), "base", "mean metric of the intact model, logits or nats"),
    **both(pa.float64(), "base_se", "its standard error"),
    **both(pa.float64(), "base_low", "lower end of its 95 per cent t interval"),
    **both(pa.float64(), "base_high", "upper end"),
    **both(pa.float64(), "delta", "mean change when the head is replaced"),
    **both(pa.float64(), "delta_se", "its standard error over examples"),
    **both(pa.float64(), "delta_low", "lower end of its 95 per cent t interval"),
    **both(pa.float64(), "delta_high", "upper end"),
    **both(pa.float64(), "effect", "delta in the units of tau"),
    **both(pa.float64(), "p_value", "two-sided test that the mean delta is 0, the larger of Student's and Hall's"),
    **both(pa.float64(), "q_value", "Benjamini-Hochberg over the heads of the model and both tasks"),
    **both(pa.string(), "state", "strong, absent or unclear"),
    **both(pa.float64(), "output_norm", "mean norm of what the head writes"),
    strength=optional(pa.float64(), "|effect| on the first task + |effect| on the second"),
    category=column(pa.string(), f"{CATEGORY}, by effect and false discovery rate"),
    category_effect=column(pa.string(), f"{CATEGORY}, by the plain rule |effect| >= tau"),
    suppressing=column(
        pa.string(), "tasks that the head works against (strong, delta above 0): none, first, second, both"
    ),
)
MODEL_TRENDS = table(
    replacement=REPLACEMENT,
    heads=column(pa.int32(), "heads of the model"),
    able=column(pa.bool_(), "whether the base metric of both tasks is above 0 (interval)"),
    **both(pa.float64(), "base", "mean metric of the intact model"),
    **both(pa.float64(), "base_low", "lower end of its interval"),
    **both(pa.float64(), "base_high", "upper end"),
    **both(pa.float64(), "accuracy", "share that the intact model answers correctly"),
    **both(pa.float64(), "reliability", "correlation over heads of train and held-out deltas"),
    correlation=optional(pa.float64(), "Pearson correlation of the two deltas over all heads"),
    corrected=optional(pa.float64(), "the same, noise of the deltas taken off"),
    corrected_low=optional(pa.float64(), "2.5 per cent bound of that, examples drawn again"),
    corrected_high=optional(pa.float64(), "97.5 per cent bound"),
    spearman=optional(pa.float64(), "Spearman correlation of the deltas"),
    without_strongest=optional(pa.float64(), "correlation without the head of largest strength"),
    p_correlation=optional(pa.float64(), "permutation of heads, two-sided"),
    p_within_layers=optional(pa.float64(), "the same, permuted within layers only"),
    selected_k=column(pa.int32(), "heads that the study's rule would keep of each task"),
    selected=optional(pa.float64(), "correlation after that rule: union of the top k, missing filled with 0"),
    selected_null=optional(pa.float64(), "mean of the same with heads permuted, then selected"),
    selected_null_low=optional(pa.float64(), "2.5 per cent quantile of that null"),
    selected_null_high=optional(pa.float64(), "97.5 per cent quantile"),
    p_selected=optional(pa.float64(), "two-sided p under that null"),
    strong=column(pa.int32(), "heads with |effect| >= tau in some task and q <= alpha there"),
    strong_low=column(pa.int32(), "2.5 per cent quantile, examples drawn again: a spread"),
    strong_high=column(pa.int32(), "97.5 per cent quantile"),
)
DEPTHS = table(
    replacement=REPLACEMENT,
    category=column(pa.string(), CATEGORY),
    heads=column(pa.int32(), "heads of the class"),
    share=column(pa.float64(), "of all heads of the model"),
    share_low=column(pa.float64(), "Wilson 95 per cent bound"),
    share_high=column(pa.float64(), "the same, upper"),
    depth=optional(pa.float64(), "mean depth of its heads"),
    depth_low=optional(pa.float64(), "2.5 per cent bound, heads drawn again"),
    depth_high=optional(pa.float64(), "97.5 per cent bound"),
    p_depth=optional(pa.float64(), "two-sided p that the class is as deep as any heads"),
)
SWEEP = table(
    replacement=REPLACEMENT,
    tau=column(pa.float64(), "threshold, in the units of scaling.classes.unit"),
    category=column(pa.string(), CATEGORY),
    heads=column(pa.int32(), "heads by effect and false discovery rate"),
    heads_effect=column(pa.int32(), "heads by the plain rule"),
)
HEROES = table(
    category=column(pa.string(), f"{CATEGORY}, on the train split"),
    rank=column(pa.int32(), "place by strength on the train split, from 1"),
    component=COMPONENT,
    layer=LAYER,
    head=HEAD,
    suppressing=column(pa.string(), "tasks that it works against, train split"),
    strength_train=column(pa.float64(), "strength on the train split, which chose it"),
    strength=optional(pa.float64(), "strength on the held-out split"),
    category_held_out=column(pa.string(), "class on the held-out split"),
    **both(pa.float64(), "delta_train", "mean delta on the train split"),
    **both(pa.float64(), "delta", "mean delta on the held-out split"),
    **both(pa.float64(), "delta_low", "lower end of its interval"),
    **both(pa.float64(), "delta_high", "upper end"),
    **both(pa.float64(), "q_value", "on the held-out split"),
)
HERO_SETS = table(
    ranking=column(pa.string(), "all, or the class whose heads are taken"),
    size=column(pa.int32(), "heads"),
    matching=optional(pa.string(), "plain, layer or norm; null for the heroes themselves"),
    control=optional(pa.int32(), "number of the random set; null for the heroes"),
    components=column(NAMES, "heads"),
    problem=optional(pa.string(), "why there is no such set"),
)
SCHEMAS = {
    "scan": SCAN,
    "trace": TRACE,
    "heads": HEADS,
    "model_trends": MODEL_TRENDS,
    "depths": DEPTHS,
    "sweep": SWEEP,
    "heroes": HEROES,
    "hero_sets": HERO_SETS,
}
