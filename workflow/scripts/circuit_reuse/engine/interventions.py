"""The one engine that runs a model with components replaced.

A run has rows; each row is an example with its own set of components to replace.  One hook a
layer replaces them all under a row mask, so many interventions share a batch.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from circuit_reuse.data import components
from circuit_reuse.engine import batching, models, shortcuts


@dataclass(frozen=True)
class Activations:
    """Outputs of all components of a run.

    embedding: [example, position, d_model]
    z:         a list by layer of [example, position, head, d_head]
    mlp:       a list by layer of [example, position, d_model]
    """

    embedding: torch.Tensor
    z: list
    mlp: list

    @classmethod
    def of(cls, tensors, layers):
        """From the list that `tensors` makes."""
        return cls(tensors[0], list(tensors[1 : 1 + layers]), list(tensors[1 + layers :]))

    def tensors(self):
        """All tensors in a list: embedding, heads by layer, MLPs by layer."""
        return [self.embedding, *self.z, *self.mlp]

    def rows(self, index):
        """The activations of some examples, in the order of `index`."""
        return self.like(lambda tensor: tensor[index])

    def like(self, change, *others):
        """The same with every tensor changed by a function, which takes those of other Activations, too."""
        every = zip(self.tensors(), *(other.tensors() for other in others), strict=True)
        return Activations.of([change(*each) for each in every], len(self.z))


def hook_names(model):
    """Hook points of the embedding, of the heads and of the MLPs, by layer."""
    layers = range(model.space.layers)
    heads = [f"blocks.{layer}.attn.hook_z" for layer in layers]
    return "embed.hook_out", heads, [f"blocks.{layer}.hook_mlp_out" for layer in layers]


@contextmanager
def capturing(model):
    """Collect the outputs of all components of the runs inside, as {hook name: tensor}.

    The collected tensors are the ones that the model goes on with, so gradients with respect
    to them are those of the components.
    """
    embedding, heads, mlps = hook_names(model)
    kept = {}
    with model.bridge.hooks(fwd_hooks=keepers(kept, embedding, *heads, *mlps)):
        yield kept


def keepers(kept, *names, branch=False):
    """Forward hooks that store what passes under the names given (hooks may be aliases).

    branch: whether what is stored is what passes here alone, where the same tensor also goes elsewhere
            (an MLP that reads the stream, or the norm of the attention): a gradient is then of this reader
    """

    def evaluate(name):
        def keep(tensor, hook):
            kept[name] = tensor.view_as(tensor) if branch else tensor
            return kept[name]

        return keep

    return [(name, evaluate(name)) for name in names]


def start_from(model, embedding=None):
    """A hook that makes the token embedding, or one put in for it, the root of gradients."""

    def start(tensor, hook):
        put_in = tensor if embedding is None else embedding.to(tensor.dtype)
        return put_in.detach().requires_grad_()

    return hook_names(model)[0], start


def activations(model, kept):
    """Activations from what `capturing` collected."""
    embedding, heads, mlps = hook_names(model)
    return Activations(kept[embedding], [kept[name] for name in heads], [kept[name] for name in mlps])


@torch.no_grad()
def run(model, tokens, prefix=None):
    """Logits after the last position [example, vocabulary], and activations after the prefix."""
    with capturing(model) as kept:
        last = models.logits(model, tokens, prefix)
    return last, activations(model, kept)


@dataclass(frozen=True)
class Base:
    """The intact runs that interventions start from, and what of them need not be repeated.

    tokens:  [example, position], those after the prefix
    prefix:  shortcuts.Prefix or None
    last:    logits after the last position [example, vocabulary], or None if not run
    streams: the input of each layer, a list of [example, position, d_model], or None
    """

    tokens: torch.Tensor
    prefix: shortcuts.Prefix | None = None
    last: torch.Tensor | None = None
    streams: list | None = None


@torch.no_grad()
def base(model, tokens, prefix=None):
    """Run the intact model: a Base, and the activations after the prefix."""
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.space.layers)]
    streams = {}
    keep = keepers(streams, *names) if shortcuts.able(model, "skip") else []
    with capturing(model) as kept, model.bridge.hooks(fwd_hooks=keep):
        last = models.logits(model, tokens, prefix)
    found = [streams[name] for name in names] if keep else None
    return Base(tokens, prefix, last, found), activations(model, kept)


def masks(space, sets, device="cpu"):
    """Which components each set replaces, as boolean tensors.

    sets:    a list of collections of component names
    returns: input [set], heads [set, layer, head], mlps [set, layer]
    raises:  ValueError for a name that the model does not have
    """
    count = len(sets)
    inputs = torch.zeros(count, dtype=torch.bool)
    heads = torch.zeros(count, space.layers, space.heads, dtype=torch.bool)
    mlps = torch.zeros(count, space.layers, dtype=torch.bool)
    for row, names in enumerate(sets):
        for name in names:
            layer, head = components.place(name)
            if layer is None:
                inputs[row] = True
            elif layer >= space.layers or (head is not None and head >= space.heads):
                raise ValueError(f"the model has {space.layers} layers of {space.heads} heads, no {name}")
            elif head is None:
                mlps[row, layer] = True
            else:
                heads[row, layer, head] = True
    return inputs.to(device), heads.to(device), mlps.to(device)


@torch.no_grad()
def replace(model, base, removed, instead, begin=None, keep=(), everywhere=False, roles=None, by_row=False):
    """Run with components replaced.

    base:    Base of the examples;  layers below the first replaced one are not run again
    removed: a list of sets of component names; every set is run on every example
    instead: Activations of the same examples and positions, put in
    begin:   (layer, its input [set * example, position, d_model]) to start from instead, when
             what happens below is known: each set has its own input
    keep:    more hooks, which see what passes before anything is replaced
    everywhere: read the logits after every position; there must be no prefix
    roles:   [example][position], of the tokens of the base: sets are of (component, role), and a component is replaced at the
             positions of these roles alone
    by_row:  whether an MLP that only some rows need runs on these alone: faster, but then what else is in a batch shapes the rounding
    returns: logits after the last position, [set * example, vocabulary], sets outermost; with `everywhere`
             [set * example, position, vocabulary]
    source:  activation patching, Vig et al. 2020; Zhang & Nanda 2024
    """
    sets, examples = len(removed), len(base.tokens)
    first = min(map(first_layer, removed))
    if base.last is not None and first == math.inf and begin is None and not everywhere:
        return base.last.repeat(sets, 1)
    if roles is None:
        masked = masks(model.space, removed, base.tokens.device)
        inputs, heads, mlps = (mask.repeat_interleave(examples, dim=0).unsqueeze(1) for mask in masked)
    else:
        inputs, heads, mlps = masks_at(model.space, removed, roles, base.tokens.device)
    embedding, head_hooks, mlp_hooks = hook_names(model)
    hooks = [*keep, *([] if everywhere or roles else shortcuts.at_the_end(model))]
    begin = begin or beginning(base, first, sets)

    def hook(name, mask, value):
        if mask.any():
            hooks.append((name, put(mask, value, sets)))

    hook(embedding, inputs[:, :, None], instead.embedding)
    for layer in range(model.space.layers):
        hook(head_hooks[layer], heads[:, :, layer, :, None], instead.z[layer])
        hook(mlp_hooks[layer], mlps[:, :, layer, None], instead.mlp[layer])
    unread = not_needed(model, heads, mlps, begin, by_row)
    with shortcuts.starting(model, begin, hooks), shortcuts.without(model, *unread):
        tokens = base.tokens.repeat(sets, 1)
        if everywhere:
            return models.logits_of_last(model, tokens, tokens.shape[1])
        return models.logits(model, tokens, base.prefix, sets)


def not_needed(model, heads, mlps, begin, by_row):
    """What need not be computed, as `shortcuts.without` takes it: heads of layers, and MLPs in rows, of which every output is replaced.

    heads, mlps: masks as in `replace`;  begin: as there, layers below it do not run
    """
    layers = range(begin[0] if begin else 0, model.space.layers)
    # On the processor at once: asked layer by layer, a GPU would be waited for in each.
    every_head, whole = heads.all(3).flatten(0, 1).all(0).tolist(), mlps.all(dim=1).cpu()
    attentions = [layer for layer in layers if every_head[layer]]
    inner = {}
    for layer in layers:
        if whole[:, layer].all():
            inner[layer] = None
        elif by_row and whole[:, layer].any():
            inner[layer] = (~whole[:, layer]).nonzero()[:, 0]
    return (attentions, inner) if (attentions or inner) and shortcuts.able(model, "replaced") else ([], {})


def masks_at(space, sets, roles, device="cpu"):
    """Where each set of (component, role) replaces components.

    roles:   [example][position]
    returns: as `masks`, with rows of sets and examples, and positions: [set * example, position, ...]
    """
    found = None
    for role in dict.fromkeys(role for units in sets for _, role in units):
        here = torch.tensor([[each == role for each in row] for row in roles], device=device)
        parts = masks(space, [[name for name, place in units if place == role] for units in sets], device)
        parts = [
            (mask[:, None, None] & here.view(1, *here.shape, *[1] * (mask.ndim - 1))).flatten(0, 1) for mask in parts
        ]
        found = parts if found is None else [before | more for before, more in zip(found, parts, strict=True)]
    return found


def component_of(unit):
    """The component of a unit: a name, or (component, role)."""
    return unit if isinstance(unit, str) else unit[0]


def beginning(base, first, sets):
    """Where runs can begin that change nothing below layer `first`; None at the very beginning."""
    if base.streams is None or not 0 < first < math.inf:
        return None
    return first, base.streams[first].repeat(sets, 1, 1)


def first_layer(names):
    """The first layer that changes when components are replaced: -1 input, infinity for none."""
    return min((components.order(component_of(name))[0] for name in names), default=math.inf)


def scan(model, base, sets, instead, tokens, roles=None):
    """Run many sets on the same examples, as many at once as fit.

    sets:   a list of sets of component names, in any order;  roles: as `replace` takes them
    tokens: tokens of one run, at most, but always one set
    yields: (places in `sets`, logits [set * example, vocabulary]), highest layers first, so
            that each run skips as many layers as it can
    """
    each = base.tokens.numel()
    size, firsts = tokens // each, list(map(first_layer, sets))
    what = f"interventions on {len(base.tokens)} examples"

    def work(places):
        return replace(model, base, [sets[place] for place in places], instead, roles=roles, by_row=True)

    for piece in batching.by_depth(firsts, model.space, each, size, base.tokens.device):
        yield from batching.in_pieces(work, piece, size, base.tokens.device, what)


def put(mask, value, sets):
    """A hook that puts `value`, repeated for every set, where `mask` is true."""

    def hook_function(tensor, hook):
        repeated = value.to(tensor.dtype).repeat(sets, *[1] * (value.ndim - 1))
        # Layers may lie on different devices; values lie on their layer's.
        return torch.where(mask.to(tensor.device), repeated, tensor)

    return hook_function


def add(first, second):
    """The sum of two Activations."""
    return first.like(torch.add, second)


def difference(first, second):
    """One Activations less another."""
    return first.like(torch.sub, second)


def mean_outputs(model, batches):
    """Mean output of each component over all positions but the first: Activations of one row and position.

    batches: token ids [example, position]
    """
    total, count = None, 0
    for tokens in batches:
        _, acts = run(model, tokens)
        found = acts.like(lambda tensor: tensor[:, 1:].float().sum((0, 1))[None, None])
        total = found if total is None else add(total, found)
        count += tokens[:, 1:].numel()
    return total.like(lambda tensor: tensor / count)
