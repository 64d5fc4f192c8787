"""Which tables each figure of the reuse study is drawn from."""

import pandas as pd

from circuit_reuse.data import gather, metrics, tables
from circuit_reuse.report import drawing
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import families, layers, plots, plots_curves, plots_specificity, schemas


def draw(job):
    """Draw every figure whose files are among the outputs.

    cfg: models, tasks, titles, method, figures, metric, alpha, kinds, series, chosen (top_k, threshold)
    """
    chosen, unit = job.cfg["chosen"], metrics.UNITS[job.cfg["metric"]]
    tests = families.tests(gather.rows(job.input.tests, schemas.TESTS))
    models, tasks = (
        [name for name in job.cfg[key] if name in set(tests[column])]
        for key, column in (("models", "model"), ("tasks", "task"))
    )
    grid = (models, tasks, job.cfg["titles"])
    at = gather.pick(tests, top_k=chosen["top_k"], threshold=chosen["threshold"])
    shared = gather.rows(job.input.reuse, schemas.REUSE)
    inclusion = gather.rows(job.input.inclusion, schemas.INCLUSION)
    specificity = families.specificity(job.input.specificity)
    figures = {
        "multiplot_reuse_vs_threshold": lambda: plots.reuse_vs_threshold(shared, *grid),
        "multiplot_lift_vs_threshold": lambda: plots.lift_vs_threshold(tests, *grid),
        "multiplot_perm_neglog10p_vs_threshold": lambda: plots.p_vs_threshold(tests, *grid, job.cfg["alpha"]),
        "accuracy_bars": lambda: plots.accuracy_bars(at, *grid),
        "effect_against_controls": lambda: plots.effect_against_controls(
            at, control_effects(job.input.effects, at), *grid, unit
        ),
        "faithfulness_bars": lambda: plots.faithfulness_bars(at, *grid),
        "score_histograms": lambda: plots.score_histograms(all_scores(job.input.scores, job.cfg["kinds"]), *grid, unit),
        "component_map": lambda: plots.component_map(inclusion, *grid, chosen["top_k"]),
        "example_similarity": lambda: plots.similarity(
            gather.rows(job.input.similarity, schemas.SIMILARITY),
            gather.rows(job.input.clusters, schemas.CLUSTERS),
            *grid,
            chosen["top_k"],
        ),
        "cross_task": lambda: plots_specificity.cross_task(gather.rows(job.input.cross, schemas.CROSS), *grid),
        "specificity": lambda: plots_specificity.circuits(specificity, *grid, unit, job.cfg["alpha"]),
        "selective_ablation": lambda: plots_specificity.parts(specificity, *grid, unit, job.cfg["alpha"]),
        "generic": lambda: plots_specificity.generic(gather.rows(job.input.generic, schemas.GENERIC_SETS), *grid, unit),
        "fine_grained": lambda: plots_curves.fine_grained(
            gather.rows(job.input.fine, schemas.FINE_GRAINED), shared, *grid, chosen["top_k"]
        ),
        "granularity": lambda: plots_curves.granularity(
            gather.rows(job.input.fine, schemas.FINE_GRAINED), at, *grid, unit, chosen
        ),
        "layers": lambda: plots_curves.layers(pd.DataFrame(layers.rows(inclusion)), *grid, chosen["top_k"]),
        "checkpoints": lambda: plots_curves.checkpoints(
            at, shared, job.cfg["series"], tasks, job.cfg["titles"], unit, chosen
        ),
        "method_agreement": lambda: plots_curves.agreement(gather.rows(job.input.agreement, schemas.AGREEMENT), *grid),
    }
    # Of what was left out altogether there is nothing to draw: the figure says so.
    given = {"generic": "generic", "method_agreement": "agreement"}
    figures = {name: made for name, made in figures.items() if name not in given or getattr(job.input, given[name])}
    drawing.draw(figures, job.output.figures, job.cfg["figures"], job.threads, job.log)


def control_effects(paths, tests):
    """{(model, task): changes in the mean metric by the controls of the tested circuit, and by the random sets of its layers}."""
    found = {}
    for (model, task), path in gather.one_by(paths, "model", "task").items():
        row = gather.pick(tests, model=model, task=task)
        effects = tables.read(path, tables.EFFECTS)
        base = effects[effects["direction"] == "none"]["metric"].mean()
        removed = effects[(effects["direction"] == "remove") & effects["control"].notna()]
        key = row["circuit"].iloc[0]
        drawn = [removed[removed["circuit"] == name] for name in (key, sharing.matched(key))]
        if any(map(len, drawn)):
            found[model, task] = [(rows.groupby("control")["metric"].mean() - base).to_numpy() for rows in drawn]
    return found


def all_scores(paths, kinds):
    """{(model, task): [example, component]} of the components that circuits may hold."""
    found = {}
    for key, mine in gather.by(paths, "model", "task").items():
        values, _, names = sharing.matrix(tables.read_all(mine, tables.SCORES))
        found[key] = sharing.select(values, names, kinds)[0]
    return found
