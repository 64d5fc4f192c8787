"""Edge attribution: from each writer of the residual stream to each reader, per example.

Writers are the components; readers are those of `places`.  The gradient at q, k and v is carried back
through the projection and the layer norm in closed form and in the width of a head, so that no per-head
copy of the stream is made and the steps of EAP-IG are added up before anything is as wide as the stream.
Where a norm follows the attention, a head's change passes through it to first order, at the values of
the run that the gradient is taken in.
"""

import torch
from torch import einsum

from circuit_reuse.engine import interventions, models
from circuit_reuse.engine.attribution import midpoints
from circuit_reuse.engine.norms import norm_of
from circuit_reuse.engine.places import FINAL, check_edges, has_post_norm, places_of, post_hook, reader_names

# What the writers' differences may take at once, and the readers' gradients of a layer: larger
# batches go in parts, and longer prompts in pieces of positions.
BUDGET_BYTES = 256 * 2**20


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
    check_edges(model)
    most = max(1, BUDGET_BYTES // (4 * widest(model) * model.space.d_model))
    count = len(batch.clean)
    if count > most:
        parts = [batch.part(start, start + most) for start in range(0, count, most)]
        return torch.cat([edge_scores(model, part, metric, steps) for part in parts])
    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    if not steps:
        return scores_at(model, batch, metric, [None], None, corrupt)
    _, clean = interventions.run(model, batch.clean, batch.prefix)
    points = [torch.lerp(clean.embedding, corrupt.embedding, way) for way in midpoints(steps)]
    if has_post_norm(model):
        # What a head writes depends on the run, so the steps cannot be summed before they are wide.
        return sum(scores_at(model, batch, metric, [point], clean, corrupt) for point in points) / steps
    return scores_at(model, batch, metric, points, clean, corrupt)


def scores_at(model, batch, metric, points, clean, corrupt):
    """Scores with the mean of the gradients at some points, see `edge_scores`.

    points: embeddings put in, None for the clean one
    clean:  Activations of the clean run, or None for those of the first point
    """
    places = places_of(model)
    scores, written, final, totals = None, None, 0, {}
    for point in points:
        acts, seen = run_with_reader_gradients(model, batch, metric, places, point)
        if written is None:
            change = interventions.difference(corrupt, clean or acts)
            written = Written(model, change, through_norms(model, seen))
            shape = len(batch.clean), len(model.space.names), len(reader_names(model.space))
            scores = torch.zeros(shape, device=model.device)
        final = final + seen[FINAL].float() / len(points)
        streams, along = [], []
        for place in places:
            normed, inverse = place.norm.read(seen[place.stream])
            share = inverse[:, :, None, None] / len(points)
            found = []
            for reader in place.readers:
                matrix = place.matrix(reader)
                gradient = place.gradient(seen[reader.hook], reader) * share
                totals[reader.hook] = totals.get(reader.hook, 0) + gradient
                read = normed[:, :, None] if matrix is None else einsum("epd,rkd->eprk", normed, matrix)
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
            after = [widened(totals[reader.hook][:, part], place.matrix(reader)) for reader in place.readers]
            found = piece[:, : place.writers].flatten(2) @ torch.cat(after, dim=1).flatten(2).mT
            scores[:, : place.writers, place.columns] += found
        scores[:, :, -1] += einsum("ewpd,epd->ew", piece, final[:, part])
    return scores


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


def run_with_reader_gradients(model, batch, metric, places, embedding):
    """One run with gradients at the inputs of all readers.

    embedding: put in instead of the clean one, or None
    returns:   activations, and by hook the gradient at each reader and the inputs of the norms
    """
    wanted = [*(reader.hook for place in places for reader in place.readers), FINAL]
    streams = [place.stream for place in places]
    if has_post_norm(model):
        streams += map(post_hook, range(model.space.layers))
    kept = {}
    hooks = [interventions.start_from(model, embedding)]
    hooks += interventions.keepers(kept, *dict.fromkeys(streams))
    hooks += interventions.keepers(kept, *wanted, branch=True)
    with torch.enable_grad(), model.bridge.hooks(fwd_hooks=hooks), interventions.capturing(model) as outputs:
        last = models.logits(model, batch.clean, batch.prefix)
        total = models.metric_values(last, *batch.targets(), metric).sum()
        gradients = torch.autograd.grad(total, [kept[name] for name in wanted])
    seen = {name: kept[name].detach() for name in streams}
    # An MLP without a norm before it reads the stream at the place of its gradient; only its shape matters.
    seen |= dict(zip(wanted, gradients, strict=True))
    return interventions.activations(model, outputs).like(torch.Tensor.detach), seen
