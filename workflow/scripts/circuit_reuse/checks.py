"""Every mistake in a config that can be seen before a job runs, as one clear message each.

A message names the key, what was found, what is allowed, and the nearest valid name.
Standard library, jsonschema and yaml only, plus the tokenizer for a custom file.
"""

import difflib
import math
import os
import warnings
from pathlib import Path

from circuit_reuse import families, fingerprint, gguf_header, sources
from circuit_reuse.prompts import registry

MOST_SHARDS = 1000
SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"


class ConfigError(ValueError):
    """A mistake in the config or in a file that it names, told in one line."""

    def __init__(self, message):
        super().__init__(" ".join(str(message).split()))


class ConfigNote(UserWarning):
    """What is no mistake, but should be known before a run."""


def check(config, project, directory):
    """Check a config and fill in its defaults, in place.

    project:   the project's folder
    directory: the folder that the workflow runs in, to which paths are relative
    raises:    ConfigError with the first mistake
    """
    check_schema(config)
    check_names(config)
    for name in config["models"]:
        check_room(name, config, check_model(name, config, (project, directory)))
    for name, task in config["custom_tasks"].items():
        if name in config["tasks"]:
            count = config["examples"]["count"]
            check_custom(name, task, config, (project, directory), config["models"], count)
    check_examples(config, "examples.count", config["examples"]["count"])
    check_shards(config)
    check_grids(config)


def check_shards(config):
    """A plan of too many jobs takes hours to draw up."""
    block, scan = config["examples"], config["scaling"]
    for where, count in (("examples.count", block["count"]), ("scaling.examples", scan["examples"])):
        part = where.split(".")[0]
        size = config[part]["shard_size"]
        if count > MOST_SHARDS * size:
            raise ConfigError(
                f"{where} is {count}, in {-(-count // size)} shards of {part}.shard_size {size}: at most "
                f"{MOST_SHARDS} shards can be planned; set {part}.shard_size to {-(-count // MOST_SHARDS)} or more"
            )


def check_schema(config):
    """Types, ranges and unknown keys; defaults are filled in."""
    import jsonschema
    import yaml

    # The parser in C, where there is one, takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    schema = yaml.load(SCHEMA.read_text(), Loader=loader)
    drop(config, schema)
    check_values(config)
    # JSON takes 3.0 for an integer; what counts by it does not.
    draft = jsonschema.Draft202012Validator
    whole = draft.TYPE_CHECKER.redefine("integer", lambda _, x: type(x) is int)
    validator = jsonschema.validators.extend(draft, type_checker=whole)(schema)
    for error in sorted(validator.iter_errors(config), key=lambda e: list(map(str, e.path))):
        raise ConfigError(explain(error))
    fill(config, schema)


def check_values(value, where=""):
    """Numbers must be finite, as no limit of the schema is broken by a NaN, and text without NUL."""
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where} is {value!r}; it must be text without NUL characters")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}; it must be a finite number")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        check_values(item, f"{where}.{key}".strip("."))


def drop(config, schema):
    """Take out entries that an overlay sets to null in a map of names, such as custom_tasks or contrast.sets."""
    for key, part in schema.get("properties", {}).items():
        if not isinstance(config.get(key), dict):
            continue
        inner = part.get("additionalProperties")
        if isinstance(inner, dict):
            for name in [name for name, value in config[key].items() if value is None]:
                del config[key][name]
        drop(config[key], part)


def fill(config, schema):
    """Put the schema's defaults where a key is missing."""
    for key, part in schema.get("properties", {}).items():
        if key not in config and "default" in part:
            config[key] = (
                type(part["default"])(part["default"]) if isinstance(part["default"], dict | list) else part["default"]
            )
        if isinstance(config.get(key), dict):
            fill(config[key], part)
            inner = part.get("additionalProperties")
            if isinstance(inner, dict):
                for value in config[key].values():
                    fill(value, inner)


def explain(error):
    """One sentence for a schema error."""
    where = ".".join(map(str, error.absolute_path)) or "the config"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        extra = next(key for key in error.instance if key not in known)
        full = f"{where}.{extra}" if error.absolute_path else str(extra)
        return f"unknown key {full}: allowed are {', '.join(known)}{nearest(extra, known)}"
    value = error.instance
    if error.validator == "enum":
        allowed = list(map(str, error.validator_value))
        return f"{where} is {value!r}; allowed: {', '.join(allowed)}{nearest(value, allowed)}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in value]
        return f"{where} has no {missing[0]}, which is needed"
    if error.validator == "oneOf" and "custom_tasks" in where:
        return f"{where} needs either file or sequence; found: {', '.join(value) or 'none'}"
    if error.validator == "oneOf" and "model_sources" in where:
        if where.endswith(".package"):
            return f"{where} is {value!r}; it must be the name of a package, or a list of {{name, version, file}}"
        return (
            f"{where} needs either path, or hub and revision, or package and sha256; found: "
            f"{', '.join(value) or 'none'}"
        )
    limits = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
        "type": "of type",
        "pattern": "of the form",
        "minItems": "a list of at least this length:",
        "contains": "a list with",
    }
    if error.validator in limits:
        wanted = error.validator_value
        wanted = wanted.get("const") if isinstance(wanted, dict) else wanted
        return f"{where} is {value!r}; it must be {limits[error.validator]} {wanted}"
    return f"{where}: {error.message}"


def nearest(name, known):
    """A hint at the nearest valid name, or nothing."""
    close = difflib.get_close_matches(str(name), list(map(str, known)), n=1, cutoff=0.5)
    return f". Did you mean {close[0]}?" if close else ""


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
    known = [*registry.TASKS, *config["custom_tasks"]]
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
        if name in registry.TASKS:
            raise ConfigError(f"custom_tasks.{name}: a built-in task has this name; choose another")
        if "sequence" in config["custom_tasks"][name]:
            check_options("sequence", config["custom_tasks"][name]["sequence"], f"custom_tasks.{name}.sequence")
    for name, options in config["task_options"].items():
        if name in config["custom_tasks"]:
            raise ConfigError(f"task_options.{name}: a custom task has no options")
        check_options(registry.TASKS[name].family, options, f"task_options.{name}", registry.SETTINGS)
        check_settings(options, f"task_options.{name}")


# What the settings of any task may be (prompts.registry.SETTINGS).
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
        reason = families.unsupported(folder, asked(config, study))
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
        return ("edges",) if {"eap", "eap-ig"} & set(config.get("methods", ())) else ()
    block = config[study]
    methods = {"contrast": [block.get("attribution")], "sequences": [block.get("pruning", {}).get("method")]}.get(
        study, []
    )
    edges = study == "sequences" and block["edges"].get("tasks", block["tasks"])
    return ("edges",) if edges or {"eap", "eap-ig"} & set(methods) else ()


def check_room(name, config, space):
    """A local model must have room for the circuits and their controls."""
    if space is None:
        return
    kinds = config["circuits"]["kinds"]
    total = len(space.of_kinds(kinds))
    what = " and ".join({"head": "heads", "mlp": "MLPs"}[kind] for kind in kinds)
    for top_k in config["circuits"]["top_k"]:
        k = int(top_k) if top_k >= 1 else max(1, round(top_k * total))
        if top_k >= 1 and top_k != k:
            raise ConfigError(f"circuits.top_k: {top_k} is neither a count nor a share below 1")
        if k > total:
            raise ConfigError(f"circuits.top_k: {top_k} is more than the {total} {what} of {name}")
        skip = config["circuits"]["controls"]["pool_too_small"] == "skip"
        if 2 * k > total and not skip:
            raise ConfigError(
                f"circuits.top_k: a circuit of {k} of the {total} {what} of {name} leaves "
                f"{total - k} for a matched control; use at most {total // 2}, or set "
                "circuits.controls.pool_too_small: skip"
            )


def check_custom(name, task, config, folders, names, count, what="examples.count"):
    """A custom file must be readable, and give enough valid pairs under every local model.

    names: the models that it is for;  count: examples that are needed, set by the key `what`
    """
    from circuit_reuse import examples
    from circuit_reuse.prompts import custom

    if "sequence" in task:
        return
    key = f"custom_tasks.{name}.file"
    path = readable(task["file"], key)
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {task['file']}")
    settings = config["examples"]
    try:
        rows = custom.rows(path, settings["held_out_share"])
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: {task['file']} is not text in UTF-8; save it so") from None
    except (ValueError, OSError) as problem:
        # What pandas and pyarrow say may have several lines.
        raise ConfigError(f"{key}: {task['file']} cannot be read: {' '.join(str(problem).split())}") from None
    if len(rows) < count:
        raise ConfigError(f"{what} is {count}, but {task['file']} ({key}) has {len(rows)} rows")
    for model in names:
        folder = sources.folder(model, config["model_sources"][model])
        if folder is None:
            continue
        settings_of = registry.settings(name, config)
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


def check_grids(config):
    """The circuit of the cross-task matrix must be one of those that are built."""
    chosen, circuits = config["cross_task"], config["circuits"]
    for key, grid in (("top_k", "top_k"), ("threshold", "thresholds")):
        if chosen[key] not in circuits[grid]:
            allowed = ", ".join(map(str, circuits[grid]))
            raise ConfigError(f"cross_task.{key} is {chosen[key]}; it must be one of circuits.{grid}: {allowed}")
    if chosen["controls"] > circuits["controls"]["count"]:
        raise ConfigError(
            f"cross_task.controls is {chosen['controls']}, more than circuits.controls.count "
            f"({circuits['controls']['count']})"
        )
