"""Integrated gradients between the embeddings of the two prompts."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]."""
    import torch

    from circuit_reuse.engine import attribution, interventions

    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    clean, gradient = attribution.integrated_gradient(model, batch, corrupt, metric, steps)
    return attribution.contract(interventions.add(corrupt, clean.like(torch.neg)), gradient)


METHOD = Method("ig", scores, "Sundararajan et al. 2017", steps=True)
