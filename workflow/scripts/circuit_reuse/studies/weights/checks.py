"""Mistakes in the block `weights` of a config, reported before any job; no torch."""

from circuit_reuse.config import checks, errors, paths
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.data import fingerprint
from circuit_reuse.origins import sources


def check(config, folders):
    """Check the block and fill in what it leaves open, in place; after checks.check.

    folders: the project's and the one that the workflow runs in
    raises:  ConfigError with the first mistake
    """
    checks.study_models("weights", config, folders)
    checks.study_tasks("weights", "tasks", config, folders)
    checks.check_examples(config, "weights.examples", config["weights"]["examples"])
    check_sweep(config)
    check_files(config)


def check_sweep(config):
    """Settings that must fit together."""
    block = config["weights"]
    sweep, points = block["sweep"], block["sweep"]["points"]
    for control in ("non_circuit", "matrix", sweep["matched"]):
        if control not in sweep["controls"]:
            raise ConfigError(
                f"weights.sweep.controls is {', '.join(sweep['controls'])}; the results are read by "
                f"{control}, which must be among them (weights.sweep.matched is {sweep['matched']})"
            )
    every, count = block["random"]["every"], block["random"]["circuits"]
    if (points - 1) % every:
        raise ConfigError(
            f"weights.random.every is {every}; with weights.sweep.points: {points} it must divide "
            f"{points - 1}, so that the last point is all of a circuit"
        )
    if block["random"]["trials"] > sweep["trials"]:
        raise ConfigError(
            f"weights.random.trials is {block['random']['trials']}, more than weights.sweep.trials "
            f"({sweep['trials']}): the circuit is compared by as many of its own"
        )
    # One q for every control, over models and tasks (summary).
    together = len(block["models"]) * len(block["tasks"])
    checks.check_least_p("weights.random.circuits", count, together, config["tests"]["alpha"])


def check_files(config):
    """Masks from files must be of the models that they are for."""
    block = config["weights"]
    for model, tasks in block["masks"]["files"].items():
        key = f"weights.masks.files.{model}"
        errors.member(key, model, "weights.models", block["models"])
        for task, file in tasks.items():
            where = f"{key}.{task}"
            errors.member(where, task, "weights.tasks", block["tasks"])
            path = paths.readable(file, where)
            if path.name == "masks.parquet" and path.parts[-3:-2] == ("weights",):
                raise ConfigError(
                    f"{where}: {file} is where this study writes its masks, so it would be "
                    "deleted before it is read; copy it elsewhere and name the copy"
                )
            paths.readable_file(file, where)
            folder = sources.folder(model, config["model_sources"][model])
            if folder or path.suffix == ".safetensors":
                check_file(where, path, folder)


def check_file(key, path, folder):
    """A mask must have been made for the very weights in a folder; one of another study must be readable."""
    # Only where a file is given: the Snakefile is read often, and pyarrow takes a while.
    from circuit_reuse.studies.weights import mask_files, tau_files

    try:
        if path.suffix == ".safetensors":
            tau_files.read(path)
        else:
            mask_files.read_table(path, fingerprint.fingerprint(folder))
    except mask_files.MaskFileError as problem:
        raise ConfigError(f"{key}: {problem}") from None
