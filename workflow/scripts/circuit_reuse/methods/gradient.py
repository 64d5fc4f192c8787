"""Gradient times activation: the first-order change of the metric when a component is set to zero."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]."""
    import torch

    from circuit_reuse.engine import attribution

    clean, gradient = attribution.gradient_at(model, batch, metric)
    return attribution.contract(clean.like(torch.neg), gradient)


METHOD = Method("gradient", scores, "Simonyan et al. 2014", effect=False, whole=True)
