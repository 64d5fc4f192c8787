"""Which tables each figure of the reuse study is drawn from."""

from pathlib import Path

import pandas as pd

from circuit_reuse import sharing, summary, tables
from circuit_reuse.figures import drawing, reuse

UNITS = {"logit_difference": "logits", "log_probability": "nats"}


def draw(input, output, cfg, threads, log):
    """Draw every figure whose files are among the outputs.

    cfg: models, tasks, titles, method, figures, metric, alpha, kinds, chosen (top_k, threshold)
    """
    chosen, unit = cfg["chosen"], UNITS[cfg["metric"]]
    tests = summary.gather(input.tests, tables.TESTS)
    models, tasks = (
        [name for name in cfg[key] if name in set(tests[column])]
        for key, column in (("models", "model"), ("tasks", "task"))
    )
    grid = (models, tasks, cfg["titles"])
    at = tests[(tests["top_k"] == chosen["top_k"]) & (tests["threshold"] == chosen["threshold"])]
    shared = summary.gather(input.reuse, tables.REUSE)
    inclusion = summary.gather(input.inclusion, tables.INCLUSION)
    figures = {
        "multiplot_reuse_vs_threshold": lambda: reuse.reuse_vs_threshold(shared, *grid),
        "multiplot_lift_vs_threshold": lambda: reuse.lift_vs_threshold(tests, *grid),
        "multiplot_perm_neglog10p_vs_threshold": lambda: reuse.p_vs_threshold(tests, *grid, cfg["alpha"]),
        "accuracy_bars": lambda: reuse.accuracy_bars(at, *grid),
        "effect_against_controls": lambda: reuse.effect_against_controls(
            at, control_effects(input.effects, at), *grid, unit
        ),
        "faithfulness_bars": lambda: reuse.faithfulness_bars(at, *grid),
        "score_histograms": lambda: reuse.score_histograms(all_scores(input.scores, cfg["kinds"]), *grid, unit),
        "component_map": lambda: reuse.component_map(inclusion, *grid, chosen["top_k"]),
        "example_similarity": lambda: reuse.similarity(
            summary.gather(input.similarity, tables.SIMILARITY),
            summary.gather(input.families, tables.FAMILIES),
            *grid,
            chosen["top_k"],
        ),
        "cross_task": lambda: reuse.cross_task(summary.gather(input.cross, tables.CROSS), *grid),
        "method_agreement": lambda: reuse.agreement(summary.gather(input.agreement, tables.AGREEMENT), *grid),
    }
    drawing.draw(figures, output.figures, cfg["figures"], threads, log)


def control_effects(paths, tests):
    """{(model, task): change in the mean metric of each control of the tested circuit}."""
    found = {}
    for path in map(Path, paths):
        model, task = path.parts[-4], path.parts[-3]
        row = tests[(tests["model"] == model) & (tests["task"] == task)]
        effects = tables.read(path, tables.EFFECTS)
        base = effects[effects["direction"] == "none"]["metric"].mean()
        mine = effects[
            (effects["circuit"] == row["circuit"].iloc[0])
            & (effects["direction"] == "remove")
            & effects["control"].notna()
        ]
        if len(mine):
            found[model, task] = (mine.groupby("control")["metric"].mean() - base).to_numpy()
    return found


def all_scores(paths, kinds):
    """{(model, task): [example, component]} of the components that circuits may hold."""
    parts = {}
    for path in map(Path, paths):
        parts.setdefault((path.parts[-5], path.parts[-4]), []).append(tables.read(path))
    result = {}
    for key, frames in parts.items():
        values, _, names = sharing.matrix(pd.concat(frames, ignore_index=True))
        result[key] = sharing.select(values, names, kinds)[0]
    return result
