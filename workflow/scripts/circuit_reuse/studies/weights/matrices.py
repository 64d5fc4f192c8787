"""The weights of attention and MLP: which join two nodes, and runs of many copies without some.

Every matrix is seen as [output node, input node], however the model stores it: GPT-2's Conv1D
transposed, queries, keys and values in one (GPT-2, GPT-NeoX) or apart, keys and values shared by
groups of heads.  A weight has one number, its place among the weights of all matrices in a row.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from circuit_reuse.data import fingerprint
from circuit_reuse.engine import models, shortcuts
from circuit_reuse.studies.weights import nodes, outcomes

# Matrix: where it lies below a block, the nodes that it reads, the nodes that it writes.  The output
# projection reads what the heads give, whose channels are those of the values.
MATRICES = {
    "q": ("attn.q", "attn_in", "q"),
    "k": ("attn.k", "attn_in", "k"),
    "v": ("attn.v", "attn_in", "v"),
    "o": ("attn.o", "v", "attn_out"),
    "in": ("mlp.in", "mlp_in", "mlp_neuron"),
    "gate": ("mlp.gate", "mlp_in", "mlp_neuron"),
    "out": ("mlp.out", "mlp_neuron", "mlp_out"),
}


@dataclass(frozen=True)
class Matrix:
    """One matrix of a layer.

    inputs:     places of the nodes that its columns read, [column]
    outputs:    places of the nodes that its rows write, [row]
    start:      the number of its first weight
    linear:     the module that holds it
    transposed: whether the module stores [input, output]
    """

    layer: int
    name: str
    inputs: np.ndarray
    outputs: np.ndarray
    start: int
    linear: torch.nn.Module
    transposed: bool

    @property
    def shape(self):
        """Rows (output nodes) and columns (input nodes)."""
        return len(self.outputs), len(self.inputs)

    @property
    def size(self):
        """Number of weights."""
        return len(self.outputs) * len(self.inputs)

    @property
    def part(self):
        """The numbers of its weights."""
        return slice(self.start, self.start + self.size)

    def weight(self):
        """[row, column], a view of the model's own."""
        weight = self.linear.weight.detach()
        return weight.T if self.transposed else weight


def matrices(model):
    """All matrices in order; found and checked once.

    raises: ModelError if one is missing, has another shape than its nodes, or is not run
    """
    if "matrices" not in model.shortcuts:
        places = {(site.layer, site.location): site for site in nodes.sites(model)}
        found, start = [], 0
        for layer in range(model.space.layers):
            for name, (path, reads, writes) in MATRICES.items():
                linear = linear_at(model.bridge.blocks[layer], path)
                if linear is None and name == "gate":
                    continue
                matrix = described(model, layer, name, linear, places[layer, reads], places[layer, writes], start)
                found.append(matrix)
                start += matrix.size
        check_run(model, found)
        model.shortcuts["matrices"] = found
    return model.shortcuts["matrices"]


def linear_at(block, path):
    """The module that holds a matrix, or None."""
    for part in path.split("."):
        block = getattr(block, part, None)
    return getattr(block, "original_component", None)


def described(model, layer, name, linear, reads, writes, start):
    """A Matrix with its nodes; see `matrices`."""
    weight = getattr(linear, "weight", None)
    kind = type(linear).__name__
    # Falcon's is a kind of Linear.
    known = isinstance(linear, torch.nn.Linear) or kind == "Conv1D"
    if weight is None or weight.ndim != 2 or not known:
        raise unknown(model, f"has no known matrix {name} in layer {layer} (found: {kind})")
    transposed = kind == "Conv1D"
    rows, columns = weight.shape[::-1] if transposed else weight.shape
    inputs = np.arange(reads.start, reads.start + reads.width)
    if name == "o" and columns > reads.width:
        # Heads of a group read the same values: channel c of head h is channel c of its group.
        d_head = model.space.d_head
        groups = inputs.reshape(-1, d_head)
        inputs = np.repeat(groups, columns // reads.width, axis=0).reshape(-1)
    outputs = np.arange(writes.start, writes.start + writes.width)
    if (rows, columns) != (len(outputs), len(inputs)):
        raise unknown(
            model,
            f"has a matrix {name} of {rows} x {columns} in layer {layer} between "
            f"{len(outputs)} and {len(inputs)} nodes",
        )
    return Matrix(layer, name, inputs, outputs, start, linear, transposed)


def unknown(model, what):
    """The error for an architecture whose matrices are not known."""
    return fingerprint.ModelError(
        f"{type(model.bridge.original_model).__name__} {what}: its weights cannot be distinguished from "
        "each other; models with linear projections q, k, v, o and an MLP of in, (gate,) out in "
        "each layer are known (docs/models.md lists those that are tested)"
    )


@torch.no_grad()
def check_run(model, found):
    """Every matrix must be used in a run: copies of all, intact, must give the same logits."""
    tokens = shortcuts.sample(model)
    whole, used = models.logits(model, tokens), set()
    stacks = [matrix.weight()[None] for matrix in found]
    with copied(found, stacks, used):
        again = models.logits(model, tokens)
    missing = [matrix for place, matrix in enumerate(found) if place not in used]
    if missing:
        raise unknown(model, f"does not run the matrix {missing[0].name} of layer {missing[0].layer}")
    if not shortcuts.same(model, again, whole):
        raise unknown(model, "gives other logits when its matrices are run one by one")


@contextmanager
def copied(found, stacks, used=None):
    """Runs inside use copies of the weights; what the model holds is not written to.

    found:  the matrices;  stacks: for each [copy, row, column], or a function that makes it; rows of a run are
            copies of all examples, copies outermost
    used:   a set that takes the places of the matrices that were run
    """

    def forward(place, matrix, stack):
        def run(x):
            if used is not None:
                used.add(place)
            weights = stack() if callable(stack) else stack
            rows = x.reshape(len(weights), -1, x.shape[-1])
            bias = matrix.linear.bias
            found = torch.bmm(rows, weights.mT) if bias is None else torch.baddbmm(bias, rows, weights.mT)
            return found.view(*x.shape[:-1], -1)

        return run

    try:
        for place, (matrix, stack) in enumerate(zip(found, stacks, strict=True)):
            # The instance's own forward goes before the class's, and is taken off again.
            matrix.linear.forward = forward(place, matrix, stack)
        yield
    finally:
        for matrix in found:
            matrix.linear.__dict__.pop("forward", None)


def flat(model):
    """All weights in a row, float32 numpy [weight]."""
    parts = [matrix.weight().float().cpu().numpy().reshape(-1) for matrix in matrices(model)]
    return np.concatenate(parts)


def ends(found, active):
    """How many of the two nodes of each weight are active, int8 [weight].  active: bool [node]."""
    on = active.astype(np.int8)
    return np.concatenate([np.add.outer(on[m.outputs], on[m.inputs]).reshape(-1) for m in found])


def joins(found, active):
    """Which weights join two active nodes, bool [weight], whether zero or not."""
    return ends(found, active) == 2


def degrees(found, values, count):
    """Nonzero weights at each node, [node].  values: [weight];  count: nodes"""
    total = np.zeros(count, dtype=int)
    for matrix in found:
        there = values[matrix.part].reshape(matrix.shape) != 0
        np.add.at(total, matrix.outputs, there.sum(1))
        np.add.at(total, matrix.inputs, there.sum(0))
    return total


def rising(numbers):
    """Numbers in rising order; what is in order already is not sorted again, as the same set is removed in every batch."""
    return np.sort(numbers) if (numbers[1:] < numbers[:-1]).any() else numbers


def without(model, removed):
    """Copies of all matrices, each without some weights: a function a matrix that makes its stack [copy, row, column].

    They are made one by one where they are used, so that no more than one matrix is there in copies.
    removed: a list of sets of weights, each an array of their numbers or bool [weight]
    raises:  IndexError for a number that no weight has
    """
    found = matrices(model)
    end = found[-1].start + found[-1].size
    sets = []
    for numbers in map(np.asarray, removed):
        if numbers.dtype != bool:
            numbers = rising(numbers.astype(np.int64, copy=False))
            if len(numbers) and (numbers[0] < 0 or numbers[-1] >= end):
                raise IndexError(f"weight {numbers[-1]} of {end}")
        sets.append(numbers)

    @torch.no_grad()
    def stack(matrix):
        # repeat always copies, where expand would give one copy as the model's own memory.
        copies = matrix.weight().repeat(len(sets), 1, 1)
        for copy, numbers in zip(copies, sets, strict=True):
            if numbers.dtype == bool:
                inside = numbers[matrix.part]
            else:
                first, last = np.searchsorted(numbers, [matrix.start, matrix.start + matrix.size])
                inside = numbers[first:last] - matrix.start
            copy.view(-1)[torch.from_numpy(inside).to(copies.device)] = 0
        return copies

    return [partial(stack, matrix) for matrix in found]


@torch.no_grad()
def run(model, tokens, removed):
    """Logits of the model without some weights, [copy, example, vocabulary].

    tokens: [example, position];  removed: a list of arrays of weight numbers, one a copy
    """
    copies = len(removed)
    with copied(matrices(model), without(model, removed)):
        return run_now(model, tokens.repeat(copies, 1)).unflatten(0, (copies, -1))


@torch.no_grad()
def run_now(model, tokens):
    """Logits of the model as its weights are now, [example, vocabulary].  tokens: [example, position]"""
    with model.bridge.hooks(fwd_hooks=shortcuts.at_the_end(model)):
        return models.logits(model, tokens)


@contextmanager
def cut(model, mask, values):
    """Runs inside are of the model without some weights: zeroed in the model itself, and put back, whatever happens.

    For large models: a copy of all weights would take longer than the run.
    mask: bool [weight];  values: all weights, as from `flat`
    """

    def part_of(whole, matrix):
        return torch.from_numpy(whole[matrix.part]).view(matrix.shape).to(matrix.linear.weight.device)

    changed = []
    try:
        for matrix in matrices(model):
            if mask[matrix.part].any():
                changed.append(matrix)
                matrix.weight().masked_fill_(part_of(mask, matrix), 0)
        yield
    finally:
        for matrix in changed:
            matrix.weight().copy_(part_of(values, matrix))


def gradients(model, batches, kind, tokens=256):
    """Mean gradient of the loss with respect to every weight, float32 numpy [weight].

    batches: batching.Batch list;  kind: of loss, see outcomes.losses
    tokens:  of one run, at most: what a backward run keeps of more takes as much memory as all weights
    """
    found, count = matrices(model), sum(len(batch.rows) for batch in batches)
    total = np.zeros(found[-1].part.stop, dtype=np.float32)

    def adds_to(part):
        def take(stack):
            total[part] += stack.grad.float().cpu().numpy().reshape(-1)
            stack.grad = None

        return take

    # Views of the model's own weights, which nothing writes to.  Each gradient is taken as soon as it is known: all of them are a model.
    stacks = [matrix.weight()[None].requires_grad_() for matrix in found]
    for matrix, stack in zip(found, stacks, strict=True):
        stack.register_post_accumulate_grad_hook(adds_to(matrix.part))
    for batch in batches:
        size = max(1, tokens // batch.clean.shape[1])
        for part in (batch.part(start, start + size) for start in range(0, len(batch.rows), size)):
            with copied(found, stacks):
                last = models.logits(model, part.clean)
            outcomes.losses(last, part.answer, part.distractor, kind).sum().backward(inputs=stacks)
    total /= count
    return total
