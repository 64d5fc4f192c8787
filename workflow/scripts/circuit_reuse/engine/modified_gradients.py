"""Gradients of another function than the model's, whose values stay the model's own."""

from contextlib import contextmanager
from functools import partial

import torch
from transformer_lens.model_bridge.generalized_components import NormalizationBridge

from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import interventions, models, norms, shortcuts

# Softmax is differentiated at this temperature; a product's factors share its gradient, queries and keys twice over.
TEMPERATURE, SHARES = 2.0, {"q": 0.25, "k": 0.25, "v": 0.5}


@contextmanager
def gim(model):
    """Runs inside have the gradient of GIM: norms keep their scale, softmax is flatter, factors of products share.

    raises: LeftOut for a model whose attention pattern is not read back from its hook, or holds only a part of the softmax
    source: arXiv 2505.17630 (gradient interaction modifications)
    """
    if not shortcuts.able(model, "pattern"):
        raise LeftOut("gim needs the attention pattern, which this model's attention does not give; use atp or ig")
    if any(name.rpartition(".")[2] == "sinks" for name, _ in model.bridge.original_model.named_parameters()):
        raise LeftOut(
            "gim takes the whole softmax from the pattern, and this model's attention has sinks beside it; use atp or ig"
        )
    frozen = [module for module in model.bridge.modules() if isinstance(module, NormalizationBridge)]
    kept = [module.__dict__.get("forward") for module in frozen]
    hooks = []
    for layer in range(model.space.layers):
        hooks.append((f"blocks.{layer}.attn.hook_pattern", flatter))
        hooks += [(f"blocks.{layer}.attn.hook_{part}", partial(shared, share)) for part, share in SHARES.items()]
    try:
        for module in frozen:
            module.__dict__["forward"] = partial(
                frozen_norm, module, norms.norm_of(module.original_component, model.device)
            )
        with model.bridge.hooks(fwd_hooks=hooks):
            yield
    finally:
        for module, forward in zip(frozen, kept, strict=True):
            if forward is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = forward


def frozen_norm(module, norm, stream, **more):
    """What the norm gives, with the gradient of a norm whose scale is a constant."""
    stream = module.hook_in(stream)
    exact = module.original_component(stream)
    held = norm.held(stream.detach(), stream).to(exact.dtype)
    return module.hook_out(held + (exact - held).detach())


def shared(share, tensor, hook):
    """A hook that lets a share of the gradient through."""
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: share * gradient)
    return tensor


def flatter(pattern, hook):
    """A hook after which the softmax is differentiated at TEMPERATURE.

    With p the pattern and s = softmax(scores / T), which is p ** (1 / T) made to sum to 1, the gradient at the scores is to
    be h = s (g - sum(g s)) for g at the pattern. The softmax itself makes p (x - sum(x p)) of what it gets, which is h for
    x = h / p, since h sums to 0.
    """

    def change(gradient):
        p = pattern.detach().float()
        flat = p ** (1 / TEMPERATURE)
        flat = flat / flat.sum(-1, keepdim=True)
        wanted = flat * (gradient - (gradient * flat).sum(-1, keepdim=True))
        return torch.where(p > 0, wanted / p.clamp_min(torch.finfo(p.dtype).tiny), 0).to(gradient.dtype)

    if pattern.requires_grad:
        pattern.register_hook(change)
    return pattern


def without_each_layer(model, batch, metric):
    """Clean activations, and the gradient at every component with each layer in turn left out of it.

    A layer that is left out passes gradients on in the stream only, not through its attention or its MLP.
    returns: Activations, and a generator of a gradient (Activations) for each layer
    source:  Kramár et al. 2024 (AtP*), gradient dropping
    """
    out, dropped, layers = {"layer": None}, [], model.space.layers

    def dropping(layer, tensor, hook):
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: gradient * (out["layer"] != layer))
        return tensor

    for layer in range(layers):
        dropped += [(f"blocks.{layer}.{name}", partial(dropping, layer)) for name in ("hook_attn_out", "hook_mlp_out")]
    with (
        torch.enable_grad(),
        model.bridge.hooks(fwd_hooks=[interventions.start_from(model)]),
        interventions.capturing(model) as kept,
        model.bridge.hooks(fwd_hooks=dropped),
    ):
        last = models.logits(model, batch.clean, batch.prefix)
        total = models.metric_values(last, *batch.targets(), metric).sum()
    acts = interventions.activations(model, kept)
    tensors = acts.tensors()

    def gradients():
        for layer in range(layers):
            out["layer"] = layer
            found = list(torch.autograd.grad(total, tensors, retain_graph=layer + 1 < layers))
            # The MLP's own output stands before the hook that drops it, or behind it.
            found[1 + layers + layer] = torch.zeros_like(found[1 + layers + layer])
            yield interventions.Activations.of(found, layers)

    return acts.like(torch.Tensor.detach), gradients()
