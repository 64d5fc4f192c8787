import re
import shutil
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

PROJECT = Path(workflow.current_basedir).parent
sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))

import run_folder
import start_page
import warm
from circuit_reuse.circuit_files import ENDINGS
from circuit_reuse.config import check
from circuit_reuse.contrast import checks as contrast_checks
from circuit_reuse.fingerprint import files as model_folder_files
from circuit_reuse.prompts import registry, sequence
from circuit_reuse.staleness import code_hash, remember, text_hash

METHODS = ["gradient", "atp", "ig", "eap", "eap-ig", "patching"]

try:
    check(config, PROJECT, Path.cwd())
except ValueError as problem:
    # One line, not where in the code it was found.
    raise WorkflowError(str(problem)) from None


def one_of(names):
    """A wildcard constraint: exactly these names."""
    return "|".join(sorted(map(re.escape, names)))


def settled(value):
    """The value with its keys in order at every depth, so that YAML order never matters."""
    if isinstance(value, dict):
        return {key: settled(value[key]) for key in sorted(value)}
    return [settled(item) for item in value] if isinstance(value, list) else value


def one_run_at_a_time():
    """End this run, with one line, if another one is at work in the same folder."""
    try:
        run_folder.take(Path(".snakemake"))
    except BlockingIOError as problem:
        raise WorkflowError(str(problem)) from None


def mend_times():
    """Results that bear a time in the future would stop the run: give them the present one, and say so."""
    count = run_folder.mend_times(["results", "resources/hub"])
    if count:
        logger.warning(
            f"{count} files bear a time in the future, made while a clock was wrong: they now bear the present time."
        )


def warn_of_missing_records():
    """Say so if there are results, but no records of the settings that they were made with."""
    made = next(Path("results").glob("*/*/examples/*.parquet"), None)
    if made and not next(Path(".snakemake/metadata").glob("*"), None):
        logger.warning(
            "The records of how the results were made are missing (.snakemake/metadata): results are used as they "
            "are, and an edit of the config that came since is not seen. To be sure, run once with --forceall."
        )


def stage_cfg(*blocks, **values):
    """The part of the config that a stage uses, as one parameter, and nothing more.

    blocks: top-level keys of the config;  values: single settings under a name of their own
    """
    return settled({block: config[block] for block in blocks} | values)


def compute(_, threads):
    """How to run, not what: Snakemake does not track functions of `threads`."""
    return config["compute"]


def task_cfg(task):
    """The settings of a task, whether built in or the user's own."""
    if task in config["custom_tasks"]:
        custom = config["custom_tasks"][task]
        if "sequence" in custom:
            told = {key: custom[key] for key in ("bos", "accuracy")}
            return settled(
                {"family": "sequence", "options": custom["sequence"], **told}
            )
        return settled({"family": "custom", **custom})
    spec = registry.TASKS[task]
    options = spec.options | config["task_options"].get(task, {})
    return settled(
        {
            "family": spec.family,
            "options": options,
            "bos": spec.bos,
            "accuracy": spec.accuracy,
        }
    )


def task_title(task):
    """The name of a task in figures."""
    if task in config["custom_tasks"]:
        return config["custom_tasks"][task].get("title", task)
    return registry.TASKS[task].title


def shards(_=None):
    """Numbers of the shards; their size is fixed, so more examples only add shards."""
    size, count = config["examples"]["shard_size"], config["examples"]["count"]
    return [f"{shard:04d}" for shard in range(-(-count // size))]


def scan_shards(_=None):
    """Numbers of the shards of the head scan, which has a count and a size of its own."""
    size, count = config["scaling"]["shard_size"], config["scaling"]["examples"]
    return [f"scan{shard:04d}" for shard in range(-(-count // size))]


def shard_range(shard):
    """First and last + 1 example of a shard.

    Only the last shard knows the count, so more examples leave full shards as they are.
    """
    size, count = config["examples"]["shard_size"], config["examples"]["count"]
    if shard.startswith("scan"):
        size, count = config["scaling"]["shard_size"], config["scaling"]["examples"]
    for study in ("sequences", "weights", "contrast"):
        if shard.startswith(study):
            size = count = config[study]["examples"]
    number = int(shard[-4:])
    return [number * size, min((number + 1) * size, count)]


def prompt_code(wildcards):
    """The code that makes the prompts of a task: editing one family leaves the others."""
    family = task_cfg(wildcards.task)["family"]
    return code_hash("write_prompts.py", f"circuit_reuse/prompts/{family}.py")


def model_folder(wildcards):
    """Where the files of a model lie: in the project, or where they were fetched to."""
    source = config["model_sources"][wildcards.model]
    return source.get("path") or f"<resources>/hub/{wildcards.model}"


def model_inputs(wildcards):
    """The files of a model as inputs, so that changed weights rerun what they shape."""
    source = config["model_sources"][wildcards.model]
    if "path" in source:
        return [str(path) for path in model_folder_files(source["path"])]
    return f"<resources>/hub/{wildcards.model}"


def hub_models():
    """Models from the hub that any study of the config uses."""
    studies = ("scaling", "sequences", "weights", "contrast")
    used = {
        *config["models"],
        *(m for study in studies for m in config[study]["models"]),
    }
    return sorted(name for name in used if "hub" in config["model_sources"][name])


def prompt_file(wildcards):
    """The user's own file of a custom task; built-in tasks need none."""
    return config["custom_tasks"].get(wildcards.task, {}).get("file", [])


REUSE_FIGURES = {
    "multiplot_reuse_vs_threshold": "Reuse against threshold",
    "multiplot_lift_vs_threshold": "Lift against threshold",
    "multiplot_perm_neglog10p_vs_threshold": "Significance against threshold",
    "effect_against_controls": "Shared circuits among their controls",
    "accuracy_bars": "Accuracy with circuits removed",
    "faithfulness_bars": "What circuits keep",
    "component_map": "Components of example circuits",
    "example_similarity": "Similarity of example circuits",
    "cross_task": "Circuits removed on other tasks",
    "score_histograms": "Distribution of scores",
    "method_agreement": "Agreement with exact patching",
}


def reuse_figures(method):
    """Figure files of a method; the first method's have the plain names."""
    folder = "reuse" if method == config["methods"][0] else f"reuse/{method}"
    return expand(
        f"<results>/figures/{folder}/{{figure}}.{{kind}}",
        figure=REUSE_FIGURES,
        kind=config["figures"]["formats"],
    )


def in_report(path, method):
    """A figure with its caption and labels for the report: one format of each is enough."""
    name, kind = Path(path).stem, Path(path).suffix[1:]
    if kind != ("svg" if "svg" in config["figures"]["formats"] else "png"):
        return path
    return report(
        path,
        caption=f"../workflow/report/{name}.rst",
        category="Reuse figures",
        labels={"figure": REUSE_FIGURES[name], "method": method},
    )


def reuse_table(name, title):
    """A table with its caption for the report."""
    return report(
        f"<results>/tables/reuse/{name}",
        caption=f"../workflow/report/{Path(name).stem}.rst",
        category="Reuse tables",
        labels={"table": title},
    )


def by_task(path, methods, **more):
    """A table of every model, task and method."""
    return expand(
        path, model=config["models"], task=config["tasks"], method=methods, **more
    )


def titles():
    """Names of the tasks in figures and tables."""
    return {task: task_title(task) for task in config["tasks"]}


def shown(path, caption, category, **labels):
    """A figure or table with its caption for the report; of a figure, one format is enough."""
    kind = Path(path).suffix[1:]
    chosen = "svg" if "svg" in config["figures"]["formats"] else "png"
    if kind in ("svg", "png", "pdf") and kind != chosen:
        return path
    return report(
        path,
        caption=f"../workflow/report/{caption}.rst",
        category=category,
        labels=labels,
    )


def scaling_table(file, title):
    """A table of the scaling study, with its caption in the report if it has a title."""
    path = f"<results>/tables/scaling/{file}"
    if not title:
        return path
    return shown(path, "scaling_table", "Scaling", shows=f"{title} (table)")


def sequence_models(path, **more):
    """A file of every model of the sequence study."""
    return expand(path, model=config["sequences"]["models"], **more)


def sequence_tasks(*kinds):
    """Tasks of the sequence study by kind (tasks, variants, foreign, probes), in order."""
    return [task for kind in kinds for task in config["sequences"][kind]]


def sequence_table(file, title):
    """A table of the sequence study, with its caption in the report if it has a title."""
    path = f"<results>/tables/sequences/{file}"
    if not title:
        return path
    return shown(path, "sequences_table", "Sequences", shows=f"{title} (table)")


def sequence_members(tasks):
    """All words that the sequences of some tasks are made of."""
    found = {}
    for task in tasks:
        options = task_cfg(task).get("options") or {}
        if task_cfg(task)["family"] == "sequence":
            members = options.get("members", "digits")
            listed = sequence.MEMBERS[members] if isinstance(members, str) else members
            found |= dict.fromkeys(listed[: options.get("largest")])
    return list(found)


def pruning_cfg(task):
    """How a task is pruned: tasks of comparison need no random orders unless asked for."""
    block = dict(config["sequences"]["pruning"])
    if block.pop("orders_for") == "tasks" and task not in config["sequences"]["tasks"]:
        block |= {"random_orders": 0, "draws": 0}
    return block


def circuit_files(model=None):
    """Circuits from files that are for a model: {name: {file}}."""
    return {
        name: {"file": entry["file"]}
        for name, entry in config["sequences"]["circuits"].items()
        if model is None or not entry["models"] or model in entry["models"]
    }


def scaling_models(path, **more):
    """A file of every model of the scaling study."""
    return expand(path, model=config["scaling"]["models"], **more)


def weight_models(path, **more):
    """A file of every model and task of the weight study."""
    block = config["weights"]
    return expand(path, model=block["models"], task=block["tasks"], **more)


def weight_table(file, title):
    """A table of the weight study, with its caption in the report if it has a title."""
    path = f"<results>/tables/weights/{file}"
    if not title:
        return path
    return shown(path, "weights_table", "Weights", shows=f"{title} (table)")


def mask_file(wildcards):
    """The mask that is given for a model and task, or none."""
    files = config["weights"]["masks"]["files"]
    return files.get(wildcards.model, {}).get(wildcards.task, [])


CONTRAST_EXAMPLES = "<results>/{model}/{task}/examples/contrast0000.parquet"
CONTRAST_SCORES = "<results>/{model}/{task}/scores/{method}/contrast0000.parquet"


def contrast_models(path, **more):
    """A file of every model of the contrast study."""
    return expand(path, model=config["contrast"]["models"], **more)


def contrast_sets(path, sets=None):
    """A file of every model and set of the contrast study, or of some sets."""
    return contrast_models(
        path, set=sorted(config["contrast"]["sets"] if sets is None else sets)
    )


def contrast_task(name, key):
    """The task of a set whose prompts are the texts (task), or on which circuits are tested."""
    each = config["contrast"]["sets"][name]
    return each.get("task") if key == "task" else contrast_checks.behaviour(each)


def contrast_examples(wildcards, key):
    """The examples of the task of a set, or none."""
    task = contrast_task(wildcards.set, key)
    return CONTRAST_EXAMPLES.format(model=wildcards.model, task=task) if task else []


def contrast_scores(wildcards, method):
    """Attribution scores of the task on which the circuits of a set are tested, or none."""
    task = contrast_task(wildcards.set, "behaviour")
    return (
        CONTRAST_SCORES.format(model=wildcards.model, task=task, method=method)
        if task
        else []
    )


def contrast_bos(name):
    """Whether the texts of a set begin with the BOS token."""
    each = config["contrast"]["sets"][name]
    return task_cfg(each["task"])["bos"] if "task" in each else each["bos"]


def contrast_circuits(model):
    """Circuits from files that are tested on a model."""
    return {
        name: each
        for name, each in config["contrast"]["circuits"].items()
        if model in each["models"]
    }


def exported_circuits():
    """Files of the tested circuits in every format asked for."""
    block, found = config["contrast"], []
    for name, each in block["sets"].items():
        rules = {source: recipe["rules"] for source, recipe in block["recipes"].items()}
        if contrast_checks.behaviour(each):
            rules[block["attribution"]] = ["ratio", "knapsack"]
        found += [
            f"{name}.{source}.{rule}" for source in rules for rule in rules[source]
        ]
    return contrast_models(
        "<results>/tables/contrast/circuits/{model}.{circuit}{ending}",
        circuit=sorted(found),
        ending=sorted(ENDINGS[form] for form in block["export"]),
    )


def contrast_table(file, title):
    """A table of the contrast study, with its caption in the report if it has a title."""
    path = f"<results>/tables/contrast/{file}"
    if not title:
        return path
    return shown(path, "contrast_table", "Contrast", shows=f"{title} (table)")


def studied_models(study):
    """Models of a study."""
    return config["models"] if study == "reuse" else config[study]["models"]


def overview_cfg(study):
    """What the sentences about a study need of the config."""
    alpha = config["tests"]["alpha"]
    if study == "reuse":
        chosen = {key: config["cross_task"][key] for key in ("top_k", "threshold")}
        return stage_cfg(
            study=study,
            alpha=alpha,
            titles=titles(),
            method=config["methods"][0],
            metric=config["attribution"]["metric"],
            **chosen,
        )
    block = config[study]
    if study == "contrast":
        names = {
            name: each.get("title", name.replace("_", " "))
            for name, each in block["sets"].items()
        }
        return stage_cfg(study=study, alpha=alpha, titles=names)
    more = {
        "scaling": lambda: {
            "replacement": block["replacement"],
            "alpha": block["classes"]["alpha"],
        },
        "weights": lambda: {"matched": block["sweep"]["matched"]},
        "sequences": dict,
    }
    return stage_cfg(
        study=study,
        **({"alpha": alpha, "tasks": block["tasks"]} | more[study]()),
        titles={task: task_title(task) for task in block["tasks"]},
    )
