"""The scaling study: which heads do which of two tasks, and how does that change with the model?"""

from circuit_reuse.studies.study import PaperTable, Study, pairs


def results(config):
    """Head scans."""
    block = config["scaling"]
    return pairs(block["models"], block["tasks"], "<results>/{model}/heads/{task}/scan/scan0000.parquet")


def settings(config, titles):
    """What its sentences need of the config."""
    block = config["scaling"]
    return {
        "alpha": block["classes"]["alpha"],
        "tasks": block["tasks"],
        "replacement": block["replacement"],
        "titles": {task: titles[task] for task in block["tasks"]},
    }


STUDY = Study(
    name="scaling",
    details="summary",
    question="Which heads serve two tasks, one of them or neither, and how does that change with the model?",
    figures={
        "layer_histogram": "Classes by layer",
        "delta_scatter": "Effects on both tasks, by model",
        "phase_space": "Effects of all heads",
        "family_grid": "Effects by family",
        "correlation_vs_scale": "Correlation of the tasks against size",
        "strong_head_scaling": "Strong heads against size",
        "strength_distribution": "Distribution of strengths",
        "class_depth": "Where classes sit in depth",
        "tau_sweep": "Classes against the threshold",
        "tracing_layers": "Causal tracing of layers",
        "tracing_heads": "Causal tracing of heads",
        "influence_vs_strength": "Traced influence against strength",
        "hero_vs_random": "Heroes against random heads",
        "backups": "Heads that take over without the heroes",
        "transfer": "Counterparts in other models",
    },
    tables={
        "heads": ("heads.csv", "Every head"),
        "models": ("models.csv", "Models: correlations, strong heads"),
        "depths": ("depths.csv", ""),
        "tau_sweep": ("tau_sweep.csv", ""),
        "fits": ("fits.csv", "Fits over sizes"),
        "tracing": ("tracing.csv", ""),
        "influence": ("influence.csv", "Strength and traced influence"),
        "hero_vs_random": ("hero_vs_random.csv", "Heroes against random heads"),
        "backups": ("backups.csv", "Heads that take over without the heroes"),
        "transfer": ("transfer.csv", "Counterparts in other models"),
        "joint": ("joint_{tasks}_all.csv", ""),
        "categories": ("head_category_summary.csv", "Classes by model"),
        "hero_heads": ("hero_heads_for_paper.csv", "Hero heads"),
        "causal": ("hero_head_causal_summary.csv", ""),
        "ablation": ("hero_vs_random_ablation_summary.csv", ""),
        "correlations": ("corr_vs_scale_cross_family.csv", ""),
    },
    first=("delta_scatter", "hero_vs_random", "strong_head_scaling"),
    reads=("models", "categories", "hero_vs_random", "fits"),
    paper=PaperTable(
        "models.csv",
        {
            "model": "Model",
            "parameters": "Parameters",
            "replacement": "Replacement",
            "n_heads": "Heads",
            "n_strong": "Strong heads",
            "correlation": "Correlation",
            "corrected": "Corrected for noise",
            "p_correlation": "p",
            "q_correlation": "q",
        },
        "Effects of every head on two tasks, by model: heads that are strong in either, the correlation of the two effects, the same corrected for "
        "noise, and its permutation test (q by the method of Benjamini and Hochberg over the models under one replacement). In brackets: 95 % intervals.",
    ),
    results=results,
    settings=settings,
    shards="scan",
    schemas={
        "scan": "<model>/heads/<task>/scan/<shard>",
        "trace": "<model>/heads/<task>/trace",
        "heads": "<model>/heads/classes",
        "model_trends": "<model>/heads/trends",
        "depths": "<model>/heads/depths",
        "sweep": "<model>/heads/sweep",
        "heroes": "<model>/heads/heroes",
        "hero_sets": "<model>/heads/hero_sets",
        "backup_runs": "<model>/heads/<task>/backups",
    },
)
