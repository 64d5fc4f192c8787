"""The Parquet tables of the sequence study."""

import pyarrow as pa

from circuit_reuse.data.csv_tables import TASK, columns
from circuit_reuse.data.tables import N_CLUSTERS, NAMES, bounds, column, optional, table
from circuit_reuse.studies.sequences.schemas_heads import (
    ATTENTION,
    DIRECT,
    LENGTHS,
    LENS,
    MOTIFS,
    NAME,
    NEURON_INPUTS,
    NEURONS,
    OV,
    SPECTRUM,
)

THRESHOLD = column(pa.float64(), "how far below (or, two-sided, from) 1 the score of a circuit may be")
STRATEGY = column(
    pa.string(),
    "backward, forward, backward_first, forward_first, attribution, random; frequent (components "
    "that most pruning runs kept); file (circuit of a file)",
)
ORDER = optional(pa.int32(), "number of the random order")
DRAW = optional(pa.int32(), "number of the bootstrap draw of train examples")
LAYER = column(pa.int32(), "layer, from 0")
HEAD = column(pa.int32(), "head, from 0")
EVALUATED = table(
    context=column(pa.string(), "hash of all that the metrics depend on but the circuit"),
    removed=column(pa.string(), "components outside the circuit, a bit each, hexadecimal"),
    metric=column(pa.list_(pa.float32()), "metric of each train example, logits or nats"),
)
PRUNED = table(
    strategy=STRATEGY,
    threshold=THRESHOLD,
    order=ORDER,
    draw=DRAW,
    scored_by=column(pa.string(), "what the score is a share of: the metric, or kl (1 - KL / KL of the empty circuit)"),
    circuit=optional(pa.string(), "name of the circuit in its file"),
    components=column(NAMES, "components that are left, in the order of the computation"),
    n_heads=column(pa.int32(), "heads that are left"),
    n_mlps=column(pa.int32(), "MLPs that are left"),
    score_train=column(pa.float64(), "score on the examples (the draw) pruned on, share of full"),
    score=column(pa.float64(), "score on the held-out examples, share of full"),
    **bounds("score"),
    n_examples=column(pa.int32(), "held-out examples"),
    n_clusters=N_CLUSTERS,
    n_components_before=optional(pa.int32(), "components left before any was added back"),
    score_train_before=optional(pa.float64(), "score on the train examples then"),
    n_passes=optional(pa.int32(), "passes through the components"),
    n_candidates=optional(pa.int32(), "circuits that the pruning run asked for"),
    score_empty_train=column(pa.float64(), "score of the empty circuit on the train examples"),
    n_new=column(pa.int32(), "held-out examples of variants (first elements, for sequences) not in train"),
    score_new=optional(pa.float64(), "score on these; null for fewer than two"),
)
STEPS = table(
    strategy=STRATEGY,
    threshold=THRESHOLD,
    order=ORDER,
    draw=DRAW,
    step=column(pa.int32(), "number of the change, from 1"),
    in_pass=column(pa.int32(), "number of the pass, from 1; 0 for the first cut"),
    action=column(pa.string(), "remove, add (put back at the end), or cut (all at once, by attribution)"),
    component=column(pa.string(), "component that was taken out or put back"),
    n_components=column(pa.int32(), "components left"),
    score_train=column(pa.float64(), "score then, share of full, on the examples pruned on"),
    score_change=column(pa.float64(), "change of the score; positive where what was taken out worked against the task"),
)
INCLUSION = table(
    threshold=THRESHOLD,
    over=column(pa.string(), "orders (random orders) or draws (bootstrap draws of examples)"),
    component=NAME,
    n_containing=column(pa.int32(), "pruning runs that kept the component"),
    n_runs=column(pa.int32(), "pruning runs"),
    frequency=column(pa.float64(), "n_containing / n_runs"),
    **bounds("frequency", "Wilson bound", column),
)
PARETO_FRONT = table(
    n_components=column(pa.int32(), "components of the circuit"),
    score_train=column(pa.float64(), "score on the train examples, share of full"),
    score=column(pa.float64(), "score on the held-out examples, share of full"),
    **bounds("score"),
    components=column(NAMES, "the circuit"),
)
NAMED = table(
    circuit=column(pa.string(), "name of the circuit"),
    kind=column(pa.string(), "task, frequent, union, intersection, file or random"),
    task=optional(pa.string(), "task that it was pruned on"),
    composition=column(pa.string(), "numbers of heads and MLPs"),
    number=optional(pa.int32(), "number of the random circuit of the composition"),
    components=column(NAMES, "component names in the order of the computation"),
)
OVERLAP = table(
    first=column(pa.string(), "circuit"),
    second=column(pa.string(), "circuit"),
    kind=column(pa.string(), "all, head or mlp: which components are compared"),
    n_first=column(pa.int32(), "components of the first"),
    n_second=column(pa.int32(), "components of the second"),
    n_total=column(pa.int32(), "components of the model"),
    n_shared=column(pa.int32(), "components of both"),
    n_shared_null=column(pa.float64(), "shared on average if one were drawn at random"),
    n_shared_null_layers=column(pa.float64(), "the same, drawn within layers and kinds"),
    jaccard=column(pa.float64(), "n_shared / size of the union"),
    p_value=column(pa.float64(), "P(as many shared or more) for any sets of these sizes"),
    p_layers=column(pa.float64(), "the same for sets with as many heads and MLPs in each layer as these"),
    components=column(NAMES, "the components of both"),
)
CUT = table(
    rule=column(pa.string(), "quantile (of |score_change|), change (least |score_change|), acdc, or all"),
    value=optional(pa.float64(), "the quantile, the change, or the loss of the score below which ACDC removes an edge"),
    cut=optional(pa.float64(), "least |score_change| of an edge that is kept; empty for acdc"),
    n_edges_kept=column(pa.int32(), "edges kept by the rule"),
    n_edges=column(pa.int32(), "of those, edges on a way from the input to the logits"),
    n_components=column(pa.int32(), "heads and MLPs on such a way"),
    score_train=column(pa.float64(), "score of the edge circuit, train examples, share of full"),
    score=column(pa.float64(), "the same on held-out examples"),
    **bounds("score"),
    n_examples=column(pa.int32(), "held-out examples"),
    n_clusters=N_CLUSTERS,
    chosen=column(pa.bool_(), "whether this is the edge circuit of the diagrams"),
)
PATHS = table(
    writer=column(pa.string(), "input, head or MLP that sends"),
    reader=column(pa.string(), "a5.h1.q, .k or .v, m3 or logits: what receives"),
    score_change=column(pa.float64(), "mean change of the score when the edge is replaced"),
    score_change_standard_error=column(pa.float64(), "of the mean over train examples, by cluster"),
    attribution=optional(pa.float64(), "score of the edge by edge attribution in the full model, units of the metric"),
    kept=column(pa.bool_(), "whether the edge is in the edge circuit"),
)
SCHEMAS = {
    "evaluated": EVALUATED,
    "pruned": PRUNED,
    "pruning_steps": STEPS,
    "node_inclusion": INCLUSION,
    "pareto_front": PARETO_FRONT,
    "named_circuits": NAMED,
    "overlap": OVERLAP,
    "paths": PATHS,
    "cuts": CUT,
    "ov_scores": OV,
    "attention": ATTENTION,
    "motifs": MOTIFS,
    "lens": LENS,
    "direct": DIRECT,
    "neurons": NEURONS,
    "neuron_inputs": NEURON_INPUTS,
    "spectrum": SPECTRUM,
    "lengths": LENGTHS,
}


def seen(ov):
    """Scores by what each head reads: the first layer its own input, the others as published."""
    first = ov["component"].str.startswith("a0.")
    return ov[(ov["sign"] == 1) & ((ov["stream"] == "own") == first)]


# The tables for people, by the names of the outputs.
CSVS = {
    "cross": columns(
        "model",
        ends="score score_random",
        q="p_value",
        circuit="circuit that is kept alone: that of a task, of most pruning runs, a union, an intersection, or of a file",
        kind="task, frequent, union, intersection or file",
        asked_of="own task or another task: whether the target is the task that the circuit was pruned on",
        composition="numbers of heads and MLPs",
        target="task on whose held-out examples it is run",
        n_components="components of the circuit",
        n_examples="held-out examples",
        n_clusters=N_CLUSTERS[1],
        metric="mean metric of the intact model, logits or nats",
        score="mean metric of the circuit alone, share of the intact model's",
        score_empty="the same of the empty circuit",
        score_removed="the same of the model without the circuit",
        score_random="mean of the same over size-matched random circuits",
        n_random="different random circuits",
        accuracy_kept="share that the circuit alone answers correctly",
        kl_kept="mean KL(intact model || circuit alone), nats",
        rank="median rank of the answer, from 1",
        p_value="rank among random circuits, one-sided: of |1 - score| if pruning is two-sided, else of the score",
    ),
    "overlap": columns("model", OVERLAP, q="p_value p_layers"),
    "circuits": columns("model task", PRUNED),
    "stability": columns(
        "model task",
        threshold=THRESHOLD[1],
        over="orders, draws (of the examples) or strategies",
        n_circuits="circuits",
        n_different="different ones",
        mean_jaccard="mean Jaccard index of two",
        n_components_min="components of the smallest",
        n_components_median="of the median one",
        n_components_max="of the largest",
        n_in_all="components of all",
        n_in_any="components of any",
        score_min="lowest held-out score",
        score_max="highest held-out score",
    ),
    "inclusion": columns("model task", INCLUSION),
    "pareto_front": columns("model task", PARETO_FRONT),
    "importance": columns(
        "model task",
        ends="from_full in_circuit_drop",
        q="p_from_full p_in_circuit_drop p_against",
        component=NAME[1],
        circuit="name of the circuit of a file that the row is of; empty for the task's own",
        in_circuit="whether the circuit holds the component",
        n_examples="held-out examples",
        n_clusters=N_CLUSTERS[1],
        from_full="change of the score when it is removed from the intact model; negative where it helps",
        p_from_full="two-sided sign-flip p of it",
        p_against="one-sided: does removing it from the intact model raise the score?",
        in_circuit_drop="change of the score when it is removed from the circuit; negative where it helps",
        p_in_circuit_drop="two-sided sign-flip p of it",
        rank="median rank of the answer among all tokens without it in the intact model, from 1",
        rank_full="the same with everything in place",
        frequency_orders="share of the random orders that kept it",
        frequency_draws="share of the bootstrap draws that kept it",
        score_change="mean change of the score when pruning runs removed it",
    ),
    "edges": columns("model task", PATHS),
    "cuts": columns("model task", CUT),
    "functions": columns(
        "model",
        {
            f"in_circuit_{TASK}": "whether the circuit of the task holds the head",
            f"in_circuit_drop_{TASK}": "change of the score when it is removed from the circuit",
            f"from_full_{TASK}": "change of the score when it is removed from the intact model",
            f"frequency_orders_{TASK}": "share of the random orders that kept it",
            f"frequency_draws_{TASK}": "share of the bootstrap draws that kept it",
            f"direct_{TASK}": "direct contribution to the logit difference, logits",
            **{
                f"{kind}_{TASK}": f"share of tokens whose {kind} element is among the top tokens that the head raises"
                for kind in ("next", "copy", "previous")
            },
            **{f"{kind}_last_{TASK}": "the same of the last element shown" for kind in ("next", "copy", "previous")},
            **dict.fromkeys(
                ("previous_token", "duplicate_token", "induction", "same_type", "last_to_items"),
                "mean attention of this motif",
            ),
            "<motif>_above": "how far above even attention: 0 even, 1 all",
        },
        component=NAME[1],
        layer=LAYER[1],
        head=HEAD[1],
        motif="motif with the largest attention above even attention; none below sequences.functions.motif",
        spectrum_members="mean share of sequence members among the top tokens of singular directions",
        spectrum_members_null="share of all tokens that are members",
    ),
    "ov": columns("model task", OV),
    "motifs": columns("model task", MOTIFS),
    "lens": columns("model task", LENS),
    "direct": columns("model task", DIRECT),
    "neurons": columns("model task", NEURONS),
    "neuron_inputs": columns("model task", NEURON_INPUTS),
    "spectrum": columns("model", SPECTRUM),
    "lengths": columns(
        "model task",
        ends="probability",
        length="elements shown",
        n_examples="prompts",
        n_clusters=N_CLUSTERS[1],
        probability="mean probability of the answer; t interval",
        rank="median rank of the answer, from 1",
        rank_quartile_1="lower quartile of the rank",
        rank_quartile_3="upper quartile of the rank",
        top1="share of prompts whose top token is the answer",
        logit_difference="mean logit of the answer less that of the distractor",
    ),
    "published_check": columns(
        item="what was published",
        published="the published value",
        recomputed="the value from the published tables, or from a run of this workflow",
        agrees="whether the two agree; empty where nothing was recomputed",
        why="what decides it",
        model="whose number it is, where it is of a run",
    ),
}
