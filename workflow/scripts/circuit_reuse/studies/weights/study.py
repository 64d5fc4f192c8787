"""The weight study: does a pruned circuit rely on its specific weights?"""

from circuit_reuse.studies.study import PaperTable, Study, pairs


def results(config):
    """Sweeps of removed weights."""
    block = config["weights"]
    return pairs(block["models"], block["tasks"], "<results>/{model}/weights/{task}/sweep.parquet")


def settings(config, titles):
    """What its sentences need of the config."""
    block = config["weights"]
    return {
        "alpha": config["tests"]["alpha"],
        "tasks": block["tasks"],
        "matched": block["sweep"]["matched"],
        "titles": {task: titles[task] for task in block["tasks"]},
    }


STUDY = Study(
    name="weights",
    details="summary",
    question="Does a pruned circuit rely on its specific weights?",
    figures={
        "weight_ablation_sweep": "Weights removed: circuit and controls",
        "tests": "The circuit among random circuits",
        "sizes": "Sizes of the weights, circuit and controls",
        "pareto_front": "Size of masks against loss",
        "composition": "Where the circuit lies",
        "interchange": "Active nodes unpruned",
        "node_sweep": "Nodes removed, and masked nodes left on",
        "unexplained": "Variance that the pruned run does not explain",
        "importance": "Importance of single nodes",
        "training": "How masks were learned",
    },
    tables={
        "interpretations": ("interpretations.csv", "What the tests support"),
        "tests": ("tests.csv", "Circuit against controls"),
        "circuits": ("circuits.csv", "Masks and their circuits"),
        "sweep": ("sweep.csv", "The sweep"),
        "matches": ("matches.csv", "How well controls match"),
        "node_tests": ("node_tests.csv", "Necessity and sufficiency of the nodes"),
        "nodes": ("nodes.csv", ""),
        "random": ("random_circuits.csv", ""),
        "node_random": ("random_masks.csv", ""),
        "sizes": ("sizes.csv", ""),
        "pareto_front": ("pareto_front.csv", ""),
        "history": ("training.csv", ""),
        "composition": ("composition.csv", ""),
        "edges": ("edges.csv", ""),
        "fvu": ("unexplained.csv", ""),
        "importance": ("importance.csv", ""),
    },
    first=("weight_ablation_sweep", "sizes", "node_sweep"),
    reads=("interpretations", "tests"),
    paper=PaperTable(
        "tests.csv",
        {
            "model": "Model",
            "task": "Task",
            "control": "Control",
            "area_circuit": "Circuit",
            "area_control": "Control",
            "difference": "Difference",
            "p_value": "p",
            "q_value": "q",
            "n_random": "Random masks",
        },
        "Weights removed from a pruned circuit and from controls of the unpruned model: mean loss over the sweep, their difference with its 95 % interval, "
        "and the rank among random masks of the same size (q by the method of Benjamini and Hochberg).",
    ),
    results=results,
    settings=settings,
    shards="weights",
    schemas={
        "masks": "<model>/weights/<task>/masks",
        "mask_history": "<model>/weights/<task>/history",
        "mask_pareto_front": "<model>/weights/<task>/pareto_front",
        "weight_circuits": "<model>/weights/<task>/circuits",
        "weight_edges": "<model>/weights/<task>/edges",
        "weight_sweep": "<model>/weights/<task>/sweep",
        "random_sweep": "<model>/weights/<task>/random",
        "weight_sizes": "<model>/weights/<task>/sizes",
        "weight_matches": "<model>/weights/<task>/matches",
        "node_runs": "<model>/weights/<task>/node_runs",
        "node_random": "<model>/weights/<task>/node_random",
        "unexplained": "<model>/weights/<task>/unexplained",
        "node_importance": "<model>/weights/<task>/node_importance",
    },
)
