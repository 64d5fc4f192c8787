"""Activation patching: the exact change of the metric when a component takes its corrupt output."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]."""
    from circuit_reuse.engine import attribution

    return attribution.patching(model, batch, metric, tokens)


METHOD = Method("patching", scores, "Vig et al. 2020; Zhang & Nanda 2024")
