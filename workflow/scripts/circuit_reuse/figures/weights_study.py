"""Which tables each figure of the weight study is drawn from."""

from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse.figures import drawing, weights
from circuit_reuse.weights import measures


def draw(input, output, cfg, threads, log):
    """Draw every figure whose files are among the outputs.

    cfg: models, tasks, titles, matched, figures
    """
    drawing.draw(figures(input.tables, cfg), output.figures, cfg["figures"], threads, log)


def figures(paths, cfg):
    """{file name without ending: function that returns a figure}; paths: the study's CSV tables."""
    found = {Path(path).stem: pd.read_csv(path) for path in paths}
    look = weights.Look(cfg["models"], cfg["tasks"], cfg["titles"], cfg["matched"])
    random = found["random_circuits"]
    return {
        "weight_ablation_sweep": lambda: weights.weight_ablation_sweep(found["sweep"], random, look),
        "tests": lambda: weights.tests(found["tests"], random, differences(random), look),
        "sizes": lambda: weights.sizes(found["sizes"], look),
        "frontier": lambda: weights.frontier(found["frontier"], found["circuits"], look),
        "composition": lambda: weights.composition(found["composition"], look),
        "interchange": lambda: weights.interchange(found["nodes"], look),
        "node_sweep": lambda: weights.node_sweep(found["nodes"], look),
        "unexplained": lambda: weights.unexplained(found["unexplained"], look),
        "importance": lambda: weights.importance(found["importance"], look),
        "training": lambda: weights.training(found["training"], look),
    }


def differences(random):
    """Differences of random circuits from their controls: {(model, task, control): array}."""
    found = {}
    for (model, task), mine in random.groupby(["model", "task"]):
        shares = np.sort(mine["share"].unique())
        for control in set(mine["condition"]) - {"circuit"}:
            found[model, task, control] = measures.random_differences(mine, control, shares)
    return found
