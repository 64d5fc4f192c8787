"""The Parquet tables of what heads and neurons do in a sequence task."""

import pyarrow as pa

from circuit_reuse.data.tables import CLUSTER, NAMES, bounds, column, optional, table

NAME = column(pa.string(), "a5.h1 (head) or m3 (MLP)")
SHOWN = "the distractor: of a sequence the last element shown, of one that repeats an element another one"
OV = table(
    component=NAME,
    kind=column(pa.string(), "next, copy or previous: which token is the target"),
    stream=column(
        pa.string(),
        "published (after the first layer, for every head) or own (first layer: the embedding, as it reads it)",
    ),
    sign=column(pa.int32(), "1: what the head writes; -1: its negative"),
    position=optional(pa.int32(), "element of the sequence, from 1; null for all together"),
    n_hits=column(pa.int32(), "tokens whose target is among the top k"),
    n_tokens=column(pa.int32(), "tokens that have a target"),
    share=column(pa.float64(), "n_hits / n_tokens"),
    **bounds("share", "Wilson bound, of the effective number of different targets"),
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
    attention_null=column(pa.float64(), "the same if attention were even over all earlier positions"),
    n_queries=column(pa.int32(), "queries"),
)
LENS = table(
    layer=column(pa.int32(), "stream after this layer; -1 for the embedding"),
    norm=column(pa.bool_(), "whether the final norm is applied before the unembedding"),
    probability=column(pa.float64(), "mean probability of the answer"),
    probability_shown=column(pa.float64(), f"mean probability of {SHOWN}"),
    top1=column(pa.float64(), "share of examples whose top token is the answer"),
    top1_shown=column(pa.float64(), f"share whose top token is {SHOWN}"),
    rank=column(pa.float64(), "median rank of the answer, from 1"),
    n_examples=column(pa.int32(), "held-out examples"),
)
DIRECT = table(
    component=column(pa.string(), "input, head, MLP, or rest (positions, biases)"),
    attribution=column(
        pa.float64(), "mean direct contribution to the logit difference, logits, scale of the final norm held"
    ),
    attribution_standard_error=column(pa.float64(), "of the mean over held-out examples, by cluster"),
)
NEURONS = table(
    component=NAME,
    neuron=column(pa.int32(), "neuron of the MLP"),
    rank=column(pa.int32(), "rank by |attribution| within the MLP, from 1"),
    attribution=column(pa.float64(), "mean first-order change of the metric when the neuron is corrupted, logits"),
    attribution_standard_error=column(pa.float64(), "of the mean over held-out examples, by cluster"),
    tokens=column(NAMES, "tokens that its output vector raises most"),
    patched=optional(
        pa.float64(),
        "mean exact change of the metric when it takes its value in the corrupt prompt; of the largest only",
    ),
    patched_standard_error=optional(pa.float64(), "of the mean over held-out examples, by cluster"),
)
NEURON_INPUTS = table(
    component=NAME,
    neuron=column(pa.int32(), "neuron of the MLP, one of those that were patched"),
    writer=column(pa.string(), "head, MLP or input upstream of it"),
    clean=column(
        pa.float64(),
        "mean of what the writer adds at the last position before the neuron's activation function, scale of the norm held",
    ),
    corrupt=column(pa.float64(), "the same in the corrupt prompts"),
    difference=column(
        pa.float64(), "clean - corrupt: how much the writer activates the neuron for what the task needs"
    ),
    difference_standard_error=column(pa.float64(), "of the mean over held-out examples, by cluster"),
)
SPECTRUM = table(
    component=NAME,
    direction=column(pa.int32(), "singular direction, from 1"),
    value=column(pa.float64(), "singular value"),
    tokens=column(NAMES, "tokens of largest product with the right singular vector"),
    members=column(pa.float64(), "share of these tokens that are members of the sequences studied"),
    members_null=column(pa.float64(), "share of all tokens that are"),
)
LENGTHS = table(
    task=column(pa.string(), "task"),
    length=column(pa.int32(), "elements shown"),
    example=column(pa.int32(), "number of the prompt"),
    cluster=CLUSTER,
    probability=column(pa.float32(), "probability of the answer"),
    rank=column(pa.int32(), "rank of the answer among all tokens, from 1"),
    logit_difference=column(pa.float32(), f"logit of the answer less that of {SHOWN}"),
)
