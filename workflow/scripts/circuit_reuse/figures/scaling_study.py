"""Which tables each figure of the scaling study is drawn from."""

import pandas as pd

from circuit_reuse import statistics
from circuit_reuse.figures import drawing, scaling, scaling_runs
from circuit_reuse.scaling import joint

UNITS = {
    "base": "% of metric",
    "logit_difference": "logits",
    "log_probability": "nats",
    "standard_errors": "standard errors",
}


def draw(input, output, cfg, threads, log):
    """Draw every figure whose files are among the outputs.

    cfg: tasks, titles, replacement, classes, families, metric, figures
    """
    found = joint.gather(input, cfg)
    chosen, tasks = cfg["replacement"], cfg["tasks"]
    rows = {name: found[name][found[name]["replacement"] == chosen] for name in ("heads", "trends", "depths", "sweep")}
    heads = rows["heads"][rows["heads"]["split"] == "held_out"]
    train = rows["heads"][rows["heads"]["split"] == "train"]
    order = list(dict.fromkeys(heads["family"]))
    models = heads[["model", "family", "parameters"]].drop_duplicates()
    models = models.sort_values(["family", "parameters"], key=lambda c: c.map(order.index) if c.name == "family" else c)
    unit, alpha = cfg["classes"]["unit"], cfg["classes"]["alpha"]
    factor = 100.0 if unit == "base" else 1.0
    look = scaling.Look(
        tuple(cfg["titles"][task] for task in tasks),
        UNITS[cfg["metric"] if unit == "logits" else unit],
        factor,
        models,
        factor * cfg["classes"]["tau"],
    )
    q_depth = statistics.false_discovery(rows["depths"]["p_depth"].astype(float))
    depths = rows["depths"].assign(q_depth=q_depth)
    shapes = {name: (found["about"][name]["layers"], found["about"][name]["heads"]) for name in models["model"]}
    tracing = joint.tracing_csv(found["trace"])
    tests, influence, transfer = (pd.read_csv(path) for path in (input.hero_vs_random, input.influence, input.transfer))
    figures = {
        "layer_histogram": lambda: scaling.layer_histogram(heads, look),
        "delta_scatter": lambda: scaling.delta_scatter(heads, look),
        "phase_space": lambda: scaling.phase_space(heads, look),
        "family_grid": lambda: scaling.family_grid(heads, look),
        "correlation_vs_scale": lambda: scaling.correlation_vs_scale(rows["trends"], look),
        "strong_head_scaling": lambda: scaling.strong_head_scaling(rows["trends"], look),
        "strength_distribution": lambda: scaling.strength_distribution(heads, look),
        "class_depth": lambda: scaling.class_depth(depths, heads, look, alpha),
        "tau_sweep": lambda: scaling.tau_sweep(rows["sweep"], look),
        "tracing_layers": lambda: scaling_runs.tracing_layers(tracing, look, tasks),
        "tracing_heads": lambda: scaling_runs.tracing_heads(tracing, look, tasks, shapes),
        "influence_vs_strength": lambda: scaling_runs.influence_vs_strength(tracing, train, influence, look, tasks),
        "hero_vs_random": lambda: scaling_runs.hero_vs_random(tests, look, tasks),
        "transfer": lambda: scaling_runs.transfer(transfer, look, tasks, alpha),
    }
    drawing.draw(figures, output.figures, cfg["figures"], threads, log)
