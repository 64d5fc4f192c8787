"""Which tables each figure of the scaling study is drawn from."""

from circuit_reuse.data import csv_tables, metrics
from circuit_reuse.report import drawing
from circuit_reuse.stats import statistics
from circuit_reuse.studies.scaling import plots, plots_backups, plots_runs, plots_sizes, schemas, summary

UNITS = metrics.UNITS | {"base": "% of metric", "standard_errors": "standard errors"}


def draw(job):
    """Draw every figure whose files are among the outputs.

    cfg: tasks, titles, replacement, classes, families, metric, figures
    """
    found = summary.all_tables(job.input, job.cfg)
    chosen, tasks = job.cfg["replacement"], job.cfg["tasks"]
    rows = {name: found[name][found[name]["replacement"] == chosen] for name in ("heads", "trends", "depths", "sweep")}
    heads = rows["heads"][rows["heads"]["split"] == "held_out"]
    train = rows["heads"][rows["heads"]["split"] == "train"]
    order = list(dict.fromkeys(heads["family"]))
    models = heads[["model", "family", "parameters"]].drop_duplicates()
    models = models.sort_values(["family", "parameters"], key=lambda c: c.map(order.index) if c.name == "family" else c)
    unit, alpha = job.cfg["classes"]["unit"], job.cfg["classes"]["alpha"]
    factor = 100.0 if unit == "base" else 1.0
    context = plots.ScalingContext(
        tuple(job.cfg["titles"][task] for task in tasks),
        UNITS[job.cfg["metric"] if unit == "logits" else unit],
        factor,
        models,
        factor * job.cfg["classes"]["tau"],
    )
    depths = statistics.with_q(rows["depths"], "p_value")
    shapes = {name: (found["about"][name]["layers"], found["about"][name]["heads"]) for name in models["model"]}
    tracing = summary.tracing_csv(found["trace"])
    tests, influence, transfer = (
        csv_tables.read(getattr(job.input, name), schemas.CSVS[name])
        for name in ("hero_vs_random", "influence", "transfer")
    )
    figures = {
        "layer_histogram": lambda: plots.layer_histogram(heads, context),
        "delta_scatter": lambda: plots.delta_scatter(heads, context),
        "phase_space": lambda: plots.phase_space(heads, context),
        "family_grid": lambda: plots.family_grid(heads, context),
        "correlation_vs_scale": lambda: plots_sizes.correlation_vs_scale(rows["trends"], context),
        "strong_head_scaling": lambda: plots_sizes.strong_head_scaling(rows["trends"], context),
        "strength_distribution": lambda: plots_sizes.strength_distribution(heads, context),
        "class_depth": lambda: plots_sizes.class_depth(depths, heads, context, alpha),
        "tau_sweep": lambda: plots_sizes.tau_sweep(rows["sweep"], context),
        "tracing_layers": lambda: plots_runs.tracing_layers(tracing, context, tasks),
        "tracing_heads": lambda: plots_runs.tracing_heads(tracing, context, tasks, shapes),
        "influence_vs_strength": lambda: plots_runs.influence_vs_strength(tracing, train, influence, context, tasks),
        "hero_vs_random": lambda: plots_runs.hero_vs_random(tests, context, tasks),
        "backups": lambda: plots_backups.backups(
            csv_tables.read(job.input.backups, schemas.CSVS["backups"]), context, tasks, job.cfg["metric"]
        ),
        "transfer": lambda: plots_runs.transfer(transfer, context, tasks, alpha),
    }
    drawing.draw(figures, job.output.figures, job.cfg["figures"], job.threads, job.log)
