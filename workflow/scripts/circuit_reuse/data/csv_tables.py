"""Tables for people: CSV files, whose columns are declared as those of Parquet tables are.

The same quantity has the same column in every table.  A value's interval is <value>_low and
<value>_high, its standard error <value>_standard_error.  <value>_control is its mean over matched
controls, <value>_random over size-matched random circuits, <value>_null what chance gives.  n_<things>
is a count.  Where a table has one main test it is p_value with q_value, others are p_<test> and q_<test>.
Shares are fractions, never per cent.
"""

import re

import numpy as np
import pandas as pd

LABELS = {
    "study": "study",
    "family": "family of models",
    "model": "model",
    "parameters": "parameters of the model",
    "task": "task",
    "set": "sets of texts that are compared",
    "method": "attribution method",
}
# In the name of a column, what stands for the name of a task; other words in such brackets stand for their kind.
TASK = "<task>"
# Means over several circuits: their ends are quantiles over these.
OVER_MANY = ("_control", "_random", "_null")


# Columns that hold names of models, tasks and the like, or hashes: text, whatever it looks like.
TEXTS = """study family model task set method source target source_model target_model source_family target_family first second
pair scoring condition rule circuit circuit_own circuit_other mask shared_set cluster models left_out tokens model_name reason""".split()


def columns(labels="", *parts, without=(), ends="", q="", **more):
    """{column: what it holds} of a table.

    labels:  names of LABELS, in front;  parts: Parquet schemas, or dicts of this form
    without: columns of the parts that the table lacks;  more: columns of its own, or with another text
    ends:    names of columns that have <name>_low and <name>_high beside them
    q:       names of columns p_<test> that have their q_<test>
    """
    found = {name: LABELS[name] for name in labels.split()}
    for part in parts:
        given = part if isinstance(part, dict) else {f.name: f.metadata[b"description"].decode() for f in part}
        found |= {name: text for name, text in given.items() if name not in without}
    found |= more
    for name in ends.split():
        many = name.endswith(OVER_MANY)
        for end, level in (("low", "2.5"), ("high", "97.5")):
            text = f"{level} per cent quantile of the same" if many else f"{level} per cent bound of `{name}`"
            found[f"{name}_{end}"] = text
    for name in q.split():
        found[f"q_{name.removeprefix('p_')}"] = (
            f"false discovery rate of `{name}` (Benjamini-Hochberg), over the rows of one `q_family`"
        )
        found["q_family"] = "family of hypotheses that false discovery rates are over"
    return found


def by_task(schema):
    """The columns of a Parquet schema that has each value of two tasks, named by task."""
    found = {}
    for field in schema:
        text = field.metadata[b"description"].decode()
        if field.name.endswith("_second") or "_second_" in field.name:
            continue
        found[re.sub(r"_first(?=_|$)", f"_{TASK}", field.name)] = text.replace(", first task", "")
    return found


def description(name, declared):
    """What a column holds, None if the declared columns do not say."""
    if name in declared:
        return declared[name]
    # The longest first: delta_<task>_low before delta_<task>.
    for pattern in sorted((each for each in declared if "<" in each), key=len, reverse=True):
        if re.fullmatch(re.sub(r"<\w+>", ".+", pattern), name):
            return declared[pattern]
    return None


def write(path, frame, declared):
    """A CSV: numbers to six digits, lists of names as text, what is missing empty.

    declared: {column: what it holds}, as from `columns`
    raises:   ValueError for a column that is not declared, since docs/tables.md would not have it
    """
    unknown = [name for name in frame.columns if not description(name, declared)]
    if unknown:
        raise ValueError(f"{path}: columns without a description: {', '.join(unknown)}")
    lists_as_text(frame).to_csv(path, index=False, float_format="%.6g")


def read(path, declared=()):
    """A table that `write` wrote: an empty cell is missing, and a model that is called NA, null or 007 is that model.

    declared: columns that it has here even where nothing could be computed for them, when they are not written
    raises:   pandas.errors.EmptyDataError for a file of no bytes
    """
    found = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])
    missing = [name for name in declared if name not in found and "<" not in name]
    return found.reindex(columns=[*found.columns, *missing]) if missing else found


def lists_as_text(frame):
    """A table for people: lists of names as text."""
    lists = [name for name in frame if len(frame) and isinstance(frame[name].iloc[0], (list, np.ndarray))]
    return frame.assign(**{name: [" ".join(map(str, names)) for names in frame[name]] for name in lists})
