"""Mistakes in the block `sequences` of a config, and in sequences of its tasks, reported before any job.

Standard library only.
"""

import contextlib
import shutil

from circuit_reuse.config import checks, errors, paths
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.prompts import sequence, tasks
from circuit_reuse.studies.sequences import given_circuits

KINDS = ("tasks", "variants", "control_tasks", "probes")


def check(config, folders):
    """Check the block and fill in what it leaves open, in place; after checks.check.

    folders: the project's and the one that the workflow runs in
    raises:  ConfigError with the first mistake
    """
    block = config["sequences"]
    # Before anything can be found wrong, as the rules read it whether or not the study runs.
    block["edges"].setdefault("tasks", list(block["tasks"]))
    spaces = checks.study_models("sequences", config, folders)
    seen = {}
    for kind in KINDS:
        checks.study_tasks("sequences", kind, config, folders)
        for task in block[kind]:
            if task in seen:
                raise ConfigError(f"sequences.{kind}: {task!r} is in sequences.{seen[task]} already")
            seen[task] = kind
    # An unknown task of another study is that study's mistake.
    elsewhere = [task for task in config["scaling"]["tasks"] if task in tasks.TASKS or task in config["custom_tasks"]]
    for task in [*config["tasks"], *elsewhere, *seen]:
        check_sequence(task, config)
    for task in block["tasks"]:
        if declared(task, config)[1] != "sequence":
            raise ConfigError(f"sequences.tasks: {task!r} continues no sequence; put it into sequences.control_tasks")
    checks.check_examples(config, "sequences.examples", block["examples"])
    check_choices(block)
    check_lengths(config)
    check_circuits(config, spaces)


def declared(task, config):
    """The key, family and options of a task: those of the registry, or of the config."""
    if task in config["custom_tasks"]:
        custom = config["custom_tasks"][task]
        kind = "sequence" if "sequence" in custom else "custom"
        return f"custom_tasks.{task}.sequence", kind, custom.get("sequence", {})
    spec = tasks.TASKS[task]
    return f"task_options.{task}", spec.family, spec.options | config["task_options"].get(task, {})


def check_sequence(task, config):
    """A sequence must be one."""
    key, kind, options = declared(task, config)
    if kind != "sequence":
        return
    members = options.get("members", "digits")
    try:
        sequence.specification(
            members if isinstance(members, str) else tuple(members),
            options.get("step", 1),
            options.get("length", 4),
            options.get("frame", "sentence"),
            options.get("corruption", "random"),
            options.get("largest"),
            options.get("fillers", "objects"),
            options.get("filler_step", 0),
        )
    except (ValueError, TypeError) as problem:
        raise ConfigError(f"{key}: {problem}") from None


def check_choices(block):
    """Settings that must fit together."""
    pruning = block["pruning"]
    for one, many in (("threshold", "thresholds"), ("strategy", "strategies")):
        if pruning[one] not in pruning[many]:
            raise ConfigError(
                f"sequences.pruning.{one} is {pruning[one]}; it must be one of "
                f"sequences.pruning.{many}: {', '.join(map(str, pruning[many]))}"
            )
    if pruning["means"] == "published" and block["replacement"] != "mean":
        raise ConfigError(
            f"sequences.pruning.means is published, which needs sequences.replacement: mean, not {block['replacement']}"
        )
    edges = block["edges"]
    for task in edges["tasks"]:
        errors.member("sequences.edges.tasks", task, "sequences.tasks", block["tasks"])
    if edges["rule"] == "quantile" and edges["value"] >= 1:
        raise ConfigError(f"sequences.edges.value is {edges['value']}; a quantile must be below 1")
    if edges["rule"] == "acdc" and not edges["value"]:
        raise ConfigError("sequences.edges.value is 0; the loss below which ACDC removes an edge must be above 0")
    if block["diagrams"]["draw"] == "always" and not shutil.which("dot"):
        raise ConfigError(
            "sequences.diagrams.draw is always, but Graphviz's program dot is not installed: "
            "apt install graphviz, brew install graphviz or conda install graphviz"
        )


def check_lengths(config):
    """Some task must have a sequence of the least of the lengths, and one element more."""
    from circuit_reuse.prompts.generate import generate

    block = config["sequences"]
    least = min(block["lengths"]["values"])
    for task in block["tasks"]:
        own = tasks.settings(task, config)
        with contextlib.suppress(ValueError):
            if generate(task, 1, options=own["options"] | {"length": least}, kind=own["family"]):
                return
    raise ConfigError(
        f"sequences.lengths.values is {block['lengths']['values']}, and no task of sequences.tasks ({', '.join(block['tasks'])}) "
        f"has a sequence of {least} elements and one more; use smaller ones"
    )


def note_others(key, file, circuits, block):
    """Warn of tasks of a file whose circuits the study does not test, and refuse a file of such tasks alone; circuits: {task: [component]}."""
    run = [task for kind in KINDS if kind != "probes" for task in block[kind]]
    other = [task for task in circuits if task not in run]
    if other and len(other) == len(circuits):
        raise ConfigError(
            f"{key}: {file} is for {', '.join(other)}, and the study tests circuits for none of them; its tasks: {', '.join(run)}"
        )
    if other:
        errors.note(
            f"{key}: {file} has circuits for {', '.join(other)}, for which the study tests none: these are not used"
        )


def check_circuits(config, spaces):
    """Circuit files must be readable, and name components that their models have."""
    block = config["sequences"]
    for name, entry in block["circuits"].items():
        key = f"sequences.circuits.{name}"
        path = paths.readable_file(entry["file"], f"{key}.file")
        for model in entry["models"]:
            errors.member(f"{key}.models", model, "sequences.models", block["models"])
        try:
            found = given_circuits.read(path)
            checks.known_tasks(f"{key}.file: {entry['file']}", found, config)
            note_others(f"{key}.file", entry["file"], found, block)
            for model in entry["models"] or block["models"]:
                if spaces[model] is not None:
                    given_circuits.check_model(path, found, spaces[model], model)
        except given_circuits.CircuitFileError as problem:
            raise ConfigError(f"{key}.file: {problem}") from None
