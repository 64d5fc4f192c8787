"""Single neurons of MLPs: their first-order scores, runs that replace some of them, and what writes to one.

A neuron is the input of the output projection: after the activation function, and after the gate where there is one.
"""

import math

import torch
from torch import einsum

from circuit_reuse.engine import batching, interventions, models, norms, places, shortcuts

HOOK = "blocks.{}.mlp.out.hook_in"


def known(model):
    """Whether every layer's MLP has neurons of its own; one made of experts has not."""
    return all(models.reachable(model.bridge, HOOK.format(layer)) for layer in range(model.space.layers))


def hooks_of(model):
    """Where the neurons of each layer pass."""
    return [HOOK.format(layer) for layer in range(model.space.layers)]


@torch.no_grad()
def values(model, tokens, prefix=None):
    """Values of all neurons, a list by layer of [example, position, neuron]; after the prefix (shortcuts.Prefix) if there is one."""
    kept = {}
    with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *hooks_of(model))):
        models.logits(model, tokens, prefix)
    return [kept[name] for name in hooks_of(model)]


def scores(model, batch, metric):
    """First-order change of the metric when each neuron of each MLP is corrupted.

    returns: a list by layer of [example, neuron]
    source:  attribution patching (Nanda 2023) at the neurons; Arora et al. 2025 take circuits of them
    """
    names, kept, corrupt = hooks_of(model), {}, values(model, batch.corrupt)
    hooks = [interventions.start_from(model), *interventions.keepers(kept, *names)]
    with torch.enable_grad(), model.bridge.hooks(fwd_hooks=hooks):
        last = models.logits(model, batch.clean)
        total = models.metric_values(last, *batch.targets(), metric).sum()
        gradients = torch.autograd.grad(total, [kept[name] for name in names])
    return [
        einsum("epn,epn->en", (other - kept[name].detach()).float(), gradient.float())
        for name, other, gradient in zip(names, corrupt, gradients, strict=True)
    ]


@torch.no_grad()
def replaced(model, base, sets, instead, tokens):
    """Logits of runs in which sets of neurons are replaced at every position of the base.

    base:    interventions.Base of the examples;  layers below the first replaced neuron are not run again
    sets:    lists of (layer, neuron)
    instead: what stands for each layer's neurons, a list of tensors that fit [example, position, neuron]
    tokens:  of one run, at most
    yields:  (places of the sets, [set * example, vocabulary])
    """
    each = base.tokens.numel()
    size, firsts = tokens // each, [min((layer for layer, _ in units), default=math.inf) for units in sets]

    def work(chosen):
        mine = [sets[place] for place in chosen]

        def hook(layer):
            def apply(tensor, hook):
                rows = tensor.reshape(len(mine), -1, *tensor.shape[1:]).clone()
                for row, units in zip(rows, mine, strict=True):
                    here = [neuron for where, neuron in units if where == layer]
                    row[..., here] = instead[layer][..., here].to(row.dtype)
                return rows.reshape(tensor.shape)

            return apply

        there = sorted({layer for units in mine for layer, _ in units})
        if not there and base.last is not None:
            return base.last.repeat(len(mine), 1)
        begin = interventions.beginning(base, there[0], len(mine)) if there else None
        with shortcuts.starting(model, begin, [(HOOK.format(layer), hook(layer)) for layer in there]):
            return models.logits(model, base.tokens.repeat(len(mine), 1), base.prefix, len(mine))

    what = f"neurons on {len(base.tokens)} examples"
    for piece in batching.by_depth(firsts, model.space, each, size, base.tokens.device):
        yield from batching.in_pieces(work, piece, size, base.tokens.device, what)


@torch.no_grad()
def outputs_at_end(model, tokens, *more):
    """What every component writes at the last position, the scale of a norm after the attention held.

    more:    hooks that are kept
    returns: [example, component, d_model] in the order of `Space.names`, what the hooks gave, logits
    """
    kept, layers = {}, range(model.space.layers)
    names = [*more, *map(places.post_hook, layers if places.has_post_norm(model) else ())]
    with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *dict.fromkeys(names))):
        last, acts = interventions.run(model, tokens)
    found = [acts.embedding[:, -1].float()]
    for layer, block in enumerate(model.bridge.blocks):
        heads = einsum("ehd,hdm->ehm", acts.z[layer][:, -1].float(), block.attn.W_O.float())
        if (after := post_norm(block, "ln1_post")) is not None:
            heads = after.held(kept[places.post_hook(layer)][:, -1:], heads)
        found += [*heads.unbind(1), acts.mlp[layer][:, -1].float()]
    return torch.stack(found, dim=1), kept, last


def post_norm(block, which):
    """The closed form of the norm after the attention (ln1_post) or the MLP (ln2_post), or None."""
    module = getattr(block, which, None)
    return None if module is None else norms.norm_of(module.original_component)


@torch.no_grad()
def inputs(model, tokens, chosen):
    """What every component adds to what some neurons read at the last position, the scale of the norm held.

    chosen:  [(layer, neuron)]
    returns: [example, neuron, component], in the order of `Space.names`; 0 for components that are not upstream.  With positions and
             biases they add up to what the neuron has before its activation function (of its gate, where there is one)
    source:  Neo et al. 2024 (heads and next-token neurons)
    """
    known_places = places.places_of(model)
    mine = [known_places[2 * layer + 1] for layer, _ in chosen]
    outputs, kept, _ = outputs_at_end(model, tokens, *(place.stream for place in mine))
    found = outputs.new_zeros(len(tokens), len(chosen), outputs.shape[1])
    for column, ((layer, neuron), place) in enumerate(zip(chosen, mine, strict=True)):
        direction = place.norm.fold(read_by(model, layer, neuron))
        _, inverse = place.norm.read(kept[place.stream][:, -1])
        found[:, column, : place.writers] = outputs[:, : place.writers] @ direction * inverse[:, None]
    return found


def read_by(model, layer, neuron):
    """The direction that a neuron reads, [d_model]: of its gate, where the MLP has one."""
    parts = model.bridge.blocks[layer].mlp._modules
    module = parts["gate" if "gate" in parts else "in"].original_component
    # By the kind of module: where an MLP is as wide as the stream, the shape does not say.
    return module.weight[neuron] if isinstance(module, torch.nn.Linear) else module.weight[:, neuron]


def outputs(model, layer):
    """What each neuron writes, [neuron, d_model], but for the scale of a norm after the MLP."""
    block = model.bridge.blocks[layer]
    module = block.mlp._modules["out"].original_component
    weight = module.weight.float()
    found = weight.T if isinstance(module, torch.nn.Linear) else weight
    norm = post_norm(block, "ln2_post")
    return found if norm is None else found * norm.weight
