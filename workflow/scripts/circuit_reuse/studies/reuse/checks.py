"""Mistakes in the settings of the reuse study, reported before any job."""

from dataclasses import replace
from pathlib import Path

from circuit_reuse.config import checks, custom_files, paths
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.data import components
from circuit_reuse.data.text_lines import read_lines

# Texts at least, half of which are tested.
LEAST_TEXTS = 20


def check(config, folders):
    """Check the settings; after checks.check.

    folders: the project's and the one that the workflow runs in
    raises:  ConfigError with the first mistake
    """
    check_counts(config)
    for name in config["models"]:
        check_room(name, config, checks.check_model(name, config, folders))
    for name, task in config["custom_tasks"].items():
        if name in config["tasks"]:
            custom_files.check(name, task, config, folders, config["models"], config["examples"]["count"])
    checks.check_examples(config, "examples.count", config["examples"]["count"])
    check_grids(config)
    check_texts(config, folders)


def check_counts(config):
    """What is a count or a share below 1 must be one of these, whether or not the models are there."""
    fine = config["fine_grained"]["top_k"]
    given = [("circuits.top_k", value) for value in config["circuits"]["top_k"]]
    for key, value in [*given, *((f"fine_grained.top_k.{level}", fine[level]) for level in ("block", "neuron"))]:
        if value > 1 and value != int(value):
            raise ConfigError(f"{key}: {value} is neither a count nor a share below 1")


def check_room(name, config, space):
    """A local model must have room for the circuits and their controls."""
    if space is None:
        return
    kinds = config["circuits"]["kinds"]
    total = len(space.of_kinds(kinds))
    what = " and ".join({"head": "heads", "mlp": "MLPs"}[kind] for kind in kinds)
    for top_k in config["circuits"]["top_k"]:
        try:
            k = components.resolve_k(top_k, total)
        except ValueError:
            raise ConfigError(f"circuits.top_k: {top_k} is more than the {total} {what} of {name}") from None
        skip = config["circuits"]["controls"]["pool_too_small"] == "skip"
        if 2 * k > total and not skip:
            raise ConfigError(
                f"circuits.top_k: a circuit of {k} of the {total} {what} of {name} leaves "
                f"{total - k} for a matched control; use at most {total // 2}, or set "
                "circuits.controls.pool_too_small: skip"
            )


def generic_texts(model, config, project):
    """The file of ordinary text of a model: the config's, or one of the project's whose words the model knows."""
    source = str(config["model_sources"].get(model, {}).get("path", ""))
    own = "stories" if "resources/models/tiny-" in source else "sentences"
    own = Path(f"resources/texts/{own}.txt")
    # The run may be in another folder than the project's.
    return config["generic"]["texts"] or str(own if own.is_file() else project / own)


def check_texts(config, folders):
    """Ordinary text must be there, and enough of it."""
    block = config["generic"]
    if not block["count"]:
        return
    if block["count"] < LEAST_TEXTS:
        raise ConfigError(
            f"generic.count: {block['count']} texts are too few, half of them to be tested; use at least {LEAST_TEXTS}, or 0 to leave "
            "generic importance out"
        )
    for file in {generic_texts(model, config, folders[0]) for model in config["models"]}:
        path = paths.readable_file(file, "generic.texts")
        try:
            lines = read_lines(path)
        except ValueError as problem:
            raise ConfigError(f"generic.texts: {problem}") from None
        if len(lines) < LEAST_TEXTS:
            raise ConfigError(
                f"generic.texts: {file} has {len(lines)} different lines of text; at least {LEAST_TEXTS} are needed"
            )
    if block["texts"]:
        check_tokens(lines[: block["count"]], config)


def check_tokens(lines, config):
    """The user's own texts must be tokens of every local model, and enough of them of two tokens: the first one is not predicted."""
    # Only where a file is given: the Snakefile is read often.
    from circuit_reuse.data import examples
    from circuit_reuse.origins import sources

    for model in config["models"]:
        folder = sources.folder(model, config["model_sources"][model])
        if folder is None:
            continue
        reader = examples.text_reader(folder)
        found = [reader.encode(line).ids for line in lines]
        for line, tokens in zip(lines, found, strict=True):
            if reason := replace(reader, positions=None).unfit(tokens):
                raise ConfigError(
                    f"generic.texts: the line {line[:60]!r} cannot be used with {model}: {reason.replace('the prompt', 'the line')}"
                )
        long = sum(len(tokens) + (reader.bos is not None) > 1 for tokens in found)
        if long < LEAST_TEXTS:
            raise ConfigError(
                f"generic.texts: {long} of the {len(lines)} lines that are used have two tokens or more with {model}; at least {LEAST_TEXTS} are needed"
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
