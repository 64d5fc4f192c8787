"""The engine for parts: queries, keys, values, patterns and outputs of heads, MLPs, whole layers.

As in `interventions`, a run has rows, each an example with its own parts put in, and one hook a
part and layer puts them all in under a row mask; here a part may be put in at some positions only.
"""

from dataclasses import dataclass

import torch
from torch import einsum

from circuit_reuse.data import fingerprint
from circuit_reuse.engine import batching, interventions, models, shortcuts


@dataclass(frozen=True)
class PartHook:
    """Where a part is read and replaced: its hook below a block, and the axes of its tensor.

    position: axis of positions (of queries, for patterns);  head: axis of heads, or None
    """

    hook: str
    position: int = 1
    head: int | None = None


PLACES = {
    "z": PartHook("attn.hook_z", head=2),
    "q": PartHook("attn.hook_q", head=2),
    "k": PartHook("attn.hook_k", head=2),
    "v": PartHook("attn.hook_v", head=2),
    "pattern": PartHook("attn.hook_pattern", position=2, head=1),
    "attention": PartHook("hook_attn_out"),
    "mlp": PartHook("hook_mlp_out"),
    "stream": PartHook("hook_resid_post"),
}
OF_LAYERS = tuple(name for name, place in PLACES.items() if place.head is None)


@dataclass(frozen=True)
class Patch:
    """One part that is put in.

    part: a key of PLACES;  head: None for parts of layers
    role: positions at which it is put in, a key of `where`; None for all
    """

    part: str
    layer: int
    head: int | None = None
    role: str | None = None


def hook_of(part, layer):
    """The hook under which a part of a layer passes."""
    return f"blocks.{layer}.{PLACES[part].hook}"


@torch.no_grad()
def capture(model, tokens, parts, prefix=None):
    """Run the intact model, keeping parts of all layers.

    tokens:  [example, position], those after the prefix (shortcuts.Prefix) if there is one
    returns: interventions.Base, and {hook name: tensor}
    raises:  ModelError if the model has no such place
    """
    names = [hook_of(part, layer) for part in parts for layer in range(model.space.layers)]
    missing = [name for name in names if not models.reachable(model.bridge, name)]
    if missing:
        raise fingerprint.ModelError(
            f"{type(model.bridge.original_model).__name__} has no {missing[0]}, so that part "
            "cannot be traced; leave it out of scaling.tracing.parts"
        )
    kept = {}
    with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *names)):
        base, _ = interventions.base(model, tokens, prefix)
    return base, kept


@torch.no_grad()
def replace(model, base, sets, source, where=None):
    """Run with parts put in from another run.

    base:    interventions.Base of the examples; lower layers are not run again
    sets:    a list of lists of Patch; every list is run on every example
    source:  {hook name: tensor} of the same examples and positions, from `capture`
    where:   {role: [example, position] bool}, positions after the prefix
    returns: logits after the last position, [set * example, vocabulary], sets outermost
    source:  causal tracing, Meng et al. 2022; path parts as in Wang et al. 2022
    """
    count, (examples, positions) = len(sets), base.tokens.shape
    whole = torch.ones(examples, positions, dtype=torch.bool, device=base.tokens.device)
    hooks = {}
    for row, patches in enumerate(sets):
        for patch in patches:
            name, place = hook_of(patch.part, patch.layer), PLACES[patch.part]
            at = whole if patch.role is None else where[patch.role]
            if name not in hooks:
                width = 1 if place.head is None else source[name].shape[place.head]
                hooks[name] = (
                    place,
                    torch.zeros(count, examples, positions, width, dtype=torch.bool, device=whole.device),
                )
            mask = hooks[name][1]
            mask[row, :, :, column(patch, mask.shape[-1], model.space.heads)] |= at
    put = shortcuts.at_the_end(model)
    for name in sorted(hooks, key=order):
        place, mask = hooks[name]
        if name.endswith("pattern") and not shortcuts.able(model, "pattern"):
            put += by_values(name, mask, source[name])
        else:
            put.append((name, interventions.put(shaped(mask, place), source[name], count)))
    first = min((patch.layer for patches in sets for patch in patches), default=0)
    with shortcuts.starting(model, interventions.beginning(base, first, count), put):
        return models.logits(model, base.tokens.repeat(count, 1), base.prefix, count)


def order(name):
    """Values before the patterns that may need them, patterns before the output that may replace it."""
    return 2 if name.endswith("hook_z") else 1 if name.endswith("pattern") else 0


def by_values(name, mask, pattern):
    """Hooks that put a pattern in where the model does not read one: as its product with the values.

    mask:    [set, example, query, head];  pattern: [example, head, query, key]
    Attention that runs inside the model's own module has used its pattern before a hook sees it.
    """
    layer, seen = name.removesuffix(PLACES["pattern"].hook), {}

    def keep(values, hook):
        seen["values"] = values
        return values

    def write(z, hook):
        values, weights = seen["values"], pattern.to(z.dtype).repeat(mask.shape[0], 1, 1, 1)
        values = values.repeat_interleave(z.shape[2] // values.shape[2], dim=2)
        attended = einsum("ehqk,ekhd->eqhd", weights, values)
        return torch.where(mask.flatten(0, 1)[..., None].to(z.device), attended, z)

    # Hooks run in order, so the values are those that a patch of v has left.
    return [(f"{layer}{PLACES['v'].hook}", keep), (f"{layer}{PLACES['z'].hook}", write)]


def column(patch, width, heads):
    """The column of a patch in a mask: heads that share keys and values have one together."""
    return 0 if patch.head is None else patch.head * width // heads


def shaped(mask, place):
    """A mask [set, example, position, head] in the shape of the part's tensor."""
    mask = mask.flatten(0, 1)
    if place.head is None:
        return mask
    return mask.transpose(1, 2)[..., None] if place.head == 1 else mask[..., None]


def scan(model, base, sets, source, where, tokens):
    """Run many sets on the same examples, as many at once as fit; highest layers first.

    yields: (places in `sets`, logits [set * example, vocabulary])
    """
    each = base.tokens.numel()
    size, firsts = tokens // each, [min(patch.layer for patch in patches) for patches in sets]
    what = f"patches on {len(base.tokens)} examples"

    def work(chosen):
        return replace(model, base, [sets[n] for n in chosen], source, where)

    for piece in batching.by_depth(firsts, model.space, each, size, base.tokens.device):
        yield from batching.in_pieces(work, piece, size, base.tokens.device, what)


def metric(last, batch, repeats, name):
    """The metric of each row of a run that repeats a batch, [set, example]."""
    return models.metric_values(last, *batch.targets(repeats), name).view(repeats, -1)
