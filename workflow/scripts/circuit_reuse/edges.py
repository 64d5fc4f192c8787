"""Edge attribution: from each writer of the residual stream to each reader, per example.

Writers are the components; readers the query, key and value of every head, the MLPs and the
logits.  The gradient at a reader's input is found from the gradient at q, k and v through
the projection and the layer norm, so no per-head copy of the residual stream is ever made.
"""

from dataclasses import dataclass

import torch
from torch import einsum

from circuit_reuse import interventions, models

# Memory that the writers' differences may take at once; longer prompts go in pieces.
BUDGET_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Readers:
    """Gradients at the inputs of the readers of one place in the residual stream.

    names:    a5.h1.q, a5.h1.k, a5.h1.v, m5 or logits
    gradient: [example, position, reader, d_model], before the layer norm
    writers:  number of writers upstream, the first so many of `Space.names`
    """

    names: list
    gradient: torch.Tensor
    writers: int


def edge_scores(model, batch, metric, steps=0):
    """Score of each edge: change of the metric when the reader sees the writer corrupted.

    steps:   0 for EAP (gradient at the clean run), else steps of EAP-IG
    returns: [example, writer, reader], 0 where there is no edge; readers as in `reader_names`
    raises:  ValueError for models that normalise after the attention or MLP (Gemma 2, OLMo 2)
    source:  Syed et al. 2023 (EAP); Hanna et al. 2024 (EAP-IG, inputs)
    """
    if hasattr(model.bridge.blocks[0], "ln1_post") or hasattr(model.bridge.blocks[0], "ln2_post"):
        raise ValueError(
            "eap and eap-ig need a model whose heads and MLPs write straight into the residual "
            "stream; this one normalises their output: use atp, ig or patching"
        )
    _, corrupt = interventions.run(model, batch.corrupt)
    _, clean = interventions.run(model, batch.clean)
    change = interventions.add(corrupt, clean.like(torch.neg))
    if steps == 0:
        return contract(model, change, readers_of(model, batch, metric, None))
    total = 0
    for step in range(steps):
        between = torch.lerp(clean.embedding, corrupt.embedding, (step + 0.5) / steps)
        total = total + contract(model, change, readers_of(model, batch, metric, between)) / steps
    return total


def reader_names(space):
    """Names of all readers, in the order of `edge_scores`."""
    names = []
    for layer in range(space.layers):
        names += [f"a{layer}.h{head}.{part}" for part in "qkv" for head in range(space.heads)]
        names.append(f"m{layer}")
    return [*names, "logits"]


def contract(model, change, readers):
    """[example, writer, reader] from the writers' change and the readers' gradients.

    Positions are summed in pieces, so that the writers' change in the residual stream,
    [example, position, writer, d_model], stays within the budget.
    """
    examples, positions, width = change.embedding.shape
    total = sum(len(reader.names) for reader in readers)
    writers = len(model.space.names)
    scores = torch.zeros(examples, writers, total, device=change.embedding.device)
    piece = max(1, BUDGET_BYTES // (4 * examples * writers * width))
    for start in range(0, positions, piece):
        part = slice(start, start + piece)
        written = write(model, change, part)
        column = 0
        for reader in readers:
            size = len(reader.names)
            scores[:, : reader.writers, column : column + size] += einsum(
                "epwd,eprd->ewr", written[:, :, : reader.writers], reader.gradient[:, part].float()
            )
            column += size
    return scores


def write(model, change, part):
    """What each writer's change adds to the residual stream, [example, position, writer, d_model]."""
    pieces = [change.embedding[:, part, None].float()]
    for layer, block in enumerate(model.bridge.blocks):
        output = block.attn.W_O.float()
        pieces.append(einsum("ephd,hdm->ephm", change.z[layer][:, part].float(), output))
        pieces.append(change.mlp[layer][:, part, None].float())
    return torch.cat(pieces, dim=2)


def readers_of(model, batch, metric, embedding):
    """Gradients at the inputs of all readers, for the clean run or an interpolated one."""
    layers = range(model.space.layers)
    parts = [f"blocks.{layer}.attn.{part}.hook_out" for layer in layers for part in "qkv"]
    norms = [f"blocks.{layer}.{norm}.hook_in" for layer in layers for norm in ("ln1", "ln2")]
    mlps = [f"blocks.{layer}.mlp.hook_in" for layer in layers]
    kept = {}

    def start(tensor, hook):
        put_in = tensor if embedding is None else embedding.to(tensor.dtype)
        return put_in.detach().requires_grad_()

    hooks = [(interventions.hook_names(model)[0], start)]
    hooks += interventions.keepers(kept, *parts, *norms, *mlps, "ln_final.hook_in")
    with torch.enable_grad(), model.bridge.hooks(fwd_hooks=hooks):
        last = models.logits(model, batch.clean)
        total = models.metric_values(last, batch.answer, batch.distractor, metric).sum()
        wanted = [*parts, *mlps, "ln_final.hook_in"]
        found = torch.autograd.grad(total, [kept[name] for name in wanted])
    gradient = dict(zip(wanted, found, strict=True))

    readers, per_layer = [], model.space.heads + 1
    for layer, block in enumerate(model.bridge.blocks):
        names = [f"a{layer}.h{head}.{part}" for part in "qkv" for head in range(model.space.heads)]
        through = [project(model, block, part, gradient, layer) for part in "qkv"]
        stream = through_norm(
            block.ln1, kept[f"blocks.{layer}.ln1.hook_in"], torch.cat(through, dim=2)
        )
        readers.append(Readers(names, stream, 1 + layer * per_layer))
        stream = through_norm(
            block.ln2,
            kept[f"blocks.{layer}.ln2.hook_in"],
            gradient[f"blocks.{layer}.mlp.hook_in"][:, :, None],
        )
        above = 0 if model.parallel else model.space.heads
        readers.append(Readers([f"m{layer}"], stream, 1 + layer * per_layer + above))
    final = gradient["ln_final.hook_in"][:, :, None]
    readers.append(Readers(["logits"], final, len(model.space.names)))
    return readers


def project(model, block, part, gradient, layer):
    """Gradient at the normed input of each head's q, k or v: [example, position, head, d_model].

    With grouped queries a key or value serves several heads; its gradient is shared out
    evenly among them, so that sums over heads stay right.
    """
    weight = block.attn._modules[part].original_component.weight
    heads = gradient[f"blocks.{layer}.attn.{part}.hook_out"]
    if heads.ndim == 3:
        heads = heads.unflatten(2, (-1, model.space.d_head))
    count = heads.shape[2]
    weight = weight.view(count, model.space.d_head, -1)
    result = einsum("ephd,hdm->ephm", heads.float(), weight.float())
    group = model.space.heads // count
    return result if group == 1 else result.repeat_interleave(group, dim=2) / group


def through_norm(norm, stream, gradient):
    """Gradient before a layer norm from the gradient after it, for several readers at once.

    stream:   [example, position, d_model], the input of the norm at this run
    gradient: [example, position, reader, d_model]
    """
    inputs = stream.detach()[:, :, None].expand(*gradient.shape).clone().requires_grad_()
    with torch.enable_grad():
        normed = norm.original_component(inputs)
        return torch.autograd.grad(normed, inputs, gradient.to(normed.dtype))[0].float()
