"""What removing a shared circuit does with the constants that do least harm, beside random sets of its layers; no torch."""

import numpy as np

from circuit_reuse.stats import circuits, statistics


def row_of(runs, cfg, stream):
    """A row of optimal.csv, from the optimal_runs table of one model, task and method.

    cfg: bootstrap;  effects are changes of the metric; p_value ranks the circuit among the sets, each with constants of its own
    """
    runs = runs.sort_values("example")
    sets = {
        name: runs[runs["control"].notna()].pivot(index="control", columns="example", values=name)
        for name in ("metric", "kl")
    }
    own = runs[runs["control"].isna()]
    clean, clusters = own["clean_metric"].to_numpy(float), own["cluster"].to_numpy(str)
    effect, means = (own[name].to_numpy(float) - clean for name in ("metric", "metric_mean"))
    seed = circuits.seed(*stream, "optimal", own["circuit"].iloc[0])
    low, high = statistics.mean_interval(effect, cfg["bootstrap"], seed, clusters=clusters)
    random = (sets["metric"].to_numpy(float) - clean).mean(axis=1) if len(sets["metric"]) else np.empty(0)
    found = {
        "circuit": own["circuit"].iloc[0],
        "n_components": int(own["n_components"].iloc[0]),
        "n_examples": len(own),
        "n_clusters": len(set(clusters)),
        "effect": effect.mean(),
        "effect_low": low,
        "effect_high": high,
        "effect_mean": means.mean(),
        "n_random": len(random),
        "effect_random": random.mean() if len(random) else None,
        "p_value": statistics.rank_p(effect.mean(), random, larger=False) if len(random) else None,
        "kl": own["kl"].mean(),
        "kl_mean": own["kl_mean"].mean(),
        "kl_random": float(sets["kl"].to_numpy(float).mean()) if len(random) else None,
    }
    return statistics.clean(found)
