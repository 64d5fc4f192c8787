"""The Parquet tables of the sequence study."""

import pyarrow as pa

from circuit_reuse.data.tables import NAMES, column, optional, table

NAME = column(pa.string(), "a5.h1 (head) or m3 (MLP)")
POINTS = column(pa.float64(), "points below (or, two-sided, off) 100 that a circuit may lose")
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
    threshold=POINTS,
    order=ORDER,
    draw=DRAW,
    name=optional(pa.string(), "name of the circuit in its file"),
    components=column(NAMES, "components that are left, in the order of the computation"),
    heads=column(pa.int32(), "heads that are left"),
    mlps=column(pa.int32(), "MLPs that are left"),
    score_train=column(pa.float64(), "score on the examples (the draw) pruned on, per cent of full"),
    score=column(pa.float64(), "score on the held-out examples, per cent of full"),
    low=column(pa.float64(), "lower end of its 95 per cent bootstrap interval over examples"),
    high=column(pa.float64(), "upper end"),
    size_before=optional(pa.int32(), "components left before any was added back"),
    score_before=optional(pa.float64(), "score on the train examples then"),
    passes=optional(pa.int32(), "passes through the components"),
    candidates=optional(pa.int32(), "circuits that the pruning run asked for"),
    empty_train=column(pa.float64(), "score of the empty circuit on the train examples, per cent"),
    n_new=column(pa.int32(), "held-out examples of variants (first elements, for sequences) not in train"),
    score_new=optional(pa.float64(), "score on these, per cent; null for fewer than two"),
)
STEPS = table(
    strategy=STRATEGY,
    threshold=POINTS,
    order=ORDER,
    draw=DRAW,
    step=column(pa.int32(), "number of the change, from 1"),
    in_pass=column(pa.int32(), "number of the pass, from 1; 0 for the first cut"),
    action=column(pa.string(), "remove, add (put back at the end), or cut (all at once, by attribution)"),
    component=column(pa.string(), "component that was taken out or put back"),
    size=column(pa.int32(), "components left"),
    score=column(pa.float64(), "score then, per cent of full, on the examples pruned on"),
    change=column(
        pa.float64(), "change of the score, points; positive where what was taken out worked against the task"
    ),
)
INCLUSION = table(
    threshold=POINTS,
    over=column(pa.string(), "orders (random orders) or draws (bootstrap draws of examples)"),
    component=NAME,
    count=column(pa.int32(), "pruning runs that kept the component"),
    n=column(pa.int32(), "pruning_runs"),
    frequency=column(pa.float64(), "count / n"),
    low=column(pa.float64(), "lower end of the 95 per cent Wilson interval"),
    high=column(pa.float64(), "upper end"),
)
PARETO_FRONT = table(
    size=column(pa.int32(), "components of the circuit"),
    score_train=column(pa.float64(), "score on the train examples, per cent of full"),
    score=column(pa.float64(), "score on the held-out examples, per cent of full"),
    low=column(pa.float64(), "lower end of its 95 per cent bootstrap interval over examples"),
    high=column(pa.float64(), "upper end"),
    components=column(NAMES, "the circuit"),
)
NAMED = table(
    name=column(pa.string(), "name of the circuit"),
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
    total=column(pa.int32(), "components of the model"),
    shared=column(pa.int32(), "components of both"),
    expected=column(pa.float64(), "shared on average if one were drawn at random"),
    expected_layers=column(pa.float64(), "the same, drawn within layers and kinds"),
    jaccard=column(pa.float64(), "shared / union"),
    p_value=column(pa.float64(), "P(as many shared or more) for any sets of these sizes"),
    p_layers=column(pa.float64(), "the same for sets with as many heads and MLPs in each layer as these"),
    common=column(NAMES, "the components of both"),
)
CUT = table(
    rule=column(pa.string(), "quantile (of |effect|), points (least |effect|), or all"),
    value=optional(pa.float64(), "the quantile, or the points"),
    cut=column(pa.float64(), "least |effect| of an edge that is kept, points"),
    kept=column(pa.int32(), "edges kept by the rule"),
    edges=column(pa.int32(), "of those, edges on a way from the input to the logits"),
    nodes=column(pa.int32(), "heads and MLPs on such a way"),
    score_train=column(pa.float64(), "score of the edge circuit, train examples, per cent of full"),
    score=column(pa.float64(), "the same on held-out examples"),
    low=column(pa.float64(), "lower end of its 95 per cent bootstrap interval over examples"),
    high=column(pa.float64(), "upper end"),
    chosen=column(pa.bool_(), "whether this is the edge circuit of the diagrams"),
)
PATHS = table(
    writer=column(pa.string(), "input, head or MLP that sends"),
    reader=column(pa.string(), "a5.h1.q, .k or .v, m3 or logits: what receives"),
    effect=column(pa.float64(), "mean change of the score when the edge is replaced, points"),
    standard_error=column(pa.float64(), "of the mean over train examples"),
    attribution=optional(pa.float64(), "score of the edge by edge attribution in the full model, units of the metric"),
    kept=column(pa.bool_(), "whether the edge is in the edge circuit"),
)
OV = table(
    component=NAME,
    score=column(pa.string(), "next, copy or previous"),
    stream=column(
        pa.string(),
        "published (after the first layer, for every head) or own (first layer: the embedding, as it reads it)",
    ),
    sign=column(pa.int32(), "1: what the head writes; -1: its negative"),
    position=optional(pa.int32(), "element of the sequence, from 1; null for all together"),
    hits=column(pa.int32(), "tokens whose target is among the top k"),
    n=column(pa.int32(), "tokens that have a target"),
    share=column(pa.float64(), "hits / n"),
    low=column(pa.float64(), "lower end of the 95 per cent Wilson interval"),
    high=column(pa.float64(), "upper end"),
)
ATTENTION = table(
    component=NAME,
    query=column(pa.int32(), "position of the query"),
    key=column(pa.int32(), "position of the key"),
    query_label=column(pa.string(), "what stands at the query"),
    key_label=column(pa.string(), "what stands at the key"),
    attention=column(pa.float32(), "mean attention over held-out examples of the commonest length"),
)
MOTIFS = table(
    component=NAME,
    motif=column(
        pa.string(),
        "previous_token, duplicate_token, induction (repeated random tokens); same_type (from an "
        "element to earlier ones), last_to_items, last_to_last (from the end to the elements, to "
        "the last one)",
    ),
    attention=column(pa.float64(), "mean attention on the positions that the motif names"),
    chance=column(pa.float64(), "the same if attention were even over all earlier positions"),
    n=column(pa.int32(), "queries"),
)
LENS = table(
    layer=column(pa.int32(), "stream after this layer; -1 for the embedding"),
    norm=column(pa.bool_(), "whether the final norm is applied before the unembedding"),
    probability=column(pa.float64(), "mean probability of the answer"),
    probability_shown=column(pa.float64(), "mean probability of the last element shown"),
    top1=column(pa.float64(), "share of examples whose top token is the answer"),
    top1_shown=column(pa.float64(), "share whose top token is the last element shown"),
    rank=column(pa.float64(), "median rank of the answer, from 1"),
    n=column(pa.int32(), "held-out examples"),
)
DIRECT = table(
    component=column(pa.string(), "input, head, MLP, or rest (positions, biases)"),
    attribution=column(
        pa.float64(), "mean direct contribution to the logit difference, logits, scale of the final norm held"
    ),
    standard_error=column(pa.float64(), "of the mean over held-out examples"),
)
NEURONS = table(
    component=NAME,
    neuron=column(pa.int32(), "neuron of the MLP"),
    rank=column(pa.int32(), "rank by |attribution| within the MLP, from 1"),
    attribution=column(pa.float64(), "mean first-order change of the metric when the neuron is corrupted"),
    standard_error=column(pa.float64(), "of the mean over held-out examples"),
    tokens=column(NAMES, "tokens that its output vector raises most"),
)
SPECTRUM = table(
    component=NAME,
    direction=column(pa.int32(), "singular direction, from 1"),
    value=column(pa.float64(), "singular value"),
    tokens=column(NAMES, "tokens of largest product with the right singular vector"),
    members=column(pa.float64(), "share of these tokens that are members of the sequences studied"),
    chance=column(pa.float64(), "share of all tokens that are"),
)
LENGTHS = table(
    task=column(pa.string(), "task"),
    length=column(pa.int32(), "elements shown"),
    example=column(pa.int32(), "number of the prompt"),
    probability=column(pa.float32(), "probability of the answer"),
    rank=column(pa.int32(), "rank of the answer among all tokens, from 1"),
    difference=column(pa.float32(), "logit of the answer less that of the last element shown"),
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
    "spectrum": SPECTRUM,
    "lengths": LENGTHS,
}


def seen(ov):
    """Scores by what each head reads: the first layer its own input, the others as published."""
    first = ov["component"].str.startswith("a0.")
    return ov[(ov["sign"] == 1) & ((ov["stream"] == "own") == first)]
