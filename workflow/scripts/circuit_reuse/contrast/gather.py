"""The files of the contrast study by model and set."""

from pathlib import Path

import pandas as pd

from circuit_reuse import fingerprint, tables
from circuit_reuse.components import Space


def space_of(about):
    """The component space of a model from its description."""
    described = fingerprint.read_description(about)
    return Space(*(described[name] for name in ("layers", "heads", "d_model", "d_head")))


def of_sets(paths, schema):
    """Rows of one table of all models and sets, with model and set in front."""
    parts = []
    for path in map(Path, paths):
        frame = tables.read(path, schema)
        frame.insert(0, "set", path.parts[-2])
        frame.insert(0, "model", path.parts[-4])
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def by_set(paths):
    """{(model, set): path}."""
    return {(Path(path).parts[-4], Path(path).parts[-2]): path for path in paths}


def by_examples(paths):
    """{(model, task): path of the examples}."""
    return {Path(path).parts[-4:-2]: path for path in paths}
