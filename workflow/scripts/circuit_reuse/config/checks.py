"""Every mistake in a config that can be seen before a job runs, as one clear message each.

A message names the key, what was found, what is allowed, and the nearest valid name.
Standard library, jsonschema and yaml only.
"""

import math
from pathlib import Path

from circuit_reuse.config import custom_files, paths, series
from circuit_reuse.config.errors import ConfigError, as_number, member, nearest, note
from circuit_reuse.config.schema import check_schema, check_shards
from circuit_reuse.data import fingerprint
from circuit_reuse.engine import architectures
from circuit_reuse.methods.registry import EDGE_METHODS
from circuit_reuse.origins import gguf_header, sources
from circuit_reuse.prompts import tasks


def check(config):
    """Check a config and fill in its defaults, in place; raises ConfigError with the first mistake."""
    check_schema(config)
    series.expand(config)
    check_names(config)
    check_shards(config)


def known_models(key, names, config):
    """Models must be in model_sources."""
    for name in names:
        member(key, name, "model_sources", config["model_sources"])


def known_tasks(key, names, config):
    """Tasks must be built in or in custom_tasks."""
    known = [*tasks.TASKS, *config["custom_tasks"]]
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}: unknown task {name!r}; known: {', '.join(known)}{nearest(name, known)}")


def study_models(study, config, folders):
    """Models of a study's own block, those of the run if it names none; returns {model: Space or None}."""
    block = config[study]
    block["models"] = block["models"] or list(config["models"])
    known_models(f"{study}.models", block["models"], config)
    return {name: check_model(name, config, folders, study) for name in block["models"]}


def study_tasks(study, key, config, folders):
    """Tasks under a key of a study's block must be known, and custom ones usable with its examples."""
    block = config[study]
    known_tasks(f"{study}.{key}", block[key], config)
    for name in block[key]:
        task = config["custom_tasks"].get(name)
        if task:
            custom_files.check(name, task, config, folders, block["models"], block["examples"], f"{study}.examples")


def check_names(config):
    """Models and tasks must be known."""
    known_models("models", config["models"], config)
    for key in ("tasks", "task_options"):
        known_tasks(key, config[key], config)
    for name, task in config["custom_tasks"].items():
        if name in tasks.TASKS:
            raise ConfigError(f"custom_tasks.{name}: a built-in task has this name; choose another")
        if "sequence" in task:
            check_options("sequence", task["sequence"], f"custom_tasks.{name}.sequence")
            try_out(name, task["sequence"], "sequence", f"custom_tasks.{name}.sequence", task.get("shots", 0))
        check_file_keys(f"custom_tasks.{name}", task)
    for name, options in config["task_options"].items():
        if name in config["custom_tasks"]:
            raise ConfigError(f"task_options.{name}: a custom task has no options")
        check_options(tasks.TASKS[name].family, options, f"task_options.{name}", tasks.SETTINGS)
        check_settings(options, f"task_options.{name}")
        own = {key: value for key, value in options.items() if key not in tasks.SETTINGS}
        try_out(name, own, None, f"task_options.{name}", options.get("shots", 0))


def check_file_keys(where, task):
    """Keys that belong to a file of a custom task must stand beside what they need."""
    for key in ("hub", "revision", "format", "counterfactual", "longest"):
        if key in task and "file" not in task:
            raise ConfigError(f"{where}.{key} has no meaning beside sequence; take it out")
    for key, other in (("hub", "revision"), ("revision", "hub")):
        if key in task and other not in task:
            raise ConfigError(f"{where} has no {other}, which is needed beside {key}")
    if "counterfactual" in task and task.get("format") != "mib":
        raise ConfigError(f"{where}.counterfactual has a meaning only with format: mib; take it out")
    if "hub" in task and not task["file"].endswith(".parquet"):
        raise ConfigError(f"{where}.file is {task['file']!r}; beside hub it must be a Parquet file of that dataset")
    if "hub" in task and (Path(task["file"]).is_absolute() or ".." in Path(task["file"]).parts):
        raise ConfigError(f"{where}.file is {task['file']!r}; beside hub it must be a path within that dataset")


# What the settings of any task may be (prompts.tasks.SETTINGS).
SETTINGS = {
    "bos": ("auto", "always", "never", True, False),
    "accuracy": ("top1", "preferred", "choice"),
    "chat": (True, False),
    "shots": tuple(range(17)),
}


def check_settings(options, where):
    """Settings of a task must have a value that they may have."""
    for name, values in SETTINGS.items():
        # True is not the number 1.
        if name in options and (type(options[name]), options[name]) not in [(type(v), v) for v in values]:
            allowed = "0 to 16" if name == "shots" else ", ".join(map(str, values))
            raise ConfigError(
                f"{where}.{name} is {options[name]!r}; allowed: {allowed}{nearest(options[name], values)}"
            )


def check_options(kind, options, where, settings=()):
    """Options of a task must be parameters of its family, or of some settings; where: their key in the config."""
    import inspect

    from circuit_reuse.prompts.generate import family

    own = dict(list(inspect.signature(family(kind).example).parameters.items())[2:])
    known = [*own, *settings]
    for option, value in options.items():
        if option not in known:
            allowed = ", ".join(known) or "none"
            raise ConfigError(f"{where}.{option} is unknown; allowed: {allowed}{nearest(option, known)}")
        if option in own and (wanted := not_of_its_type(option, value, own[option].default)):
            raise ConfigError(f"{where}.{option} is {value!r}; it must be {wanted}{hint(value, wanted)}")


def hint(value, wanted):
    """How a number is written that YAML reads as text, where one is wanted."""
    return as_number(value, "whole" in wanted) if "number" in wanted else ""


def not_of_its_type(option, value, default):
    """What an option of a task must be, in words, if it is not; None if it is.

    default: its default, which says of which type it is; None stands for a whole number that may be left open
    """
    if option == "members" and isinstance(value, list):
        whole = all(isinstance(word, str) and word and word == word.strip() for word in value)
        return None if whole else "a list of texts (numbers in quotes) without spaces around them"
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if default is None or isinstance(default, int):
        whole = (
            isinstance(value, int) and not isinstance(value, bool) and (value > 0 or option in ("step", "filler_step"))
        )
        return None if whole or (value is None is default) else "a whole number above 0"
    if isinstance(default, float):
        return None if isinstance(value, (int, float)) and not isinstance(value, bool) else "a number"
    if isinstance(default, tuple):
        sound = isinstance(value, list) and value and all(item in default for item in value)
        return None if sound else f"a list of {', '.join(default)}"
    return None if isinstance(value, str) else "a text"


def try_out(task, options, kind, where, shots=0):
    """Make some prompts with the options of a task: what is wrong with them shows before a run; raises ConfigError."""
    from circuit_reuse.prompts.generate import demonstrations, generate

    try:
        shown = {prompt.clean for prompt in demonstrations(task, shots, options=options, kind=kind)}
        if not generate(task, 4, options=options, kind=kind, taken=shown):
            raise ValueError(f"{shots} shots leave no other prompt to ask")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError) as problem:
        raise ConfigError(f"{where}: {problem}") from None


def check_model(name, config, folders, study=None):
    """A model that is there must have safetensors weights and a tokenizer, or be a GGUF file that can be converted.

    folders: the project's and the one that the workflow runs in
    study:   the study that asks for it, None for the reuse of components
    returns: its shape; None for one that is still to be fetched
    """
    source, key = config["model_sources"][name], f"model_sources.{name}"
    if problem := sources.problem(source):
        raise ConfigError(f"{key}{problem}")
    if "path" in source:
        key = f"{key}.path"
        paths.readable(source["path"], key)
    folder = sources.folder(name, source, folders[-1])
    try:
        if sources.kind(source) == "gguf":
            header = gguf_header.check(source["path"])
            if folder is None:
                return gguf_header.shape(header)
        if folder is None:
            return None
        fingerprint.files(folder)
        fingerprint.check_intact(folder)
        reason = architectures.unsupported(folder, asked(config, study))
        space = None if reason else fingerprint.shape(folder)
        fingerprint.positions(folder)
        without_bos = bos_always(config, study) if fingerprint.bos_of(folder) is None else []
    except fingerprint.ModelError as problem:
        raise ConfigError(f"{key}: {problem}") from None
    if reason:
        raise ConfigError(f"{key}: {name} {reason}; see docs/models.md")
    check_chats(name, folder, config)
    for where, value in without_bos:
        note(f"{where} is {value!r}, but {name} has no BOS token: nothing is put first there")
    return space


def bos_always(config, study):
    """[(key, value)] of all settings that put the BOS token first whatever the tokenizer does."""
    found = {"examples.bos": config["examples"]["bos"]}
    for block in ("task_options", "custom_tasks"):
        found |= {f"{block}.{task}.bos": (options or {}).get("bos") for task, options in config.get(block, {}).items()}
    if study in (None, "contrast"):
        sets = config.get("contrast", {}).get("sets", {})
        found |= {f"contrast.sets.{name}.bos": (each or {}).get("bos") for name, each in sets.items()}
    return [(where, value) for where, value in found.items() if value in ("always", True)]


def check_chats(model, folder, config):
    """A model must have a chat template that can be used where a built-in task asks for one."""
    chats = [task for task, options in config.get("task_options", {}).items() if options.get("chat")]
    if not chats:
        return
    from circuit_reuse.data import examples

    try:
        examples.reader(folder, "auto", True).text("a")
    except examples.ReaderError as problem:
        raise ConfigError(f"task_options.{chats[0]}.chat is true for {model}: {problem}") from None


def asked(config, study):
    """What a study asks of a model beside its components, keys of architectures.USES."""
    if study == "weights":
        return ("weights",)
    if study is None:
        return ("edges",) if set(EDGE_METHODS) & set(config.get("methods", ())) else ()
    block = config[study]
    methods = {"contrast": [block.get("attribution")], "sequences": [block.get("pruning", {}).get("method")]}.get(
        study, []
    )
    edges = study == "sequences" and block["edges"].get("tasks", block["tasks"])
    return ("edges",) if edges or set(EDGE_METHODS) & set(methods) else ()


def check_examples(config, key, total):
    """Each split must be able to reach the number of valid pairs that it needs."""
    settings = config["examples"]
    held_out = int(total * settings["held_out_share"])
    for split, count in (("train", total - held_out), ("held_out", held_out)):
        if count < settings["min_valid"]:
            raise ConfigError(
                f"{key}: {total} examples give {count} for the {split} split, "
                f"fewer than examples.min_valid ({settings['min_valid']})"
            )


def check_least_p(key, sets, hypotheses, alpha, fewest=1):
    """Too few random sets show nothing; enough for one test may be too few for one of many that share a q.

    key:        of the setting, and sets: its value, of which the least p is 1 / (sets + 1)
    hypotheses: tests of one family (Benjamini and Hochberg), at most;  fewest: that it has in any case
    raises:     ConfigError where no p could be as small as alpha, nor the q of one test of the fewest;  warns (ConfigNote) where one true effect alone could not be shown
    """
    least = 1 / (sets + 1)
    if least > alpha:
        raise ConfigError(
            f"{key} is {sets}: p is never below {least:.3f}, so nothing could be shown at tests.alpha: {alpha:g}; use at least "
            f"{math.ceil(1 / alpha) - 1}"
        )
    if least * fewest > alpha:
        raise ConfigError(
            f"{key} is {sets}: of {fewest} tests that share a q none could be shown alone at tests.alpha: {alpha:g}; use at least "
            f"{math.ceil(fewest / alpha) - 1}, or fewer of them"
        )
    if least * hypotheses > alpha:
        note(
            f"{key} is {sets}: of up to {hypotheses} tests that share a q, one alone is never below q = {min(1, least * hypotheses):.2g}, "
            f"so only several together could be shown at tests.alpha: {alpha:g}; at least {math.ceil(hypotheses / alpha) - 1} show one alone"
        )
