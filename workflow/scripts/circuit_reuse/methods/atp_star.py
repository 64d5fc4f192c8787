"""AtP*: attribution patching with gradients that leave out one layer at a time, against effects that cancel."""

from circuit_reuse.methods.method import Method


def scores(model, batch, metric, steps, tokens):
    """[example, component]: mean |score| over the layers left out, which has no sign.

    Of AtP*'s two parts this is the gradient dropping; the other one concerns queries and keys, which are no components here.
    """
    from circuit_reuse.engine import attribution, interventions, modified_gradients

    _, corrupt = interventions.run(model, batch.corrupt, batch.prefix)
    clean, gradients = modified_gradients.without_each_layer(model, batch, metric)
    change = interventions.difference(corrupt, clean)
    found = sum(attribution.contract(change, gradient).abs() for gradient in gradients)
    # A layer's own components have no gradient when it is left out.
    return found / max(1, model.space.layers - 1)


METHOD = Method("atp-star", scores, "Kramár et al. 2024", signed=False)
