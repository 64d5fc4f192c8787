"""Attribution patching: the first-order change of the metric when a component takes its corrupt output."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]."""
    from circuit_reuse.engine import attribution, interventions

    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    clean, gradient = attribution.gradient_at(model, batch, metric)
    return attribution.contract(interventions.difference(corrupt, clean), gradient)


METHOD = Method("atp", scores, "Nanda 2023, Attribution patching; Syed et al. 2023")
