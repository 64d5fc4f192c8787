"""The files of the contrast study by model and set."""

from pathlib import Path

from circuit_reuse import fingerprint, jobs
from circuit_reuse.components import Space


def space_of(about):
    """The component space of a model from its description."""
    described = fingerprint.read_description(about)
    return Space(*(described[name] for name in ("layers", "heads", "d_model", "d_head")))


def of_sets(paths, schema):
    """Rows of one table of all models and sets, with model and set in front."""
    return jobs.frames(paths, schema, 2).rename(columns={"task": "set"})


def by_set(paths):
    """{(model, set): path}."""
    return {(Path(path).parts[-4], Path(path).parts[-2]): path for path in paths}


def by_examples(paths):
    """{(model, task): path of the examples}."""
    return {Path(path).parts[-4:-2]: path for path in paths}
