"""Where readers see the residual stream, in which form, and whether a model is built so.

A reader is the query of a head, a key or a value (several heads may share one), an MLP, or the
logits.  It sees the stream through the norm before it, through one that attention and MLP share
(Phi, GPT-J), or as it is (OLMo 2).  What a layer's heads write may pass a norm before it is added to
the stream (Gemma 2 and 3, OLMo 2, GLM-4).
"""

from dataclasses import dataclass

import torch
from torch import einsum

from circuit_reuse.data import components
from circuit_reuse.engine import interventions, shortcuts
from circuit_reuse.engine.norms import NoNorm, Norm, norm_of

FINAL = "ln_final.hook_in"
INSTEAD = "use atp, ig or patching, and circuits of components"


@dataclass(frozen=True)
class Reader:
    """The queries, keys or values of a layer, or its MLP.

    hook:   where they are, straight after the projection: before any norm of queries and keys and
            before the rotation; for an MLP its input
    weight: the projection, [reader, d_head, d_model], a view of the model's own;  None for an MLP
    bias:   [reader, d_head], or None
    """

    hook: str
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    @property
    def count(self):
        """Number of readers."""
        return 1 if self.weight is None else len(self.weight)


@dataclass(frozen=True)
class StreamPlace:
    """Readers that see the stream through the same norm: q, k and v of a layer, or its MLP.

    readers: a list of Reader
    stream:  hook of the stream before the norm
    module:  the norm of the model itself, None where there is none;  norm: the same in closed form
    writers: number of writers upstream, the first so many of `Space.names`
    columns: where the readers stand in the scores
    """

    readers: list
    stream: str
    module: torch.nn.Module | None
    norm: Norm | NoNorm
    writers: int
    columns: slice

    def parts(self):
        """Each Reader with its columns of the scores."""
        start = self.columns.start
        for reader in self.readers:
            yield reader, slice(start, start + reader.count)
            start += reader.count

    def normed(self, stream):
        """What the readers read of a stream, by the model's own norm."""
        return stream if self.module is None else self.module(stream)

    def matrix(self, reader):
        """The projection with the norm folded in, float32, or None for an MLP."""
        return None if reader.weight is None else self.norm.fold(reader.weight)

    def gradient(self, found, reader):
        """What the reader's hook gave, as [example, position, reader, width]."""
        if reader.weight is None:
            return self.norm.fold(found)[:, :, None]
        return found.float().reshape(*found.shape[:2], *reader.weight.shape[:2])


def reader_names(space):
    """Names of all readers, in the order of the scores of edges."""
    names, shared = [], space.shared_by
    for layer in range(space.layers):
        for part in "qkv":
            count = space.heads if part == "q" else space.heads // shared
            names += [components.reader_name(layer, part, n, shared) for n in range(count)]
        names.append(f"m{layer}")
    return [*names, "logits"]


def places_of(model):
    """All places of readers but the logits', in the order of `reader_names`.

    raises: ValueError for a norm that is not known
    """
    places, column, upstream = [], 0, 1
    for layer, block in enumerate(model.bridge.blocks):
        for which in ("ln1", "ln2"):
            attention = which == "ln1"
            module = norm_before(block, which)
            norm = NoNorm() if module is None else norm_of(module, model.device)
            readers = attention_readers(model, layer, block) if attention else [Reader(f"blocks.{layer}.mlp.hook_in")]
            columns = slice(column, column + sum(reader.count for reader in readers))
            above = upstream if attention or model.parallel else upstream + model.space.heads
            stream = stream_hook(block, layer, which)
            places.append(StreamPlace(readers, stream, module, norm, above, columns))
            column = columns.stop
        upstream += model.space.heads + 1
    return places


def attention_readers(model, layer, block):
    """Queries, keys and values of a layer."""
    width, found = model.space.d_head, []
    for part in "qkv":
        linear = block.attn._modules[part].original_component
        bias = None if linear.bias is None else linear.bias.view(-1, width)
        weight = linear.weight.view(-1, width, model.space.d_model)
        found.append(Reader(f"blocks.{layer}.attn.{part}.hook_out", weight, bias))
    return found


def norm_before(block, which):
    """The module of the norm before the attention (ln1) or the MLP (ln2), or None for none."""
    if hasattr(block, which):
        return getattr(block, which).original_component
    # One norm for both parts, where attention and MLP stand side by side.
    return norm_before(block, "ln1") if which == "ln2" else None


def stream_hook(block, layer, which):
    """Where the stream passes that the attention (ln1) or the MLP (ln2) of a layer reads."""
    if hasattr(block, which):
        return f"blocks.{layer}.{which}.hook_in"
    if which == "ln2" and hasattr(block, "ln1"):
        return f"blocks.{layer}.ln1.hook_in"
    return f"blocks.{layer}.hook_resid_pre" if which == "ln1" else f"blocks.{layer}.mlp.hook_in"


def has_post_norm(model):
    """Whether what the heads of a layer write passes a norm before it is added to the stream."""
    return hasattr(model.bridge.blocks[0], "ln1_post")


def post_hook(layer):
    """Where the summed output of a layer's heads passes before the norm after them."""
    return f"blocks.{layer}.ln1_post.hook_in"


def edges_problem(model):
    """Why a model has no edges of its own, in the words of `check_edges`; empty if it has."""
    try:
        check_edges(model)
    except ValueError as problem:
        return str(problem)
    return ""


def check_edges(model):
    """Refuse models in which edges are not what `StreamPlace` says, or components are not simply added.

    raises: ValueError that says what to use instead
    """
    if len({parameter.device for parameter in model.bridge.original_model.parameters()}) > 1:
        raise ValueError(
            f"edges (eap, eap-ig, edge circuits) need the model on one device; with compute.device: spread {INSTEAD}"
        )
    if not known_parts(model) or not known_norms(model):
        raise ValueError(
            "edges (eap, eap-ig, edge circuits) need queries, keys and values of their own, and norms before "
            "the attention, the MLP and the logits or after the attention and the MLP; this model's layers "
            f"are built otherwise: {INSTEAD}"
        )
    if "additive" not in model.shortcuts:
        model.shortcuts["additive"] = adds_up(model)
    if not model.shortcuts["additive"]:
        raise ValueError(
            "edges (eap, eap-ig, edge circuits) need a residual stream that is the sum of what components "
            "write, and readers that see it through a norm alone; this model scales or norms it in between: "
            f"{INSTEAD}"
        )


def known_parts(model):
    """Whether every layer has projections of as many queries, keys and values as the config says, and the logits a norm."""
    needed = [getattr(model.bridge, "ln_final", None)]
    for block in model.bridge.blocks:
        needed += [getattr(getattr(block, "attn", None), part, None) for part in "qkv"]
    if any(getattr(part, "original_component", None) is None for part in needed):
        return False
    fewer = model.space.heads // model.space.shared_by
    widths = [heads * model.space.d_head for heads in (model.space.heads, fewer, fewer)]
    return all(
        block.attn._modules[part].original_component.weight.shape == (width, model.space.d_model)
        for block in model.bridge.blocks
        for part, width in zip("qkv", widths, strict=True)
    )


def known_norms(model):
    """Whether the norms of all layers stand where edges take them: before, after, or one for both parts."""

    def known(block):
        first, second, *after = (hasattr(block, name) for name in ("ln1", "ln2", "ln1_post", "ln2_post"))
        return all(after) and first == second if any(after) else first and (second or model.parallel)

    return all(map(known, model.bridge.blocks))


@torch.no_grad()
def adds_up(model):
    """Whether two runs of arbitrary tokens are what the places say.

    What components write must add up to the final stream (but for what is the same for all tokens), and
    every reader must be its projection of the normed stream.
    """
    places, first, finals = places_of(model), shortcuts.sample(model), []
    names = [FINAL, *(place.stream for place in places)]
    names += [reader.hook for place in places for reader in place.readers]
    limit = 1e-3 if model.dtype in (torch.float32, torch.float64) else 5e-2
    for tokens in (first, first.flip(1)):
        kept = {}
        hooks = interventions.keepers(kept, *dict.fromkeys(names))
        with model.bridge.hooks(fwd_hooks=hooks):
            _, acts = interventions.run(model, tokens)
        try:
            finals.append((kept[FINAL].float(), written(model, acts)))
            read = [(kept[r.hook], projected(p, r, kept[p.stream])) for p in places for r in p.readers]
        except RuntimeError:
            # Widths that do not fit, such as queries with a gate in the same projection.
            return False
        if not all(close(seen, found, limit) for seen, found in read):
            return False
    moved, total = (a - b for a, b in zip(*finals, strict=True))
    return close(moved, total, limit)


def written(model, acts):
    """The sum of what all components of a run write, [example, position, d_model]."""
    total = acts.embedding.float()
    for layer, block in enumerate(model.bridge.blocks):
        z = acts.z[layer]
        heads = einsum("ephd,hdm->epm", z, block.attn.W_O.to(z.dtype))
        bias = getattr(block.attn.o.original_component, "bias", None)
        heads = heads if bias is None else heads + bias
        if has_post_norm(model):
            heads = block.ln1_post.original_component(heads)
        total = total + heads.float() + acts.mlp[layer].float()
    return total


def projected(place, reader, stream):
    """What readers are for a stream, by the model's own norm and projection.

    stream:  [row, position, d_model], or [row, reader, position, d_model] for a stream of each
    returns: [row, position, reader, d_head]; for an MLP what it reads
    """
    normed = place.normed(stream)
    if reader.weight is None:
        return normed
    pattern = "epm,hdm->ephd" if normed.ndim == 3 else "ehpm,hdm->ephd"
    found = einsum(pattern, normed, reader.weight)
    return found if reader.bias is None else found + reader.bias


def close(first, second, limit):
    """Whether two tensors agree, but for rounding, as a share of the largest value."""
    first, second = first.float().flatten(2), second.float().flatten(2)
    return bool((first - second).abs().max() < limit * first.abs().max().clamp_min(1e-9))
