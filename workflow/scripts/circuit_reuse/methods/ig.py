"""Integrated gradients between the embeddings of the two prompts."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]."""
    from circuit_reuse.engine import attribution

    return attribution.integrated(model, batch, metric, steps)


METHOD = Method("ig", scores, "Sundararajan et al. 2017", steps=True)
