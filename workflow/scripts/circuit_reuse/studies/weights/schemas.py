"""The Parquet tables of the weight study."""

import pyarrow as pa

from circuit_reuse.data.csv_tables import columns
from circuit_reuse.data.tables import CLUSTER, EXAMPLE, N_CLUSTERS, column, optional, table

MASK = column(pa.string(), "hash of the model and of the active nodes: the circuit")
COEFFICIENT = optional(pa.float64(), "sparsity coefficient of an active node, nats; null for a mask from a file")
LAYER = column(pa.int32(), "layer, from 0")
LOCATION = column(pa.string(), "attn_in, q, k, v, attn_out, mlp_in, mlp_neuron or mlp_out: where the node lies")
CONDITION = column(
    pa.string(),
    "whose weights are removed: circuit; controls non_circuit, matrix, quantile, touching, window, "
    "layer; circuit_importance, outside_importance (largest first-order loss first); "
    "all_non_circuit, all_weights; active, active_matched (mask of the most active nodes, its control)",
)
TRIAL = column(pa.int32(), "number of the random order, from 0")
SHARE = column(pa.float64(), "share of the circuit's number of weights that is removed")
COUNT = column(pa.int64(), "weights (nodes) removed")
LOSS = column(pa.float32(), "loss, nats")
METRIC = column(pa.float32(), "metric, logits or nats")
CORRECT = column(pa.bool_(), "whether the answer is correct")

MASKS = table(
    coefficient=COEFFICIENT,
    layer=LAYER,
    location=LOCATION,
    channel=column(pa.int32(), "channel at that place, from 0"),
    node=column(pa.string(), "name: layer.location.channel"),
    tau=optional(pa.float32(), "threshold learned; null for a mask from a file"),
    active=column(pa.bool_(), "whether the mask keeps it, after discretising to the target"),
    chosen=column(pa.bool_(), "whether this mask is the circuit that is evaluated"),
    mask=MASK,
)
HISTORY = table(
    coefficient=column(pa.float64(), "sparsity coefficient of an active node, nats"),
    step=column(pa.int32(), "step of training"),
    loss=column(pa.float64(), "mean loss of the step's examples, nats"),
    n_nodes=column(pa.int32(), "nodes with tau >= 0 after the step"),
)
PARETO_FRONT = table(
    coefficient=column(pa.float64(), "coefficient that the mask was trained with, nats"),
    n_nodes=column(pa.int32(), "nodes kept: those of largest tau"),
    n_weights=column(pa.int64(), "nonzero weights that join two of them"),
    loss=column(pa.float64(), "mean loss on the train prompts that sizes are chosen on, nats"),
    loss_held_out=column(pa.float64(), "the same on the held-out examples"),
)
WEIGHT_CIRCUITS = table(
    coefficient=COEFFICIENT,
    mask=MASK,
    chosen=column(pa.bool_(), "whether it is the circuit that is evaluated: of fewest nodes"),
    n_nodes=column(pa.int32(), "active nodes"),
    n_nodes_total=column(pa.int32(), "all nodes"),
    n_weights=column(pa.int64(), "weights: nonzero, and between two active nodes"),
    n_weights_total=column(pa.int64(), "all nonzero weights of attention and MLP"),
    size_mean=optional(pa.float64(), "mean size |w| of the circuit's weights"),
    size_std=optional(pa.float64(), "population standard deviation of the same"),
    loss_target=column(pa.float64(), "loss that the mask had to reach, nats"),
    loss=column(pa.float64(), "loss of the pruned model on the prompts it was chosen on, nats"),
    loss_full=column(pa.float64(), "loss of the full model on these, nats"),
    loss_held_out=column(pa.float64(), "loss of the pruned model on the held-out examples, nats"),
    loss_full_held_out=column(pa.float64(), "loss of the full model on these, nats"),
    accuracy_held_out=column(pa.float64(), "share correct, pruned model, held out"),
    replacement=column(pa.string(), "what masked nodes are replaced by: mean or zero"),
    loss_kind=column(pa.string(), "cross_entropy or binary (answer against distractor)"),
)
WEIGHT_EDGES = table(
    mask=MASK,
    layer=LAYER,
    matrix=column(pa.string(), "q, k, v, o, in, gate or out"),
    row=column(pa.int32(), "row in [output, input], however the model stores it; by head, channel"),
    column=column(pa.int32(), "column in the same"),
    writer=column(pa.string(), "node that it reads from"),
    reader=column(pa.string(), "node that it adds to"),
    weight=column(pa.float32(), "value"),
    importance=column(pa.float32(), "loss that removing it alone would add, first order, nats"),
)
SWEEP = table(
    mask=MASK,
    condition=CONDITION,
    trial=TRIAL,
    share=SHARE,
    n_removed=COUNT,
    example=EXAMPLE,
    cluster=CLUSTER,
    loss=LOSS,
    metric=METRIC,
    correct=CORRECT,
)
RANDOM_SWEEP = table(
    number=column(pa.int32(), "number of the random mask: as many active nodes of each site and degree"),
    condition=column(pa.string(), "circuit (of the random mask), or a control of it"),
    trial=TRIAL,
    share=SHARE,
    n_removed=COUNT,
    loss=column(pa.float64(), "mean loss over the examples, nats"),
)
SIZES = table(
    condition=column(pa.string(), "circuit, or a control, in its first trial"),
    matrix=column(pa.string(), "layer and matrix"),
    size_from=column(pa.float64(), "lower end of the bin of |w|"),
    size_to=column(pa.float64(), "upper end"),
    n_weights=column(pa.int64(), "weights in it"),
)
MATCHES = table(
    control=column(pa.string(), "control"),
    distance=column(pa.float64(), "Kolmogorov-Smirnov distance of its sizes from the circuit's, mean over trials"),
    worst_distance=column(pa.float64(), "the same within the matrix where it is largest"),
    power=column(pa.float64(), "its sum of squares over the circuit's, mean over trials"),
    from_matrix=column(pa.float64(), "share of its weights from the same matrix as their counterpart"),
    from_layer=column(pa.float64(), "share found in the layer only"),
    from_model=column(pa.float64(), "share found in the model only"),
    from_nearest=column(pa.float64(), "share that lies in no equal bin: nearest in size"),
)
NODE_RUNS = table(
    mask=MASK,
    condition=column(
        pa.string(),
        "clean; sufficiency (all but the circuit replaced); necessity (the circuit replaced); none "
        "(all replaced); interchange (in the pruned run, active nodes unpruned); relaxation (masked "
        "nodes left as they are); nodes_circuit, nodes_all, nodes_outside (replaced in the full run)",
    ),
    layer=optional(pa.int32(), "layer that is changed; null for all"),
    trial=TRIAL,
    share=column(pa.float64(), "share of the nodes that is changed (of the circuit's number: nodes_*)"),
    n_removed=COUNT,
    example=EXAMPLE,
    cluster=CLUSTER,
    loss=LOSS,
    metric=METRIC,
    correct=CORRECT,
)
NODE_RANDOM = table(
    number=column(pa.int32(), "number of the random mask"),
    sufficiency=column(pa.float64(), "mean loss with all but its nodes replaced, nats"),
    necessity=column(pa.float64(), "mean loss with its nodes replaced, nats"),
)
FVU = table(
    layer=optional(pa.int32(), "layer; null for all"),
    location=optional(pa.string(), "location; null for all"),
    n_nodes=column(pa.int32(), "active nodes"),
    fvu=optional(
        pa.float64(),
        "mean over active nodes that vary: squared difference of pruned and unpruned values, over "
        "the variance of the unpruned ones, both over positions and examples",
    ),
    pooled=optional(pa.float64(), "the same with sums over the nodes divided: the study's own"),
    fvu_last=optional(pa.float64(), "fvu at the last position alone, where the answer is read"),
)
NODE_IMPORTANCE = table(
    node=column(pa.string(), "active node"),
    layer=LAYER,
    location=LOCATION,
    importance=optional(
        pa.float64(),
        "loss that replacing it alone adds to the pruned run, nats; null if it was not run (weights.nodes.exact)",
    ),
    attribution=column(pa.float64(), "the same by integrated gradients from replaced to kept, all nodes at once"),
)

SCHEMAS = {
    "masks": MASKS,
    "mask_history": HISTORY,
    "mask_pareto_front": PARETO_FRONT,
    "weight_circuits": WEIGHT_CIRCUITS,
    "weight_edges": WEIGHT_EDGES,
    "weight_sweep": SWEEP,
    "random_sweep": RANDOM_SWEEP,
    "weight_sizes": SIZES,
    "weight_matches": MATCHES,
    "node_runs": NODE_RUNS,
    "node_random": NODE_RANDOM,
    "unexplained": FVU,
    "node_importance": NODE_IMPORTANCE,
}

OF_RUNS = {
    "n_trials": "random orders",
    "n_examples": "held-out examples",
    "n_clusters": N_CLUSTERS[1],
    "loss": "mean loss, nats",
    "loss_std": "its standard deviation over orders",
    "loss_low": "2.5 per cent bound over clusters of examples",
    "loss_high": "97.5 per cent bound over clusters of examples",
    "loss_min": "lowest of the orders",
    "metric": "mean metric, logits or nats",
    "metric_std": "its standard deviation over orders",
    "accuracy": "share answered correctly",
    "accuracy_std": "its standard deviation over orders",
}
DIFFERENCE = "area of the circuit's curve less that of the control, nats; interval over clusters of examples"
# The tables for people, by the names of the outputs.
CSVS = {
    "circuits": columns("model task", WEIGHT_CIRCUITS),
    "pareto_front": columns("model task", PARETO_FRONT),
    "history": columns("model task", HISTORY),
    "edges": columns("model task", WEIGHT_EDGES),
    "matches": columns("model task", MATCHES),
    "sizes": columns("model task", SIZES),
    "fvu": columns("model task", FVU),
    "importance": columns("model task", NODE_IMPORTANCE),
    "node_random": columns("model task", NODE_RANDOM),
    "random": columns("model task", RANDOM_SWEEP),
    "sweep": columns("model task", OF_RUNS, condition=CONDITION[1], share=SHARE[1], n_removed=COUNT[1]),
    "nodes": columns("model task", NODE_RUNS, OF_RUNS, without=("mask", "trial", "example", "cluster", "correct")),
    "tests": columns(
        "model task",
        ends="difference ranked",
        q="p_value p_less",
        control="control that the circuit is compared with; random_circuit: random masks themselves",
        n_examples="held-out examples",
        n_clusters=N_CLUSTERS[1],
        area_circuit="mean loss over the shares removed, circuit (random_circuit: of as many weights as random masks have), nats",
        area_control="the same, control",
        spread_circuit="standard deviation of the area over orders",
        spread_control="the same, control (over masks for random_circuit)",
        difference=DIFFERENCE,
        p_trials="two-sided: do the curves differ beyond the order of removal?",
        loss_circuit="loss with all of the circuit's weights removed (random_circuit: with as many as random masks have), nats",
        loss_control="loss with as many of the control's removed, nats",
        ranked="the difference with as many weights removed, in as many orders, as of random masks; interval over clusters of examples",
        ranked_random="mean of the same over random masks",
        n_random="random masks",
        n_weights_random="mean number of their weights",
        p_value="rank of `ranked` among random masks, one-sided: does the circuit matter more?",
        p_less="the same from the other side: does it matter less?",
    ),
    "interpretations": columns(
        "model task",
        ends="size_difference active_difference",
        interpretation="weights, size, nothing, less or unclear",
        in_words="the same in a sentence",
        size_difference="area of the matched control less that of the control matrix, nats",
        size_p_trials="two-sided: do these two curves differ beyond the order of removal?",
        size_q_trials="false discovery rate of that over all models and tasks",
        size_p_trials_least="the least p that so many orders of removal (weights.sweep.trials) allow",
        active_difference="the circuit's difference from its matched control less that of the most active nodes, nats",
    ),
    "node_tests": columns(
        "model task",
        ends="loss_added",
        q="p_value",
        direction="sufficiency (all but the circuit replaced) or necessity (the circuit replaced)",
        n_examples="held-out examples",
        n_clusters=N_CLUSTERS[1],
        loss="mean loss, nats",
        loss_added="the same less the intact model's",
        accuracy="share answered correctly",
        loss_random="mean loss over random masks",
        n_random="random masks",
        p_value="rank of the loss among random masks, one-sided",
    ),
    "composition": columns(
        "model task",
        layer=LAYER[1],
        kind="nodes or weights",
        place="location of the nodes, or matrix of the weights",
        n_active="active nodes, or weights of the circuit",
        n_total="all nodes there; empty for weights",
    ),
}
