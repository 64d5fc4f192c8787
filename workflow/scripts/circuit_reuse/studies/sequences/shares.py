"""What the jobs of the sequence study have in common; no torch."""

import numpy as np

from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.stats import circuits, statistics

KINDS = ("head", "mlp")


def share(values, full):
    """Score of a circuit: mean metric as a share of the full model's; nan where that is not positive.  values, full: [example]."""
    return float(np.mean(values) / np.mean(full)) if np.mean(full) > 0 else float("nan")


def share_interval(values, full, resamples, stream, clusters):
    """Bootstrap interval of the score over clusters of examples, circuit and full model drawn together."""
    if not np.mean(full) > 0:
        return float("nan"), float("nan")
    seed = circuits.seed(*stream)
    return statistics.bootstrap(
        (values, full), lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis), resamples, seed, clusters=clusters
    )


def score_interval(values, full, resamples, names, stream, clusters):
    """The interval of the score of a circuit alone on held-out examples, the same wherever it is given.

    names: components of the circuit;  stream: seed, model and the task whose examples these are
    """
    return share_interval(values, full, resamples, (*stream, "score", circuits.circuit_id(list(names))), clusters)


def check_task(full, task, model):
    """A score as a share needs a full model that does the task.

    raises: LeftOut if the mean metric is not positive
    """
    if np.mean(full) <= 0:
        raise LeftOut(
            f"{model} does not do {task}: its mean metric is {np.mean(full):.2f}, so a share of it "
            "means nothing; leave the task out of sequences for this model, or see what it answers "
            "with examples.correct_only: true"
        )


def composition(names):
    """The composition of a circuit in words: 3 heads, 1 MLP."""
    found = circuits.composition_of(names)
    words = {"head": ("head", "heads"), "mlp": ("MLP", "MLPs")}
    parts = [f"{found[k]} {words[k][found[k] != 1]}" for k in KINDS if found.get(k)]
    return ", ".join(parts) or "nothing"
