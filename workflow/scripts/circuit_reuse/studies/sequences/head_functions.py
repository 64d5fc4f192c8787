"""What heads and MLPs do: scores through the OV circuit, attention motifs, lenses, neurons, spectra.

All on the intact model.
"""

import numpy as np
import torch
from torch import einsum

from circuit_reuse.engine import interventions, models, neurons, norms, places
from circuit_reuse.engine.places import FINAL
from circuit_reuse.stats import statistics

# Vectors whose logits are made at once.
ROWS = 256
OFFSETS = {"next": 1, "copy": 0, "previous": -1}


def unembedding(model):
    """The unembedding matrix [vocabulary, d_model], float32, and its bias [vocabulary]."""
    module = model.bridge.unembed.original_component
    weight = module.weight.float()
    bias = getattr(module, "bias", None)
    return weight, torch.zeros(len(weight), device=weight.device) if bias is None else bias.float()


def logit_factor(model):
    """What logits are multiplied by after the unembedding (Cohere, Granite), 1 in most models."""
    config = model.bridge.original_model.config.get_text_config()
    return (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)


def final_logits(model, stream):
    """Logits of a stream through the final norm; stream: [..., d_model]."""
    normed = model.bridge.ln_final.original_component(stream.to(model.dtype))
    weight, bias = unembedding(model)
    found = (normed.float() @ weight.T + bias) * logit_factor(model)
    config = model.bridge.original_model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    return cap * (found / cap).tanh() if cap else found


@torch.no_grad()
def ov_hits(model, tokens, top):
    """The tokens that each head raises most, and lowers most, at each position.

    tokens:  [prompt, position];  model: of at least two layers
    returns: {(stream, sign): found}, found a list by layer of [prompt, position, head, top];
             sign -1 is of the negative
    source:  Lan et al. 2023; McDougall et al. 2023 (copy score).  As published, the stream after
             the first layer, normed as the second layer's heads see it, goes through the values and
             the output of each head (without the output's bias; through the norm after the
             attention, if there is one), the final norm and the unembedding.  Heads of the first layer never see that stream: `own` gives them, alone,
             the embedding that they do.
    """
    kept = {}
    blocks = model.bridge.blocks
    hooks = interventions.keepers(kept, "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post")
    with model.bridge.hooks(fwd_hooks=hooks):
        models.logits(model, tokens)
    after, before = kept["blocks.0.hook_resid_post"], kept["blocks.0.hook_resid_pre"]
    if (first := places.norm_before(blocks[0], "ln1")) is not None:
        after, before = places.norm_before(blocks[1], "ln1")(after), first(before)
    found = {(stream, sign): [] for stream in ("published", "own") for sign in (1, -1)}
    for stream, normed, block in [("own", before, blocks[0]), *(("published", after, b) for b in blocks)]:
        linear = block.attn._modules["v"].original_component
        values = torch.nn.functional.linear(normed, linear.weight, linear.bias)
        values = values.unflatten(-1, (-1, model.space.d_head))
        # Heads that share values have one each here.
        values = values.repeat_interleave(model.space.heads // values.shape[2], dim=2)
        written = einsum("nphd,hdm->nphm", values, block.attn.W_O.to(values.dtype))
        if hasattr(block, "ln1_post"):
            written = block.ln1_post.original_component(written)
        for sign, highest in zip((1, -1), highest_of(model, written, top), strict=True):
            found[stream, sign].append(highest)
    return found


def highest_of(model, written, top):
    """The tokens of the highest logits of a stream, and of its negative: two of [..., top].

    written: [..., d_model].  The norm of a stream without its bias changes sign with it, so the logits of the negative are those of no stream
    at all twice, less the logits: one product with the unembedding serves both.  A cap on logits, or a factor, keeps their order.
    """
    norm, (weight, bias) = model.bridge.ln_final.original_component, unembedding(model)
    # One matrix: of a tensor of more dimensions that is not laid out in order, every row of heads would be a product of its own.
    rows = written.flatten(0, -2).to(model.dtype)
    nothing = torch.nn.functional.linear(norm(torch.zeros_like(rows[:1])).float(), weight, bias)
    high, low = [], []
    for part in rows.split(ROWS):
        logits = torch.nn.functional.linear(norm(part).float(), weight, bias)
        high.append(logits.topk(top).indices)
        low.append((2 * nothing - logits).topk(top).indices)
    return [torch.cat(each).unflatten(0, written.shape[:-1]) for each in (high, low)]


def ov_scores(found, targets, names):
    """Rows of the OV table from what heads raise.

    found:   as from ov_hits;  names: of heads, [layer][head]
    targets: {score: [prompt, element] list of lists of token ids; empty where there is no target},
             of the last so many positions
    """
    rows = []
    for (stream, sign), layers in found.items():
        for layer, tops in enumerate(layers):
            tops = tops.cpu().numpy()
            for score, wanted in targets.items():
                length = len(wanted[0])
                mine = tops[:, -length:]
                there = np.array([[bool(ids) for ids in prompt] for prompt in wanted])
                named = np.array([[" ".join(map(str, ids)) for ids in prompt] for prompt in wanted])
                hit = np.array(
                    [
                        [np.isin(mine[n, p], ids).any(-1) for p, ids in enumerate(prompt)]
                        for n, prompt in enumerate(wanted)
                    ]
                )
                for head, name in enumerate(names[layer]):
                    for position in (None, *range(length)):
                        chosen = there if position is None else there[:, position]
                        hits = hit[..., head] if position is None else hit[:, position, head]
                        targets_of = named if position is None else named[:, position]
                        n, count = int(chosen.sum()), int((hits & chosen).sum())
                        if not n:
                            continue
                        # A head raises the same for the same target, wherever it stands.
                        low, high = statistics.share_interval(hits[chosen], targets_of[chosen])
                        rows.append(
                            {
                                "component": name,
                                "kind": score,
                                "stream": stream,
                                "sign": sign,
                                "position": None if position is None else position + 1,
                                "n_hits": count,
                                "n_tokens": n,
                                "share": count / n,
                                "share_low": low,
                                "share_high": high,
                            }
                        )
    return rows


@torch.no_grad()
def patterns(model, tokens):
    """Attention of every head, a list by layer of [prompt, head, query, key]."""
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.space.layers)]
    kept = {}
    with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *names)):
        models.logits(model, tokens)
    return [kept[name].float() for name in names]


def motif(pattern, masks):
    """Mean attention on the keys that a motif names, and the same if attention were even.

    pattern: [prompt, head, query, key];  masks: [prompt, query, key] bool
    returns: [head], chance, queries that have such a key
    """
    queries = masks.any(-1)
    total = int(queries.sum())
    if not total:
        return torch.full((pattern.shape[1],), float("nan")), float("nan"), 0
    mass = einsum("nhqk,nqk->h", pattern, masks.float()) / total
    length = pattern.shape[-1]
    seen = torch.arange(1, length + 1, device=masks.device).float()
    chance = ((masks.sum(-1) / seen) * queries).sum() / total
    return mass, float(chance), total


def repeated(model, count, length, bos, rng):
    """Prompts of random tokens said twice: tokens [prompt, position], and masks of the motifs.

    source: Olsson et al. 2022 (induction, previous token); Wang et al. 2023 (duplicate token)
    """
    vocabulary = len(unembedding(model)[0])
    first = torch.as_tensor(rng.integers(vocabulary, size=(count, length)))
    start = 0 if bos is None else 1
    parts = [torch.full((count, 1), bos)] if start else []
    tokens = torch.cat([*parts, first, first], dim=1).to(model.device)
    total = tokens.shape[1]
    masks = {
        name: torch.zeros(count, total, total, dtype=torch.bool, device=model.device)
        for name in ("previous_token", "duplicate_token", "induction")
    }
    for query in range(start + 1, total):
        masks["previous_token"][:, query, query - 1] = True
    for query in range(start + length, total):
        masks["duplicate_token"][:, query, query - length] = True
        # The token after the earlier one of the same kind; the very first has none before it.
        masks["induction"][:, query, query - length + 1] = True
    return tokens, masks


def item_masks(items, length, device):
    """Masks of the motifs of a sequence: items are the positions of the elements, in order."""
    masks = {
        name: torch.zeros(1, length, length, dtype=torch.bool, device=device)
        for name in ("same_type", "last_to_items", "last_to_last")
    }
    for place, query in enumerate(items):
        masks["same_type"][0, query, items[:place]] = True
    last = length - 1
    if last not in items:
        masks["last_to_items"][0, last, items] = True
        masks["last_to_last"][0, last, items[-1:]] = True
    else:
        masks["last_to_items"][0, last, items[:-1]] = True
    return masks


@torch.no_grad()
def lens(model, batch):
    """Logits at the last position after each layer, with and without the final norm.

    returns: {(layer, norm): [example, vocabulary]}; layer -1 is the embedding
    source:  nostalgebraist 2020 (logit lens)
    """
    layers, kept = range(model.space.layers), {}
    names = ["blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in layers)]
    with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *names)):
        models.logits(model, batch.clean)
    weight, bias = unembedding(model)
    found = {}
    for layer, name in enumerate(names, start=-1):
        stream = kept[name][:, -1].float()
        found[layer, False] = stream @ weight.T + bias
        found[layer, True] = final_logits(model, stream)
    return found


@torch.no_grad()
def direct(model, batch):
    """Direct contribution of each component to the logit difference of each example.

    returns: [example, component] in the order of `Space.names`, and the rest [example]: what
             positions and biases add; together they are the logit difference
    source:  Elhage et al. 2021 (direct logit attribution); the scale of the final norm is held, and that of
             the norm after the attention, if there is one.  A cap of the logits (Gemma 2) is in the rest
    """
    outputs, kept, last = neurons.outputs_at_end(model, batch.clean, FINAL)
    norm = norms.norm_of(model.bridge.ln_final.original_component)
    weight, _ = unembedding(model)
    there = (batch.distractor >= 0)[..., None]
    others = (weight[batch.distractor.clamp_min(0)] * there).sum(1) / there.sum(1)
    read = norm.fold(weight[batch.answer] - others)
    _, inverse = norm.read(kept[FINAL][:, -1])
    found = einsum("ecm,em->ec", outputs, read)
    found = found * inverse[:, None] * logit_factor(model)
    total = models.metric_values(last, *batch.targets(), "logit_difference")
    return found, total - found.sum(1)


@torch.no_grad()
def spectrum(model, layer, head, count):
    """Singular values and right singular vectors of a head's OV matrix, signs fixed.

    returns: [direction], [direction, d_model]; each vector points to where its largest entry
             against the vocabulary is positive, so that equal weights give equal tables
    """
    block, width = model.bridge.blocks[layer], model.space.d_head
    values = block.attn._modules["v"].original_component.weight.float()
    shared = head * values.shape[0] // (width * model.space.heads)
    read = values[shared * width : (shared + 1) * width]
    # W_V W_O by the small matrices: left vectors of W_V^T first.
    _, triangle = torch.linalg.qr(read.T)
    write, norm = block.attn.W_O[head].float(), neurons.post_norm(block, "ln1_post")
    write = write if norm is None else write * norm.weight
    _, size, right = torch.linalg.svd(triangle @ write, full_matrices=False)
    right = right[:count]
    against = right @ unembedding(model)[0].T
    largest = against.gather(1, against.abs().argmax(1, keepdim=True))
    return size[:count], right * largest.sign()
