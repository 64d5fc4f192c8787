"""The Parquet tables of what is specific to a task: own against other components, overlap, ordinary text."""

import pyarrow as pa

from circuit_reuse.data.csv_tables import columns
from circuit_reuse.data.tables import CIRCUIT, CLUSTER, COMPONENT, EXAMPLE, N_CLUSTERS, bounds, column, optional, table

TOP_K = column(pa.float64(), "K as configured: a count from 1, below 1 a share of components")
THRESHOLD = column(pa.float64(), "reuse threshold p: share of the train examples whose circuit must hold a component")
EFFECT_OF = "mean change in the metric of the target's examples, logits or nats, when the {} is removed"
RANDOM_OF = (
    "mean of the same over random sets with as many heads and MLPs in each layer, of which the only MLP of a layer is always "
    "the same"
)
SPECIFICITY = table(
    source=column(pa.string(), "the other task"),
    target=column(pa.string(), "task on whose held-out examples both its own set and the other task's are removed"),
    component_set=column(
        pa.string(),
        "circuit (the two shared circuits), residual (what each has beyond the other), core (the target's circuit "
        "against what both have)",
    ),
    top_k=TOP_K,
    threshold=THRESHOLD,
    circuit_own=column(pa.string(), "hash of the names of the own set; empty for none"),
    circuit_other=column(pa.string(), "hash of the names of the other task's set"),
    n_components_own=column(pa.int32(), "components of the own set"),
    n_components_other=column(pa.int32(), "components of the other task's set"),
    n_examples=column(pa.int32(), "held-out examples of the target that can be tested"),
    n_clusters=N_CLUSTERS,
    own=column(pa.float64(), EFFECT_OF.format("own set") + "; negative is harm"),
    **bounds("own"),
    own_random=optional(pa.float64(), RANDOM_OF),
    n_random_own=column(pa.int32(), "different such sets; 0 where the set fills its layers"),
    other=column(pa.float64(), EFFECT_OF.format("other task's set") + "; 0 for an empty one"),
    **bounds("other"),
    other_random=optional(pa.float64(), RANDOM_OF),
    n_random_other=column(pa.int32(), "different such sets; 0 where the set fills its layers"),
    difference=column(pa.float64(), "own - other, paired by example; negative: the own set matters more"),
    **bounds("difference"),
    p_value=optional(
        pa.float64(), "sign flips of the paired differences, two-sided; null where a set is empty or both are the same"
    ),
)
OF_SIDE = "of the {} task's circuit"
OVERLAP = table(
    first=column(pa.string(), "task"),
    second=column(pa.string(), "another task"),
    top_k=TOP_K,
    threshold=THRESHOLD,
    circuit_first=column(pa.string(), "hash of the names of the first task's circuit; empty for none"),
    circuit_second=column(pa.string(), "hash of the names of the second task's circuit"),
    n_components_first=column(pa.int32(), "components " + OF_SIDE.format("first")),
    n_components_second=column(pa.int32(), "components " + OF_SIDE.format("second")),
    n_shared=column(pa.int32(), "components that both circuits have"),
    n_shared_null=column(pa.float64(), "mean of the same for random sets with as many heads and MLPs in each layer"),
    jaccard=optional(pa.float64(), "n_shared / components that either has; null where both are empty"),
    jaccard_null=optional(pa.float64(), "mean of the same for such random sets"),
    overlap_coefficient=optional(pa.float64(), "n_shared / size of the smaller circuit"),
    containment_first=optional(pa.float64(), "share of the first circuit that the second has"),
    containment_second=optional(pa.float64(), "share of the second circuit that the first has"),
    p_value=optional(
        pa.float64(),
        "P(as many shared or more) for random sets with as many heads and MLPs in each layer; null where it cannot vary, and for two tasks with the same circuit",
    ),
    **{
        name: kind
        for side in ("first", "second")
        for name, kind in {
            f"n_halves_{side}": column(
                pa.int32(),
                f"splits of the {side} task's train examples whose two circuits both have its effect within a tenth",
            ),
            f"jaccard_halves_{side}": optional(
                pa.float64(), "Jaccard index of these two circuits, mean: what equally good circuits of one task share"
            ),
        }.items()
    },
)
STABILITY = table(
    method=column(pa.string(), "method; the first of two"),
    kind=column(
        pa.string(),
        "what the two circuits differ in: halves (of the train examples, at random), template (halves of the templates), method, "
        "steps (of integration) or corruption (the clean prompt of another example)",
    ),
    first=column(pa.string(), "draw and side, method, or as configured"),
    second=column(pa.string(), "the other one"),
    top_k=TOP_K,
    threshold=THRESHOLD,
    n_examples_first=column(pa.int32(), "train examples of the first circuit"),
    n_examples_second=column(pa.int32(), "train examples of the second circuit"),
    n_components_first=column(pa.int32(), "components of the first shared circuit"),
    n_components_second=column(pa.int32(), "components of the second shared circuit"),
    jaccard=optional(pa.float64(), "Jaccard index of the two shared circuits; null where both are empty"),
    jaccard_null=optional(pa.float64(), "mean of the same for random sets with as many heads and MLPs in each layer"),
)
GENERIC_RUNS = table(
    circuit=column(pa.string(), "intact, hash of a shared circuit, or layer-matched and that hash"),
    control=optional(pa.int32(), "number of the random set, from 0"),
    text=column(pa.int32(), "line of the file, from 0, without empty and repeated ones"),
    n_tokens=column(pa.int32(), "tokens that are predicted"),
    loss_guessing=column(pa.float64(), "that of a model that knows nothing, the logarithm of its vocabulary"),
    loss=column(pa.float64(), "mean cross-entropy of these tokens, nats"),
)
GENERIC_SETS = table(
    task=column(pa.string(), "task"),
    control=optional(pa.int32(), "number of the layer-matched random set; null for the shared circuit"),
    loss_change=column(pa.float64(), "what removing it adds to the loss of ordinary text, nats per token"),
    effect=column(pa.float64(), "mean change in the task's metric when it is removed, logits or nats"),
)
GENERIC = table(
    task=column(pa.string(), "task"),
    top_k=TOP_K,
    threshold=THRESHOLD,
    circuit=CIRCUIT,
    n_components=column(pa.int32(), "components"),
    n_texts=column(pa.int32(), "texts of ordinary language"),
    loss=column(pa.float64(), "cross-entropy of the texts in the intact model, nats per token, mean over texts"),
    loss_guessing=column(pa.float64(), "that of a model that knows nothing, the logarithm of its vocabulary"),
    loss_change=column(pa.float64(), "what removing the circuit adds to it, nats per token; positive is harm"),
    **bounds("loss_change"),
    n_random=column(pa.int32(), "different random sets with as many heads and MLPs in each layer"),
    loss_change_random=optional(pa.float64(), "mean of loss_change over these"),
    p_value=optional(pa.float64(), "rank test: (1 + random sets that add as much to the loss) / (random sets + 1)"),
    effect=column(pa.float64(), "mean change in the task's metric when the circuit is removed, logits or nats"),
    effect_left=optional(
        pa.float64(), "effect less that which a line through the random sets gives at the circuit's loss_change"
    ),
    p_left=optional(pa.float64(), "rank test of the distance from the line through circuit and random sets, one-sided"),
)
VARIANTS = table(
    variant=column(pa.string(), "what is other than configured: '<n> steps' or 'other prompts'"),
    example=EXAMPLE,
    component=COMPONENT,
    score=column(pa.float32(), "change in the metric when the component is corrupted"),
)
LEVEL = column(
    pa.string(),
    "edge (writer to reader), position (component at the last token of a named word, the end, or the rest), block (all heads of a "
    "layer, or an MLP), neuron (of an MLP), or component (head or MLP, by score_threshold)",
)
SCORE_THRESHOLD = optional(
    pa.float64(),
    "share of an example's sum of |scores| over all heads and MLPs that a component of its circuit has; null where K are taken",
)
# What removing shared units does; null for edges, and where nothing is shared.
REMOVED = {
    "effect": optional(
        pa.float64(), "mean change in the metric of held-out examples without the shared units; negative is harm"
    ),
    "effect_low": optional(pa.float64(), "bootstrap bound, 2.5 % (clusters of held-out examples)"),
    "effect_high": optional(pa.float64(), "bootstrap bound, 97.5 % (clusters of held-out examples)"),
    "n_random": optional(
        pa.int32(),
        "random sets with as many heads or neurons of each layer, MLPs and attention blocks of any, at each role",
    ),
    "effect_random": optional(pa.float64(), "mean of the effect over these"),
    "effect_random_low": optional(pa.float64(), "2.5th percentile of the effect over these"),
    "effect_random_high": optional(pa.float64(), "97.5th percentile of the effect over these"),
    "p_effect": optional(pa.float64(), "one-sided rank among these: does removing what is shared hurt more?"),
    "n_held_out": optional(pa.int32(), "held-out examples"),
}
LAYERS = columns(
    "model task method",
    top_k=TOP_K[1],
    k="components of an example's circuit",
    layer="layer, from 0",
    kind="head or mlp",
    n_components="components of this kind in the layer that circuits may hold",
    mean_number="mean number of them in the circuit of a train example",
    mean_number_null="the same with K of all components at random",
)
FINE_GRAINED = table(
    level=LEVEL,
    score_threshold=SCORE_THRESHOLD,
    k=column(pa.int32(), "units of an example's circuit; of a score threshold, their mean number"),
    size_least=column(pa.int32(), "units of the smallest example circuit"),
    size_most=column(pa.int32(), "units of the largest"),
    threshold=THRESHOLD,
    n_units=column(pa.int32(), "all of them"),
    n_examples=column(pa.int32(), "train examples"),
    n_clusters=N_CLUSTERS,
    n_shared=column(pa.int32(), "how many a share of at least the threshold of the example circuits hold"),
    shared_set=optional(pa.string(), "hash of their names; null for none"),
    reuse=column(pa.float64(), "min(n_shared, K) / K"),
    reuse_null=column(
        pa.float64(), "mean of the same with circuits elsewhere, those of a cluster as alike as they are"
    ),
    p_value=column(pa.float64(), "(1 + random draws with as much reuse) / (draws + 1)"),
    **REMOVED,
)
FINE_GRAINED_SHARED = table(
    level=LEVEL,
    score_threshold=SCORE_THRESHOLD,
    component=column(pa.string(), "component, or the one that writes, or a whole attention block (a5)"),
    place=column(pa.string(), "reader of the edge, role of the position, or number of the neuron"),
    n_containing=column(pa.int32(), "train examples whose circuit holds it"),
    frequency=column(pa.float64(), "the same as a share"),
    mean_score=column(pa.float64(), "mean score over the train examples, units of the metric"),
)
OPTIMAL_RUNS = table(
    circuit=CIRCUIT,
    n_components=column(pa.int32(), "components of the circuit"),
    control=optional(pa.int32(), "number of the layer-matched random set; null for the circuit itself"),
    example=EXAMPLE,
    cluster=CLUSTER,
    clean_metric=column(pa.float64(), "metric of the intact model, logits or nats"),
    metric=column(pa.float64(), "metric with the set's components writing the constants that were learned for it"),
    metric_mean=column(pa.float64(), "the same with their mean outputs"),
    kl=column(pa.float64(), "KL(intact || learned constants) at the answer, nats"),
    kl_mean=column(pa.float64(), "KL(intact || mean outputs) at the answer, nats"),
)
OPTIMAL = columns(
    "model task method",
    ends="effect",
    q="p_value",
    circuit=CIRCUIT[1],
    n_components="components of the shared circuit",
    n_examples="held-out examples",
    n_clusters=N_CLUSTERS[1],
    effect="mean change in the metric when the circuit's components write the constants that were learned for them; negative is harm",
    effect_mean="the same with their mean outputs, from which learning began",
    n_random="random sets with as many heads and MLPs in each layer, each with constants of its own",
    effect_random="mean of the same over these",
    p_value="one-sided rank among these: does removing the circuit hurt more?",
    kl="mean KL(intact || constants) at the answer, nats, held out; what is learned on train examples",
    kl_mean="the same with mean outputs",
    kl_random="the same over the random sets",
)
