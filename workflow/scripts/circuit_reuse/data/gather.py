"""Tables of many models and tasks put together.  A table's metadata says which model, task and method it is of."""

from pathlib import Path

import pandas as pd

from circuit_reuse.data import fingerprint, tables

# In the order of the columns in front of the rows.
LABELS = ("model", "task", "set", "method")


def labels(path):
    """{"model": "gpt2", "task": "ioi", ...}: what a table is of."""
    found = tables.provenance(path).get("of", {})
    return {name: found[name] for name in LABELS if name in found}


def by(paths, *names):
    """Paths by some of their labels: {(model, task): [path]}, or {task: [path]} for one name."""
    found = {}
    for path in paths:
        mine = labels(path)
        key = mine[names[0]] if len(names) == 1 else tuple(mine[name] for name in names)
        found.setdefault(key, []).append(path)
    return found


def one_by(paths, *names):
    """The same where every key has one path: {(model, task): path}."""
    return {key: mine[0] for key, mine in by(paths, *names).items()}


def rows(paths, schema, empty=("model", "task")):
    """Rows of many tables of a schema, with the labels of each in front; a column of the same name is kept.

    empty: labels that are columns where there is no table at all
    """
    parts = []
    for path in paths:
        frame = tables.read(path, schema)
        given = {name: value for name, value in labels(path).items() if name not in frame}
        for place, (name, value) in enumerate(given.items()):
            frame.insert(place, name, value)
        parts.append(frame)
    if not parts:
        return pd.DataFrame(columns=[*empty, *schema.names])
    return pd.concat(parts, ignore_index=True)


def pick(table, /, **values):
    """The rows of a table whose columns have these values."""
    for name, value in values.items():
        table = table[table[name] == value]
    return table


def described(paths):
    """{model: description} of files that describe_model wrote."""
    return {Path(path).parent.name: fingerprint.read_description(path) for path in paths}
