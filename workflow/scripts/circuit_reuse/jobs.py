"""What the jobs of several studies have in common: their examples, and tables with their origin."""

from pathlib import Path

import pandas as pd

from circuit_reuse import examples, fingerprint, tables


def splits(path, cfg, task):
    """The used examples of a task: train and held out, those that have a mean to be replaced by.

    raises: ValueError if a split has fewer than cfg["min_valid"]
    """
    table = tables.read(path, tables.EXAMPLES)
    train, held_out = two(table[table["used"]], cfg["replacement"])
    used = table.assign(used=table["example"].isin([*train["example"], *held_out["example"]]))
    lengths = table["used"] & ~used["used"]
    used.loc[lengths, "reason"] = "no train prompt has its length, so it has no mean; use another replacement"
    for split in ("train", "held_out"):
        examples.enough(used.to_dict("records"), split, cfg["min_valid"], task)
    return train, held_out


def two(used, replacement):
    """Train and held-out examples; under means, held-out ones of a length that train has."""
    train, held_out = (used[used["split"] == split] for split in ("train", "held_out"))
    if replacement == "mean":
        held_out = held_out[held_out["length"].isin(set(train["length"]))]
    return train.reset_index(drop=True), held_out.reset_index(drop=True)


def about(input):
    """The fingerprint of a job's model."""
    return fingerprint.read_description(input.about)["fingerprint"]


def write(path, schema, rows, cfg, input):
    """A table with what made it."""
    if not isinstance(rows, list):
        rows = rows[schema.names]
    tables.write(path, schema, rows, cfg=cfg, model=about(input))


def frames(paths, schema, depth):
    """Rows of one table of all models (and tasks), with model (and task) in front.

    depth: folders between results and the file that name model and task: 2 with a task, else 1
    """
    parts = []
    for path in map(Path, paths):
        frame = tables.read(path, schema)
        names = {"model": path.parts[-4 if depth == 2 else -3]}
        names |= {"task": path.parts[-2]} if depth == 2 else {}
        for place, (column, value) in enumerate(names.items()):
            if column not in frame:
                frame.insert(place, column, value)
        parts.append(frame)
    if not parts:
        return pd.DataFrame(columns=["model", "task", *schema.names])
    return pd.concat(parts, ignore_index=True)
