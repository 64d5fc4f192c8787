"""Every mistake in a config that can be seen before a job runs, as one clear message each.

A message names the key, what was found, what is allowed, and the nearest valid name.
Standard library, jsonschema and yaml only, plus the tokenizer for a custom file.
"""

import os
import warnings
from pathlib import Path

from circuit_reuse.config.errors import ConfigError, ConfigNote, nearest
from circuit_reuse.config.schema import check_schema, check_shards
from circuit_reuse.data import fingerprint
from circuit_reuse.engine import architectures
from circuit_reuse.methods.registry import EDGE_METHODS
from circuit_reuse.origins import gguf_header, sources
from circuit_reuse.prompts import tasks


def check(config, project, directory):
    """Check a config and fill in its defaults, in place.

    project:   the project's folder
    directory: the folder that the workflow runs in, to which paths are relative
    raises:    ConfigError with the first mistake
    """
    check_schema(config)
    check_names(config)
    check_shards(config)


def known_models(key, names, config):
    """Models must be in model_sources."""
    sources = config["model_sources"]
    for name in names:
        if name not in sources:
            raise ConfigError(
                f"{key}: {name!r} is not in model_sources ({', '.join(sources)})" + nearest(name, sources)
            )


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
            check_custom(name, task, config, folders, block["models"], block["examples"], f"{study}.examples")


def check_names(config):
    """Models and tasks must be known."""
    known_models("models", config["models"], config)
    for key in ("tasks", "task_options"):
        known_tasks(key, config[key], config)
    for name in config["custom_tasks"]:
        if name in tasks.TASKS:
            raise ConfigError(f"custom_tasks.{name}: a built-in task has this name; choose another")
        if "sequence" in config["custom_tasks"][name]:
            check_options("sequence", config["custom_tasks"][name]["sequence"], f"custom_tasks.{name}.sequence")
    for name, options in config["task_options"].items():
        if name in config["custom_tasks"]:
            raise ConfigError(f"task_options.{name}: a custom task has no options")
        check_options(tasks.TASKS[name].family, options, f"task_options.{name}", tasks.SETTINGS)
        check_settings(options, f"task_options.{name}")


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

    known = list(inspect.signature(family(kind).example).parameters)[2:] + list(settings)
    for option in options:
        if option not in known:
            allowed = ", ".join(known) or "none"
            raise ConfigError(f"{where}.{option} is unknown; allowed: {allowed}{nearest(option, known)}")


def readable(path, key):
    """The full path, anywhere on disk, if what is there can be read; whether anything is there is not looked at.

    raises: ConfigError for a path that cannot be read
    """
    if str(path).startswith("~"):
        raise ConfigError(f"{key}: {path!r} is taken as it is, ~ is no home folder; write the full path")
    try:
        full = Path(path).resolve()
        mode = os.R_OK | os.X_OK if full.is_dir() else os.R_OK
        if full.exists() and not os.access(full, mode):
            raise PermissionError("no permission")
    except (OSError, RuntimeError) as problem:
        raise ConfigError(f"{key}: {path!r} cannot be read: {getattr(problem, 'strerror', None) or problem}") from None
    return full


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
        readable(source["path"], key)
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
    except fingerprint.ModelError as problem:
        raise ConfigError(f"{key}: {problem}") from None
    if reason:
        raise ConfigError(f"{key}: {name} {reason}; see docs/models.md")
    return space


def asked(config, study):
    """What a study asks of a model beside its components, keys of families.USES."""
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


def check_custom(name, task, config, folders, names, count, what="examples.count"):
    """A custom file must be readable, and give enough valid pairs under every local model.

    names: the models that it is for;  count: examples that are needed, set by the key `what`
    """
    from circuit_reuse.data import examples
    from circuit_reuse.prompts import custom

    if "sequence" in task:
        return
    key = f"custom_tasks.{name}.file"
    path = readable(task["file"], key)
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {task['file']}")
    settings = config["examples"]
    try:
        rows, repeats = custom.rows(path, settings["held_out_share"])
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: {task['file']} is not text in UTF-8; save it so") from None
    except (ValueError, OSError) as problem:
        # What pandas and pyarrow say may have several lines.
        raise ConfigError(f"{key}: {task['file']} cannot be read: {' '.join(str(problem).split())}") from None
    if len(rows) < count:
        raise ConfigError(f"{what} is {count}, but {task['file']} ({key}) has {len(rows)} rows")
    if repeats:
        text = f"{key}: {repeats} rows of {task['file']} repeat another row and are counted once; {len(rows)} are left"
        warnings.warn(text, ConfigNote, stacklevel=2)
    note_clusters(key, task["file"], rows[:count])
    for model in names:
        folder = sources.folder(model, config["model_sources"][model])
        if folder is None:
            continue
        settings_of = tasks.settings(name, config)
        try:
            reader = examples.reader(folder, settings_of["bos"], settings_of["chat"])
        except examples.ReaderError as problem:
            raise ConfigError(f"custom_tasks.{name}.chat: {problem}") from None
        tried = rows[:count]
        pairs = [examples.tokenise(reader, row, settings_of["accuracy"] == "choice") for row in tried]
        note_pairs(key, task["file"], model, tried, pairs)
        for split in ("train", "held_out"):
            try:
                examples.enough(pairs, split, settings["min_valid"], name)
            except ValueError as problem:
                raise ConfigError(f"{key}: with the tokenizer of {model}, {problem}") from None


def note_clusters(key, file, rows):
    """Warn of held-out rows in too few clusters, and of frames that are taken as independent examples."""
    # It takes scipy, which only a custom file needs here.
    from circuit_reuse.stats import clusters

    held_out = [row for row in rows if row["split"] == "held_out"]
    number, frames = (len({row[name] for row in held_out}) for name in ("cluster", "template"))
    if number < min(clusters.FEWEST, len(held_out)):
        text = (
            f"{key}: the {len(held_out)} held-out rows of {file} fall into {number} clusters; with fewer than {clusters.FEWEST} there "
            "are no intervals and no p-values over examples"
        )
        warnings.warn(text, ConfigNote, stacklevel=2)
    elif 1 < frames < number == len(held_out):
        text = (
            f"{key}: {file} has {frames} templates and no column cluster, so that its rows are taken as independent; if rows "
            "of a template are alike, copy it into a column cluster"
        )
        warnings.warn(text, ConfigNote, stacklevel=2)


def note_pairs(key, file, model, rows, pairs):
    """Warn of pairs that are left out, and of answers that look as if a blank were missing in front of them."""
    out = [pair for pair in pairs if not pair["valid"]]
    if out:
        text = (
            f"{key}: {len(out)} of {len(pairs)} pairs of {file} are left out with the tokenizer of {model}; the first, "
            f"{out[0]['id']}: {out[0]['reason']}"
        )
        warnings.warn(text, ConfigNote, stacklevel=2)
    bare = [row for row in rows if row["answer"][0].isalnum() and row["clean"][-1].isalnum()]
    if bare:
        text = (
            f"{key}: {len(bare)} answers of {file} have no blank in front, and their prompts none at the end; the first is "
            f"{bare[0]['answer']!r}: did you mean {' ' + bare[0]['answer']!r}?"
        )
        warnings.warn(text, ConfigNote, stacklevel=2)


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
