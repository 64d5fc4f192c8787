"""The sum of absolute edges that leave a component, by edge attribution patching: no source's own score.

A component with many readers later on has more edges to add up, so that early ones rank higher than by `eap`.
"""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]: the sum of |edge|, which has no sign."""
    from circuit_reuse.engine import edges

    return edges.edge_scores(model, batch, metric, 0).abs().sum(-1)


METHOD = Method("eap-absolute", scores, "edges: Syed et al. 2023", signed=False, edges=True)
