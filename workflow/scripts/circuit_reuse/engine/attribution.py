"""What methods of attribution are made of: gradients at every component, and activation patching.

Scores are [example, component] in the order of `Space.names`.  A batch gives the
scores of all its examples at once: the gradient of the summed metric with respect to an
activation of example i is that of example i's own metric.  Sums are taken in float32.
"""

import torch
from torch import einsum

from circuit_reuse.engine import interventions, models


def gradient_at(model, batch, metric, embedding=None):
    """Activations of the clean run, and the gradient of the metric with respect to each.

    embedding: [example, position, d_model] put in instead of the clean token embedding
    """
    with (
        torch.enable_grad(),
        model.bridge.hooks(fwd_hooks=[interventions.start_from(model, embedding)]),
        interventions.capturing(model) as kept,
    ):
        last = models.logits(model, batch.clean, batch.prefix)
        total = models.metric_values(last, *batch.targets(), metric).sum()
        acts = interventions.activations(model, kept)
        gradients = torch.autograd.grad(total, acts.tensors())
    return acts.like(torch.Tensor.detach), interventions.Activations.of(gradients, model.space.layers)


def integrated_gradient(model, batch, corrupt, metric, steps):
    """Clean activations, and the mean gradient on the way from clean to corrupt embedding.

    The way is cut into `steps` equal parts and the gradient taken in the middle of each.
    source: Sundararajan et al. 2017; Hanna et al. 2024 (EAP-IG, inputs)
    """
    _, clean = interventions.run(model, batch.clean, batch.prefix)
    total = None
    for alpha in midpoints(steps):
        between = torch.lerp(clean.embedding.float(), corrupt.embedding.float(), alpha)
        _, gradient = gradient_at(model, batch, metric, between)
        share = gradient.like(lambda tensor: tensor.float() / steps)
        total = share if total is None else interventions.add(total, share)
    return clean, total


def integrated(model, batch, metric, steps, positions=False):
    """Integrated gradients times the change of each component, as `contract` has them."""
    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    clean, gradient = integrated_gradient(model, batch, corrupt, metric, steps)
    return contract(interventions.difference(corrupt, clean), gradient, positions)


def midpoints(steps):
    """Middles of `steps` equal parts of [0, 1]."""
    return [(step + 0.5) / steps for step in range(steps)]


def contract(change, gradient, positions=False):
    """First-order change of the metric for each component.

    change, gradient: Activations;  positions: whether each position has a score of its own
    returns: [example, component], or [example, position, component]
    source:  Nanda 2023, "Attribution patching"; Syed et al. 2023, eq. 2
    """
    kept = "ep" if positions else "e"
    columns = [dot(f"epd,epd->{kept}", change.embedding, gradient.embedding)[..., None]]
    for z, z_gradient, mlp, mlp_gradient in zip(change.z, gradient.z, change.mlp, gradient.mlp, strict=True):
        columns.append(dot(f"ephd,ephd->{kept}h", z, z_gradient))
        columns.append(dot(f"epd,epd->{kept}", mlp, mlp_gradient)[..., None])
    # Layers may lie on different devices.
    return torch.cat([column.to(columns[0].device) for column in columns], dim=-1)


def dot(pattern, first, second):
    """An einsum in float32."""
    return einsum(pattern, first.float(), second.float())


@torch.no_grad()
def patching(model, batch, metric, tokens=1024):
    """Exact change of the metric when one component takes its corrupt output.

    tokens:  tokens of one run, at most
    returns: [example, component]
    source:  Vig et al. 2020 (causal mediation); Zhang & Nanda 2024
    """
    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    base, _ = interventions.base(model, batch.clean, batch.prefix)
    before = models.metric_values(base.last, *batch.targets(), metric)
    names = model.space.names
    result = before.new_empty(len(before), len(names))
    sets = [[name] for name in names]
    for places, last in interventions.scan(model, base, sets, corrupt, tokens):
        values = models.metric_values(last, *batch.targets(len(places)), metric)
        result[:, places] = values.view(len(places), -1).T - before[:, None]
    return result
