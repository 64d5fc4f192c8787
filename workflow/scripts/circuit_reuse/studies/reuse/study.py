"""The reuse study: do the circuits of single examples share components, and is what they share specific to the task?"""

from dataclasses import dataclass

from circuit_reuse.studies.study import PaperTable, Study, pairs


@dataclass(frozen=True)
class Reuse(Study):
    """Its settings are at the top of the config, not in a block of their own."""

    def block(self, config):
        """The config itself."""
        return config

    def slots(self, config):
        """Number of examples of a task, and examples in a shard."""
        return config["examples"]["count"], config["examples"]["shard_size"]


def results(config):
    """Tests of the first method."""
    path = f"<results>/{{model}}/{{task}}/tests/{config['methods'][0]}.parquet"
    return pairs(config["models"], config["tasks"], path)


def settings(config, titles):
    """What its sentences need of the config."""
    return {
        "alpha": config["tests"]["alpha"],
        "titles": {task: titles[task] for task in config["tasks"]},
        "method": config["methods"][0],
        "metric": config["attribution"]["metric"],
        "kinds": config["circuits"]["kinds"],
        **{key: config["cross_task"][key] for key in ("top_k", "threshold")},
    }


STUDY = Reuse(
    name="reuse",
    details="findings",
    question="Do the circuits of single examples share components, and is what they share specific to the task?",
    figures={
        "multiplot_reuse_vs_threshold": "Reuse against threshold",
        "multiplot_lift_vs_threshold": "Lift against threshold",
        "multiplot_perm_neglog10p_vs_threshold": "Significance against threshold",
        "effect_against_controls": "Shared circuits among their controls",
        "accuracy_bars": "Accuracy with circuits removed",
        "faithfulness_bars": "What circuits keep",
        "component_map": "Components of example circuits",
        "example_similarity": "Similarity of example circuits",
        "cross_task": "Circuits removed on other tasks",
        "specificity": "A task's own circuit against those of other tasks",
        "selective_ablation": "What two circuits share and what each has alone",
        "generic": "Effect on the task and on ordinary text",
        "score_histograms": "Distribution of scores",
        "layers": "Circuits by layer",
        "fine_grained": "Reuse of edges, positions, blocks and neurons",
        "granularity": "Shared blocks, neurons and components removed",
        "checkpoints": "Reuse and effect over training",
        "method_agreement": "Agreement with activation patching",
    },
    tables={
        "summary": ("summary.csv", "Summary: reuse, effects and tests"),
        "aggregated": ("aggregated_by_task_model_k.csv", ""),
        "cross": ("cross_task.csv", "Circuits removed on other tasks"),
        "specificity": ("specificity.csv", "Own components against those of other tasks"),
        "overlap": ("overlap.csv", "What the circuits of two tasks share"),
        "stability": ("stability.csv", "A task's circuit over halves, templates, methods, steps and corruptions"),
        "layers": ("layers.csv", "Circuits by layer"),
        "fine_grained": (
            "fine_grained.csv",
            "Reuse and effect of edges, positions, blocks, neurons, and of score thresholds",
        ),
        "optimal": ("optimal.csv", "Circuits removed by the constants that do least harm"),
        "fine_grained_shared": ("fine_grained_shared.csv", "Shared edges, positions, blocks and neurons"),
        "generic": ("generic.csv", "Loss of ordinary text without the circuits"),
        "agreement": ("method_agreement.csv", "Agreement with activation patching"),
        "accuracy": ("accuracy.csv", "Accuracy of the intact models"),
    },
    first=("effect_against_controls", "specificity", "multiplot_reuse_vs_threshold"),
    reads=("summary", "specificity", "overlap", "generic"),
    paper=PaperTable(
        "summary.csv",
        {
            "model": "Model",
            "task": "Task",
            "method": "Method",
            "n_components": "Components",
            "reuse": "Reuse",
            "effect": "Effect",
            "effect_random": "Random circuits",
            "faithfulness": "Faithfulness",
            "p_value": "p",
            "q_value": "q",
            "n_clusters": "Clusters",
        },
        "Shared circuits (K = {top_k}, p = {threshold}): reuse, change in the metric when the circuit and when random circuits of the same layers are "
        "removed, faithfulness, and the rank among these random circuits (p, and q by the method of Benjamini and Hochberg over the "
        "circuits by one method). In brackets: 95 % intervals over clusters of held-out examples; of random circuits, what 95 % of them lie in.",
        lambda config: {name: config["cross_task"][name] for name in ("top_k", "threshold")},
    ),
    results=results,
    settings=settings,
    shards="",
    schemas={
        "circuits": "<model>/<task>/circuits/<method>",
        "inclusion": "<model>/<task>/circuits/<method>.inclusion",
        "similarity": "<model>/<task>/circuits/<method>.similarity",
        "clusters": "<model>/<task>/circuits/<method>.clusters",
        "reuse": "<model>/reuse/<method>",
        "tests": "<model>/<task>/tests/<method>",
        "cross_task": "<model>/cross_task/<method>",
        "specificity": "<model>/cross_task/<method>.specificity",
        "overlap": "<model>/cross_task/<method>.overlap",
        "stability": "<model>/<task>/stability",
        "variants": "<model>/<task>/variants",
        "optimal_runs": "<model>/<task>/optimal/<method>",
        "fine_grained": "<model>/<task>/fine_grained/<level>",
        "fine_grained_shared": "<model>/<task>/fine_grained/<level>.shared",
        "generic_runs": "<model>/generic/<method>.runs",
        "generic_sets": "<model>/generic/<method>.sets",
        "generic": "<model>/generic/<method>",
        "agreement": "<model>/agreement/<method>",
        "curve_runs": "<model>/<task>/faithfulness/<method>.runs",
        "curves": "<model>/<task>/faithfulness/<method>",
        "edges": "<model>/<task>/faithfulness/<method>.edges",
        "completeness": "<model>/<task>/faithfulness/<method>.completeness",
        "hypotheses": "<model>/<task>/faithfulness/<method>.hypotheses",
    },
)
