"""Gradient interaction modifications: attribution patching with a gradient in which effects that hide each other do not."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]."""
    from circuit_reuse.engine import attribution, interventions, modified_gradients

    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    with modified_gradients.gim(model):
        clean, gradient = attribution.gradient_at(model, batch, metric)
    return attribution.contract(interventions.difference(corrupt, clean), gradient)


METHOD = Method("gim", scores, "arXiv 2505.17630; checked against gim-explain 0.1.4")
