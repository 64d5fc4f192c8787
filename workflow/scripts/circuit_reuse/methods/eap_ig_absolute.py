"""The sum of absolute edges that leave a component, by EAP-IG: no source's own score; see `eap_absolute`."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]: the sum of |edge|, which has no sign."""
    from circuit_reuse.engine import edges

    return edges.edge_scores(model, batch, metric, steps).abs().sum(-1)


METHOD = Method("eap-ig-absolute", scores, "edges: Hanna et al. 2024", signed=False, steps=True, edges=True)
