"""Edge attribution: from each writer of the residual stream to each reader, per example.

Writers are the components; readers the query of every head, every key and value that the model has
(several heads may share one), the MLPs and the logits.  Where a norm follows the attention, a head's
change passes through it to first order, at the values of the run that the gradient is taken in.  The gradient at q, k and v is carried back through the projection and the layer norm in
closed form and in the width of a head, so that no per-head copy of the stream is made and the
steps of EAP-IG are added up before anything is as wide as the stream.
"""

from dataclasses import dataclass

import torch
from torch import einsum

from circuit_reuse import components, interventions, models, shortcuts
from circuit_reuse.norms import NoNorm, Norm, norm_of

# What the writers' differences may take at once, and the readers' gradients of a layer: larger
# batches go in parts, and longer prompts in pieces of positions.
BUDGET_BYTES = 256 * 2**20
FINAL = "ln_final.hook_in"


@dataclass(frozen=True)
class Place:
    """Readers that see the stream through the same norm: q, k and v of a layer, or its MLP.

    readers: hook where the gradient at each reader is taken, and the matrix [head, d_head,
             d_model] by which it reads the stream, norm folded in; None for an MLP
    stream:  hook of the norm's input;  norm: the norm in closed form
    writers: number of writers upstream, the first so many of `Space.names`
    columns: where the readers stand in the scores
    """

    readers: list
    stream: str
    norm: Norm
    writers: int
    columns: slice

    def gradient(self, found, matrix):
        """What the hook gave, as [example, position, reader, width]."""
        if matrix is None:
            return self.norm.fold(found)[:, :, None]
        return found.float().reshape(*found.shape[:2], *matrix.shape[:2])


class Written:
    """What each writer's change adds to the stream, in pieces of positions within the budget.

    through: by layer, the norm after the attention with its input in the run whose gradient is used,
             or None where heads write straight into the stream
    Iterating gives (slice of positions, [example, writer, position, d_model]).
    """

    def __init__(self, model, change, through=None):
        self.model, self.change = model, change
        self.through = through or [None] * model.space.layers
        examples, positions, width = change.embedding.shape
        size = max(1, BUDGET_BYTES // (4 * examples * widest(model) * width))
        self.parts = [slice(start, start + size) for start in range(0, positions, size)]
        # One piece is made once; more would not fit together, and are made again each time.
        self.only = self.piece(self.parts[0]) if len(self.parts) == 1 else None

    def __iter__(self):
        for part in self.parts:
            yield part, self.piece(part) if self.only is None else self.only

    def piece(self, part):
        """The writers' changes at some positions."""
        embedding = self.change.embedding[:, part].float()
        examples, positions, width = embedding.shape
        written = embedding.new_empty(examples, len(self.model.space.names), positions, width)
        written[:, 0] = embedding
        place, heads = 1, self.model.space.heads
        for layer, block in enumerate(self.model.bridge.blocks):
            z = self.change.z[layer][:, part].float()
            found = einsum("ephd,hdm->ehpm", z, block.attn.W_O.float())
            if self.through[layer] is not None:
                norm, attended = self.through[layer]
                found = norm.tangent(attended[:, None, part], found)
            written[:, place : place + heads] = found
            written[:, place + heads] = self.change.mlp[layer][:, part].float()
            place += heads + 1
        return written


def edge_scores(model, batch, metric, steps=0):
    """Score of each edge: change of the metric when the reader sees the writer corrupted.

    steps:   0 for EAP (gradient at the clean run), else steps of EAP-IG
    returns: [example, writer, reader], 0 where there is no edge; readers as in `reader_names`
    raises:  ValueError for models whose stream is no sum of what components write
    source:  Syed et al. 2023 (EAP); Hanna et al. 2024 (EAP-IG, inputs)

    The gradient before a norm is (n - normed * mean(n * normed)) / scale, with n the gradient
    after it (less its mean, where the norm takes the mean off).  The first part is linear in the
    gradient, so it is summed over the steps before it is made as wide as the stream.
    """
    check_architecture(model)
    most = max(1, BUDGET_BYTES // (4 * widest(model) * model.space.d_model))
    count = len(batch.clean)
    if count > most:
        parts = [batch.part(start, start + most) for start in range(0, count, most)]
        return torch.cat([edge_scores(model, part, metric, steps) for part in parts])
    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    if not steps:
        return scores_at(model, batch, metric, [None], None, corrupt)
    _, clean = interventions.run(model, batch.clean, batch.prefix)
    ways = [(step + 0.5) / steps for step in range(steps)]
    points = [torch.lerp(clean.embedding, corrupt.embedding, way) for way in ways]
    if has_post_norm(model):
        # What a head writes depends on the run, so the steps cannot be summed before they are wide.
        return (
            sum(scores_at(model, batch, metric, [point], clean, corrupt) for point in points)
            / steps
        )
    return scores_at(model, batch, metric, points, clean, corrupt)


def scores_at(model, batch, metric, points, clean, corrupt):
    """Scores with the mean of the gradients at some points, see `edge_scores`.

    points: embeddings put in, None for the clean one
    clean:  Activations of the clean run, or None for those of the first point
    """
    places = places_of(model)
    scores, written, final, totals = None, None, 0, {}
    for point in points:
        acts, seen = sight(model, batch, metric, places, point)
        if written is None:
            change = interventions.add(corrupt, (clean or acts).like(torch.neg))
            written = Written(model, change, through_norms(model, seen))
            shape = len(batch.clean), len(model.space.names), len(reader_names(model.space))
            scores = torch.zeros(shape, device=model.device)
        final = final + seen[FINAL].float() / len(points)
        streams, along = [], []
        for place in places:
            normed, inverse = place.norm.read(seen[place.stream])
            share = inverse[:, :, None, None] / len(points)
            found = []
            for hook, matrix in place.readers:
                gradient = place.gradient(seen[hook], matrix) * share
                totals[hook] = totals.get(hook, 0) + gradient
                read = normed[:, :, None] if matrix is None else einsum("epd,rkd->eprk", normed, matrix)  # fmt: skip
                found.append(einsum("eprk,eprk->epr", read, gradient) / model.space.d_model)
            along.append(torch.cat(found, dim=-1))
            streams.append(normed)
        streams = torch.stack(streams, dim=-1)
        for part, piece in written:
            # A product of matrices a position: einsum would copy the writers first.
            dots = [piece[:, :, n] @ stream for n, stream in enumerate(streams[:, part].unbind(1))]
            dots = torch.stack(dots, dim=2)
            for n, place in enumerate(places):
                change = einsum("ewp,epr->ewr", dots[:, : place.writers, :, n], along[n][:, part])
                scores[:, : place.writers, place.columns] -= change
    for part, piece in written:
        for place in places:
            after = [widened(totals[hook][:, part], matrix) for hook, matrix in place.readers]
            found = piece[:, : place.writers].flatten(2) @ torch.cat(after, dim=1).flatten(2).mT
            scores[:, : place.writers, place.columns] += found
        scores[:, :, -1] += einsum("ewpd,epd->ew", piece, final[:, part])
    return scores


def has_post_norm(model):
    """Whether what the heads of a layer write passes a norm before it is added to the stream."""
    return hasattr(model.bridge.blocks[0], "ln1_post")


def post_hook(layer):
    """Where the summed output of a layer's heads passes before the norm after them."""
    return f"blocks.{layer}.ln1_post.hook_in"


def through_norms(model, seen):
    """By layer, the norm after the attention and its input in a run; None for models without one."""
    if not has_post_norm(model):
        return None
    return [
        (norm_of(block.ln1_post.original_component), seen[post_hook(layer)])
        for layer, block in enumerate(model.bridge.blocks)
    ]


def widest(model):
    """Writers, or readers of a layer, whichever are more."""
    return max(len(model.space.names), 3 * model.space.heads + 1)


def widened(gradient, matrix):
    """The gradient at readers as one at the stream, [example, reader, position, d_model]."""
    if matrix is None:
        return gradient.transpose(1, 2)
    return einsum("eprk,rkd->erpd", gradient, matrix)


def check_architecture(model):
    """Refuse models in which a component's output is not simply added to the stream."""
    if len({parameter.device for parameter in model.bridge.original_model.parameters()}) > 1:
        raise ValueError(
            "eap and eap-ig need the model on one device; with compute.device: spread use atp, ig "
            "or patching"
        )
    block = model.bridge.blocks[0]
    attention = getattr(block, "attn", None)
    needed = [getattr(attention, name, None) for name in "qkv"]
    needed += [getattr(model.bridge, "ln_final", None)]
    if any(getattr(part, "original_component", None) is None for part in needed) or not known_norms(
        model, block
    ):
        raise ValueError(
            "eap and eap-ig need queries, keys and values of their own, and norms before the attention, the "
            "MLP and the logits or after the attention and the MLP; this model's layers are built otherwise: "
            "use atp, ig or patching"
        )
    if not additive(model):
        raise ValueError(
            "eap and eap-ig need a residual stream that is the sum of what components write; this "
            "model scales or norms it in between: use atp, ig or patching"
        )


def known_norms(model, block):
    """Whether the norms of a layer stand where edges take them: before, after, or one for both parts."""
    before = [hasattr(block, name) for name in ("ln1", "ln2")]
    after = [hasattr(block, name) for name in ("ln1_post", "ln2_post")]
    if all(after):
        return before[0] == before[1]
    return not any(after) and before[0] and (before[1] or model.parallel)


def first_norm(block):
    """The module of the norm before the attention, or None where it reads the stream itself."""
    return block.ln1.original_component if hasattr(block, "ln1") else None


def second_norm(block):
    """The same before the MLP, which may be the one before the attention (Phi, GPT-J)."""
    return block.ln2.original_component if hasattr(block, "ln2") else first_norm(block)


def stream_hook(block, layer, which):
    """Where the stream passes that the attention (ln1) or the MLP (ln2) of a layer reads."""
    if hasattr(block, which):
        return f"blocks.{layer}.{which}.hook_in"
    if which == "ln2" and hasattr(block, "ln1"):
        return f"blocks.{layer}.ln1.hook_in"
    return f"blocks.{layer}.hook_resid_pre" if which == "ln1" else f"blocks.{layer}.mlp.hook_in"


@torch.no_grad()
def additive(model):
    """Whether the writers' changes add up to that of the final stream; checked once a model."""
    if "additive" not in model.shortcuts:
        first = shortcuts.sample(model)
        layers = range(model.space.layers) if has_post_norm(model) else ()
        names = [FINAL, *map(post_hook, layers), *(f"blocks.{n}.hook_attn_out" for n in layers)]
        runs, acts = [], []
        for tokens in (first, first.flip(1)):
            kept = {}
            hooks = interventions.keepers(kept, *names)
            with model.bridge.hooks(fwd_hooks=hooks):
                acts.append(interventions.run(model, tokens)[1])
            runs.append(kept)
        change = interventions.add(acts[0], acts[1].like(torch.neg))
        moved = {name: runs[0][name].float() - runs[1][name].float() for name in names}
        total = torch.cat([piece for _, piece in Written(model, change)], dim=2).sum(1)
        expected = moved[FINAL]
        # A norm after the attention takes the heads' sum and gives what is added to the stream.
        total = total + sum(
            moved[f"blocks.{n}.hook_attn_out"] - moved[post_hook(n)] for n in layers
        )
        limit = 1e-3 if model.dtype == torch.float32 else 5e-2
        gap = (total - expected).abs().max() / expected.abs().max().clamp_min(1e-9)
        model.shortcuts["additive"] = bool(gap < limit)
    return model.shortcuts["additive"]


def reader_names(space):
    """Names of all readers, in the order of `edge_scores`."""
    names, shared = [], space.shared_by
    for layer in range(space.layers):
        for part in "qkv":
            count = space.heads if part == "q" else space.heads // shared
            names += [components.reader_name(layer, part, n, shared) for n in range(count)]
        names.append(f"m{layer}")
    return [*names, "logits"]


def places_of(model):
    """All places of readers but the logits', in the order of `reader_names`."""
    places, column, upstream = [], 0, 1
    heads, shape = model.space.heads, (-1, model.space.d_head, model.space.d_model)
    wide = heads + 2 * heads // model.space.shared_by
    for layer, block in enumerate(model.bridge.blocks):
        norm = closed(first_norm(block))
        readers = [
            (
                f"blocks.{layer}.attn.{part}.hook_out",
                norm.fold(block.attn._modules[part].original_component.weight.view(shape)),
            )
            for part in "qkv"
        ]
        columns = slice(column, column + wide)
        places.append(Place(readers, stream_hook(block, layer, "ln1"), norm, upstream, columns))
        norm = closed(second_norm(block))
        above = upstream if model.parallel else upstream + heads
        columns = slice(columns.stop, columns.stop + 1)
        readers = [(f"blocks.{layer}.mlp.hook_in", None)]
        places.append(Place(readers, stream_hook(block, layer, "ln2"), norm, above, columns))
        column, upstream = columns.stop, upstream + heads + 1
    return places


def closed(module):
    """The closed form of a norm, or of none."""
    return NoNorm() if module is None else norm_of(module)


def sight(model, batch, metric, places, embedding):
    """One run with gradients at the inputs of all readers.

    embedding: put in instead of the clean one, or None
    returns:   activations, and by hook the gradient at each reader and the inputs of the norms
    """
    wanted = [*(hook for place in places for hook, _ in place.readers), FINAL]
    streams = [place.stream for place in places]
    streams += map(post_hook, range(model.space.layers)) if has_post_norm(model) else []
    kept = {}
    hooks = [interventions.start_from(model, embedding)]
    hooks += interventions.keepers(kept, *dict.fromkeys(streams))
    hooks += interventions.keepers(kept, *wanted, branch=True)
    with (
        torch.enable_grad(),
        model.bridge.hooks(fwd_hooks=hooks),
        interventions.capturing(model) as outputs,
    ):
        last = models.logits(model, batch.clean, batch.prefix)
        total = models.metric_values(last, batch.answer, batch.distractor, metric).sum()
        gradients = torch.autograd.grad(total, [kept[name] for name in wanted])
    seen = {name: kept[name].detach() for name in streams}
    # An MLP without a norm before it reads the stream at the place of its gradient; only its shape matters.
    seen |= dict(zip(wanted, gradients, strict=True))
    return interventions.activations(model, outputs).like(torch.Tensor.detach), seen
