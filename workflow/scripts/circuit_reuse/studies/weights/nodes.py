"""Single channels as nodes: what each layer reads, computes and writes, and runs that change them.

All nodes of a model lie in one row, by layer and location; a run has copies, each of all examples
with its own nodes changed.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from circuit_reuse.data import fingerprint
from circuit_reuse.engine import models, shortcuts

# Where each kind of node passes, below a block.  The names are those of Gao et al. 2025.
LOCATIONS = {
    "attn_in": "attn.hook_in",
    "q": "attn.q.hook_out",
    "k": "attn.k.hook_out",
    "v": "attn.v.hook_out",
    "attn_out": "attn.o.hook_out",
    "mlp_in": "mlp.hook_in",
    "mlp_neuron": "mlp.out.hook_in",
    "mlp_out": "mlp.out.hook_out",
}
OWN, REPLACED, UNPRUNED = 0, 1, 2


@dataclass(frozen=True)
class Site:
    """The nodes of one location of a layer: `width` of them from `start` on."""

    layer: int
    location: str
    start: int
    width: int

    @property
    def hook(self):
        """The hook under which they pass."""
        return f"blocks.{self.layer}.{LOCATIONS[self.location]}"

    @property
    def part(self):
        """Their places among all nodes."""
        return slice(self.start, self.start + self.width)

    def names(self):
        """Names of the nodes: layer.location.channel."""
        return [f"{self.layer}.{self.location}.{channel}" for channel in range(self.width)]


def sites(model):
    """All sites of a model, in the order of layers and LOCATIONS; found once by one run.

    raises: ModelError if one has no hook, or one that a run passes by
    """
    if "nodes" not in model.shortcuts:
        widths = {}

        def see(tensor, hook):
            widths[hook.name] = int(np.prod(tensor.shape[2:]))
            return tensor

        layers = range(model.space.layers)
        names = [(n, where, f"blocks.{n}.{LOCATIONS[where]}") for n in layers for where in LOCATIONS]
        known = [name for *_, name in names if models.reachable(model.bridge, name)]
        with torch.no_grad(), model.bridge.hooks(fwd_hooks=[(name, see) for name in known]):
            models.logits(model, shortcuts.sample(model))
        found, start = [], 0
        for layer, location, name in names:
            if name not in widths:
                raise fingerprint.ModelError(
                    f"{type(model.bridge.original_model).__name__} has no {location} at {name}, so "
                    "its nodes are not known; weights are studied in models with separate "
                    "projections of attention and an MLP in each layer"
                )
            found.append(Site(layer, location, start, widths[name]))
            start += widths[name]
        model.shortcuts["nodes"] = found
    return model.shortcuts["nodes"]


def total(model):
    """Number of nodes."""
    return sites(model)[-1].start + sites(model)[-1].width


@contextmanager
def changed(model, copies, change, whole=False):
    """Runs inside have the nodes of every site changed.

    whole:  run every layer at every position
    copies: how many times the examples are repeated, copies outermost
    change: function (site, [copy, example, position, node]) to the same shape
    """

    def hook(site):
        def apply(tensor, hook):
            rows = tensor.reshape(copies, -1, tensor.shape[1], site.width)
            return change(site, rows).reshape(tensor.shape)

        return apply

    # The last MLP at the last position only, where nothing else is asked for.
    shorter = [] if whole else shortcuts.at_the_end(model)
    with model.bridge.hooks(fwd_hooks=[*shorter, *((s.hook, hook(s)) for s in sites(model))]):
        yield


def masked(model, tokens, mask, replacement):
    """Logits with masked nodes replaced, [copy, example, vocabulary]; gradients reach the mask.

    tokens:      [example, position]
    mask:        [copy, node], 1 keeps a node and 0 replaces it
    replacement: [node]
    source:      x m + r (1 - m), Gao et al. 2025
    """

    def change(site, x):
        m = mask[:, None, None, site.part].to(x.dtype)
        return x * m + replacement[site.part].to(x.dtype) * (1 - m)

    copies = len(mask)
    with changed(model, copies, change):
        return models.logits(model, tokens.repeat(copies, 1)).unflatten(0, (copies, -1))


@torch.no_grad()
def run(model, tokens, state, replacement, unpruned=None):
    """Logits with each node in one of three states, [copy, example, vocabulary].

    state:    [copy, node], OWN leaves a node as it is computed in this run, REPLACED puts in the
              replacement, UNPRUNED its value in the intact run
    unpruned: values of the intact run, a list by site of [example, position, node]
    """
    put_in = {} if unpruned is None else dict(zip(sites(model), unpruned, strict=True))

    def change(site, x):
        s = state[:, None, None, site.part].to(x.device)
        x = torch.where(s == REPLACED, replacement[site.part].to(x.dtype), x)
        return torch.where(s == UNPRUNED, put_in[site], x) if put_in else x

    copies = len(state)
    with changed(model, copies, change):
        return models.logits(model, tokens.repeat(copies, 1)).unflatten(0, (copies, -1))


@torch.no_grad()
def values(model, tokens, state=None, replacement=None, whole=False):
    """Values of all nodes in a run, a list by site of [example, position, node].

    state: [node] as in `run`, or None for the intact run; what it replaces reads as replaced
    whole: the last MLP too at every position, not at the last one alone
    """
    kept = {}

    def change(site, x):
        if state is not None:
            x = torch.where(state[site.part] == REPLACED, replacement[site.part].to(x.dtype), x)
        kept[site] = x[0]
        return x

    with changed(model, 1, change, whole):
        models.logits(model, tokens)
    # Parallel attention and MLP may run either first.
    return [kept[site] for site in sites(model)]


def moments(model, batches):
    """Mean and standard deviation of every node over all positions of some prompts, float32 [node].

    batches: token tensors [example, position]
    """
    sums, squares, count = 0, 0, 0
    for tokens in batches:
        found = [value.double() for value in values(model, tokens, whole=True)]
        sums = sums + torch.cat([value.sum((0, 1)) for value in found])
        squares = squares + torch.cat([value.square().sum((0, 1)) for value in found])
        count += tokens.numel()
    mean = sums / count
    return mean.float(), (squares / count - mean.square()).clamp_min(0).sqrt().float()


def names(model):
    """Names of all nodes, in their order."""
    return [name for site in sites(model) for name in site.names()]
