"""Which tables each figure of the contrast study is drawn from."""

from pathlib import Path

from circuit_reuse.data import csv_tables
from circuit_reuse.report import drawing
from circuit_reuse.studies.contrast import plots, plots_circuits


def draw(job):
    """Draw every figure whose files are among the outputs.

    cfg: figures; for those of the study models, sets, titles, scorings, scoring_names, attribution, budget,
         alpha, margin, too
    """
    found = {Path(path).stem: csv_tables.read(path) for path in job.input.tables}
    made = comparisons(found) if "replicate" in found else study(found, job.cfg)
    drawing.draw(made, job.output.figures, job.cfg["figures"], job.threads, job.log)


def study(found, cfg):
    """{file name without ending: function that returns a figure}; found: the study's tables by name."""
    context = plots.ContrastContext(
        cfg["models"],
        cfg["sets"],
        cfg["titles"],
        {name: cfg["scorings"][name] for name in cfg["scoring_names"]},
        *(cfg[key] for key in ("attribution", "budget", "alpha", "margin")),
    )
    return {
        "component_bars": lambda: plots.component_bars(found["differences"], context),
        "layer_map": lambda: plots.layer_map(found["differences"], found["circuits"], context),
        "lengths": lambda: plots.lengths(found["differences"], context),
        "difference_and_effect": lambda: plots.difference_and_effect(found["components"], context),
        "behaviour": lambda: plots_circuits.behaviour(found["tests"], context),
        "budget_sweep": lambda: plots_circuits.budget_sweep(
            found["budget_sweep"], totals(found["differences"]), context
        ),
        "inclusion": lambda: plots_circuits.inclusion(found["inclusion"], context),
    }


def comparisons(found):
    """The same for the comparisons of circuits."""
    return {
        "replicate": lambda: plots_circuits.replicate(found["replicate"]),
        "ranked_lists": lambda: plots_circuits.ranked_lists(found["replicate_components"]),
    }


def totals(differences):
    """Write cost of all components of each model."""
    each = differences.drop_duplicates(["model", "component"])
    return each.groupby("model")["cost"].sum().to_dict()
