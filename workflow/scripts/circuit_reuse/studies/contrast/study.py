"""The contrast study: which components differ in activation between two sets of texts, and does such a circuit do anything?"""

from circuit_reuse.studies.study import PaperTable, Study, pairs


def results(config):
    """Differences of every set of texts."""
    block = config["contrast"]
    path = "<results>/{model}/contrast/{task}/differences.parquet"
    return pairs(block["models"], sorted(block["sets"]), path)


def settings(config, titles):
    """What its sentences need of the config."""
    sets = config["contrast"]["sets"]
    names = {name: each.get("title", name.replace("_", " ")) for name, each in sets.items()}
    return {"alpha": config["tests"]["alpha"], "titles": names, "attribution": config["contrast"]["attribution"]}


STUDY = Study(
    name="contrast",
    details="summary",
    question="Which components differ in activation between two sets of texts, under a write budget, and does such a circuit "
    "do anything?",
    figures={
        "component_bars": "Components by how they differ",
        "layer_map": "Where components differ",
        "lengths": "Length that looks like a difference",
        "difference_and_effect": "Differences and what components do",
        "behaviour": "Circuits among random ones",
        "budget_sweep": "Budget against what circuits keep",
        "inclusion": "How surely components are chosen",
        "replicate": "Agreement of circuits, chance, and controls",
        "ranked_lists": "Two circuits side by side",
    },
    tables={
        "lengths": ("lengths.csv", "Comparisons without the difference"),
        "tests": ("tests.csv", "Circuits on the task"),
        "components": ("components.csv", "Differences and effects of components"),
        "differences": ("differences.csv", "Differences under all comparisons"),
        "circuits": ("circuits.csv", "Circuits of every budget"),
        "budget_sweep": ("budget_sweep.csv", "The sweep over budgets"),
        "inclusion": ("inclusion.csv", "Inclusion in bootstrap draws"),
        "replicate": ("replicate.csv", "Comparisons of circuits"),
        "replicate_components": ("replicate_components.csv", ""),
    },
    first=("lengths", "difference_and_effect", "replicate"),
    reads=("lengths", "tests", "replicate"),
    paper=PaperTable(
        "tests.csv",
        {
            "model": "Model",
            "set": "Set",
            "scored_by": "Scored by",
            "rule": "Rule",
            "n_heads": "Heads",
            "n_mlps": "MLPs",
            "faithfulness": "Faithfulness",
            "faithfulness_random": "Random circuits",
            "p_faithfulness": "p",
            "q_faithfulness": "q",
        },
        "Circuits under a write budget: faithfulness on the task, that of random circuits of equal cost, and the rank among these (q by the method of "
        "Benjamini and Hochberg). In brackets: 95 % intervals; of random circuits, what 95 % of them lie in.",
    ),
    results=results,
    settings=settings,
    shards="contrast",
    schemas={
        "differences": "<model>/contrast/<set>/differences",
        "pairs": "<model>/contrast/<set>/pairs",
        "draws": "<model>/contrast/<set>/draws, <model>/contrast/<set>/scores",
        "contrast_circuits": "<model>/contrast/<set>/circuits",
        "inclusion_draws": "<model>/contrast/<set>/inclusion",
    },
)
