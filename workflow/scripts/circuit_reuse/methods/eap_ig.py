"""Edge attribution patching with integrated gradients, summed over the edges that leave a component."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]: the sum of |edge|, which has no sign."""
    from circuit_reuse.engine import edges

    return edges.edge_scores(model, batch, metric, steps).abs().sum(-1)


METHOD = Method("eap-ig", scores, "Hanna et al. 2024", signed=False, steps=True, edges=True)
