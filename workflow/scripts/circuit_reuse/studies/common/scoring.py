"""Scores of a batch by any method."""

from circuit_reuse.engine import models
from circuit_reuse.methods.registry import METHODS


def score(model, batch, method, metric, steps=5, tokens=1024):
    """Scores of one batch.

    method:  a name in registry.METHODS
    metric:  a name in data.metrics.UNITS
    steps:   integration steps of methods that have any
    tokens:  tokens of one run of `patching`, at most
    returns: [example, component], float32, in units of the metric; negative where the component helps.
             Method.signed says which have no sign
    """
    models.check_ready(model)
    chosen = METHODS[method]
    return chosen.scores(model, batch if chosen.whole else batch.shortened(model), metric, steps, tokens)
