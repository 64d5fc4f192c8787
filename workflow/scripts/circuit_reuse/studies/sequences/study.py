"""The sequence study: which circuit continues a sequence, and how much do the circuits of several sequences share?"""

from circuit_reuse.studies.study import PaperTable, Study, pairs

# Tasks of the block by kind, in order.
KINDS = ("tasks", "variants", "control_tasks", "probes")


def results(config):
    """Effects of circuits on every task of any kind."""
    block = config["sequences"]
    tasks = [task for kind in KINDS for task in block[kind]]
    return pairs(block["models"], tasks, "<results>/{model}/sequences/{task}/effects.parquet")


def settings(config, titles):
    """What its sentences need of the config."""
    block = config["sequences"]
    return {
        "alpha": config["tests"]["alpha"],
        "titles": {task: titles[task] for task in block["tasks"]},
        **{key: block[key] for key in ("tasks", "control_tasks")},
        **{key: block["pruning"][key] for key in ("threshold", "strategy", "two_sided")},
    }


STUDY = Study(
    name="sequences",
    details="summary",
    question="Which circuit continues digits, number words, months; how much do these circuits share, through which edges?",
    figures={
        "cross_task": "Circuits on the data of other tasks",
        "overlap": "Overlap of circuits",
        "inclusion": "How often pruning keeps a component",
        "pareto_front": "Size of circuits against their score",
        "importance": "Importance of components",
        "edge_cuts": "Edges against score",
        "edge_agreement": "Path patching against edge attribution",
        "ov_scores": "Next, copy and previous scores",
        "motifs": "Attention motifs of heads",
        "attention": "Attention of the most important heads",
        "direct": "Direct logit attribution",
        "neuron_inputs": "Which heads activate the neurons that matter most",
        "lens": "Logit lens",
        "lengths": "Behaviour against length",
    },
    tables={
        "cross": ("cross_task.csv", "Circuits on the data of other tasks"),
        "overlap": ("overlap.csv", "Overlap of circuits"),
        "circuits": ("circuits.csv", "Every pruned circuit"),
        "stability": ("stability.csv", "How much circuits depend on order and examples"),
        "inclusion": ("inclusion.csv", ""),
        "pareto_front": ("pareto_front.csv", ""),
        "importance": ("importance.csv", "Importance of components"),
        "edges": ("edges.csv", "Edges by path patching"),
        "cuts": ("edge_cuts.csv", ""),
        "functions": ("head_functions.csv", "What every head does"),
        "ov": ("ov_scores.csv", ""),
        "motifs": ("motifs.csv", ""),
        "lens": ("lens.csv", ""),
        "direct": ("direct.csv", ""),
        "neurons": ("neurons.csv", ""),
        "neuron_inputs": ("neuron_inputs.csv", "What is written to the neurons that matter most"),
        "spectrum": ("spectrum.csv", ""),
        "lengths": ("lengths.csv", "Behaviour against length"),
    },
    first=("overlap", "cross_task", "pareto_front"),
    reads=("circuits", "overlap", "cross"),
    paper=PaperTable(
        "circuits.csv",
        {
            "model": "Model",
            "task": "Task",
            "strategy": "Strategy",
            "threshold": "Threshold",
            "n_heads": "Heads",
            "n_mlps": "MLPs",
            "score_train": "Score, train",
            "score": "Score, held out",
        },
        "Pruned circuits: their heads and MLPs, and the share of the intact model's score that they keep on the examples that they were pruned on and "
        "on held-out ones, with 95 % intervals over clusters of these.",
        # Those of the strategies themselves, not of random orders and draws.
        lambda config: {"order": "", "draw": ""},
    ),
    results=results,
    settings=settings,
    shards="sequences",
    schemas={
        "evaluated": "<model>/sequences/<task>/evaluated",
        "pruned": "<model>/sequences/<task>/pruned",
        "pruning_steps": "<model>/sequences/<task>/steps",
        "node_inclusion": "<model>/sequences/<task>/inclusion",
        "pareto_front": "<model>/sequences/<task>/pareto_front",
        "named_circuits": "<model>/sequences/circuits",
        "overlap": "<model>/sequences/overlap",
        "paths": "<model>/sequences/<task>/paths, <model>/sequences/<task>/edges",
        "cuts": "<model>/sequences/<task>/cuts",
        "ov_scores": "<model>/sequences/<task>/ov",
        "attention": "<model>/sequences/<task>/attention",
        "motifs": "<model>/sequences/<task>/motifs, <model>/sequences/motifs",
        "lens": "<model>/sequences/<task>/lens",
        "direct": "<model>/sequences/<task>/direct",
        "neurons": "<model>/sequences/<task>/neurons",
        "neuron_inputs": "<model>/sequences/<task>/neuron_inputs",
        "spectrum": "<model>/sequences/spectrum",
        "lengths": "<model>/sequences/lengths",
    },
)
