"""Which tables each figure of the contrast study is drawn from."""

from pathlib import Path

import pandas as pd

from circuit_reuse.figures import contrast, drawing


def draw(input, output, cfg, threads, log):
    """Draw every figure whose files are among the outputs.

    cfg: figures; for those of the study models, sets, titles, recipes, recipe_names, attribution, budget,
         alpha, margin, too
    """
    found = {Path(path).stem: pd.read_csv(path) for path in input.tables}
    made = comparisons(found) if "replicate" in found else study(found, cfg)
    drawing.draw(made, output.figures, cfg["figures"], threads, log)


def study(found, cfg):
    """{file name without ending: function that returns a figure}; found: the study's tables by name."""
    look = contrast.Look(
        cfg["models"],
        cfg["sets"],
        cfg["titles"],
        {name: cfg["recipes"][name] for name in cfg["recipe_names"]},
        *(cfg[key] for key in ("attribution", "budget", "alpha", "margin")),
    )
    return {
        "component_bars": lambda: contrast.component_bars(found["differences"], look),
        "layer_map": lambda: contrast.layer_map(found["differences"], found["circuits"], look),
        "lengths": lambda: contrast.lengths(found["differences"], look),
        "difference_and_effect": lambda: contrast.difference_and_effect(found["components"], look),
        "behaviour": lambda: contrast.behaviour(found["tests"], look),
        "budget_frontier": lambda: contrast.budget_frontier(found["frontier"], totals(found["differences"]), look),
        "inclusion": lambda: contrast.inclusion(found["inclusion"], look),
    }


def comparisons(found):
    """The same for the comparisons of circuits."""
    return {
        "replicate": lambda: contrast.replicate(found["replicate"]),
        "ranked_lists": lambda: contrast.ranked_lists(found["replicate_components"]),
    }


def totals(differences):
    """Write cost of all components of each model."""
    each = differences.drop_duplicates(["model", "component"])
    return each.groupby("model")["cost"].sum().to_dict()
