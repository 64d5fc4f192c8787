"""Mistakes in the block `scaling` of a config, reported before any job; standard library only."""

from circuit_reuse.config import checks, errors, paths
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.studies.scaling.columns import TableError, rows_of


def check(config, folders):
    """Check the block and fill in the models, in place; after checks.check.

    folders: the project's and the one that the workflow runs in
    raises:  ConfigError with the first mistake
    """
    block = config["scaling"]
    checks.study_models("scaling", config, folders)
    checks.study_tasks("scaling", "tasks", config, folders)
    checks.check_examples(config, "scaling.examples", block["examples"])
    if block["shard_size"] < block["examples"]:
        checks.check_examples(config, "scaling.shard_size", block["shard_size"])
    first = min(block["examples"], block["shard_size"])
    held_out = int(first * config["examples"]["held_out_share"])
    if block["tracing"]["examples"] >= held_out:
        raise ConfigError(
            f"scaling.tracing.examples is {block['tracing']['examples']}, but the first shard has "
            f"{held_out} held-out examples, and some must be left that were not traced; lower it or "
            "raise scaling.examples"
        )
    check_choices(block)
    for name, table in block["tables"].items():
        check_table(f"scaling.tables.{name}.file", table["file"])


def check_choices(block):
    """Settings that must fit together."""
    if block["replacement"] not in block["replacements"]:
        raise ConfigError(
            f"scaling.replacement is {block['replacement']!r}; it must be one of "
            f"scaling.replacements: {', '.join(block['replacements'])}"
        )
    classes = block["classes"]
    if classes["unit"] == "standard_errors" and classes["tau"] < 2.5:
        raise ConfigError(
            f"scaling.classes.tau is {classes['tau']} standard errors; it must be at least 2.5, or no "
            "interval could lie within it and no head be absent"
        )
    if not classes["taus"]:
        classes["taus"] = [round(factor * classes["tau"], 9) for factor in (0.4, 0.6, 1, 1.4, 2, 4, 8)]
    for part in block["tracing"]["by_position"]:
        errors.member("scaling.tracing.by_position", part, "scaling.tracing.parts", block["tracing"]["parts"])
    for pair in block["transfer"]["pairs"]:
        for name in pair:
            errors.member("scaling.transfer.pairs", name, "scaling.models", block["models"])
        if pair[0] == pair[1]:
            raise ConfigError(f"scaling.transfer.pairs: {pair[0]!r} is paired with itself")


def check_table(key, file):
    """A joint table must be there and have the columns of one."""
    path = paths.readable_file(file, key)
    try:
        rows_of(path)
    except TableError as problem:
        raise ConfigError(f"{key}: {problem}") from None
