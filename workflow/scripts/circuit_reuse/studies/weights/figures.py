"""Which tables each figure of the weight study is drawn from."""

from pathlib import Path

import numpy as np

from circuit_reuse.data import csv_tables
from circuit_reuse.report import drawing
from circuit_reuse.studies.weights import measures, plots, plots_nodes


def draw(job):
    """Draw every figure whose files are among the outputs.

    cfg: models, tasks, titles, matched, figures
    """
    drawing.draw(figures(job.input.tables, job.cfg), job.output.figures, job.cfg["figures"], job.threads, job.log)


def figures(paths, cfg):
    """{file name without ending: function that returns a figure}; paths: the study's CSV tables."""
    found = {Path(path).stem: csv_tables.read(path) for path in paths}
    context = plots.WeightsContext(cfg["models"], cfg["tasks"], cfg["titles"], cfg["matched"])
    random = found["random_circuits"]
    return {
        "weight_ablation_sweep": lambda: plots.weight_ablation_sweep(found["sweep"], random, context),
        "tests": lambda: plots.tests(found["tests"], random, differences(random), context),
        "sizes": lambda: plots.sizes(found["sizes"], context),
        "pareto_front": lambda: plots.pareto_front(found["pareto_front"], found["circuits"], context),
        "composition": lambda: plots_nodes.composition(found["composition"], context),
        "interchange": lambda: plots_nodes.interchange(found["nodes"], context),
        "node_sweep": lambda: plots_nodes.node_sweep(found["nodes"], context),
        "unexplained": lambda: plots_nodes.unexplained(found["unexplained"], context),
        "importance": lambda: plots_nodes.importance(found["importance"], context),
        "training": lambda: plots_nodes.training(found["training"], context),
    }


def differences(random):
    """Differences of random circuits from their controls: {(model, task, control): array}."""
    found = {}
    for (model, task), mine in random.groupby(["model", "task"]):
        shares = np.sort(mine["share"].unique())
        for control in set(mine["condition"]) - {"circuit"}:
            found[model, task, control] = measures.random_differences(mine, control, shares)
    return found
