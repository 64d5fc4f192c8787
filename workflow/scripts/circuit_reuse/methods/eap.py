"""Edge attribution patching, summed over the edges that leave a component."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]: the sum of |edge|, which has no sign."""
    from circuit_reuse.engine import edges

    return edges.edge_scores(model, batch, metric, 0).abs().sum(-1)


METHOD = Method("eap", scores, "Syed et al. 2023", signed=False, edges=True)
