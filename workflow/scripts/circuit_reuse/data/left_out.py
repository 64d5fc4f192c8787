"""What a model cannot do is a result: a task that is left out of a study, with its reason.

A stage that finds too little to work with raises `LeftOut`.  The job still succeeds: each of its
tables has no rows and says why in its metadata, each of its figures says it in words.  A job that
reads such a table alone is left out for the same reason; a job that gathers many leaves it aside.
Standard library but for the Parquet files themselves.
"""

import json
from pathlib import Path

KEY, HEADER = b"left_out", "left_out\n"
# Inputs whose name starts with this are given with what was left out.
ALL = "all_"
# Lists whose name starts with this are given under the rest of the name, empty where everything was left out: what is gathered beside them stays.
SOME = "some_"
FIGURES = (".svg", ".png", ".pdf")


class LeftOut(ValueError):
    """A model cannot do a task well enough for a study.

    usable, needed: examples, where the reason is their number
    """

    def __init__(self, reason, usable=None, needed=None):
        super().__init__(" ".join(str(reason).split()))
        self.usable, self.needed = usable, needed

    def record(self):
        """What is kept of it in a table."""
        return {"reason": str(self), "usable": self.usable, "needed": self.needed}


def record_of(path):
    """Why a table has nothing to work with, as LeftOut; None for any other file."""
    import pyarrow.parquet as pq

    path = Path(path)
    if path.suffix not in (".parquet", ".csv") or not path.is_file():
        return None
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", errors="replace") as stream:
            if next(stream, "") != HEADER:
                return None
            return LeftOut(json.loads(stream.readline() or '"its reason was cut off"'))
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, ValueError):
        # A damaged table is reported by the one who reads it.
        return None
    if KEY not in metadata:
        return None
    return LeftOut(**json.loads(metadata[KEY]))


def sift(inputs):
    """The inputs of a job without what was left out.

    inputs:  {name: path or list of paths}
    returns: (a dict of the same form, one of the reasons or None)
    raises:  LeftOut if a single input was left out, or all of a list that is not one of SOME
    """
    kept, reason = {}, None
    for name, value in inputs.items():
        if name.startswith(ALL):
            kept[name] = value
            continue
        records = {path: record_of(path) for path in ([value] if isinstance(value, str) else value)}
        out = [record for record in records.values() if record is not None]
        if out and len(out) == len(records) and not name.startswith(SOME):
            raise out[0]
        reason = reason or (out[0] if out else None)
        there = [path for path in ([value] if isinstance(value, str) else value) if records[path] is None]
        kept[name.removeprefix(SOME)] = value if isinstance(value, str) and there else there
    return kept, reason


def write(path, problem):
    """Write an output that says why it is empty.  A table has no columns but the reason."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        note = {KEY: json.dumps(problem.record(), sort_keys=True).encode()}
        pq.write_table(pa.table({}).replace_schema_metadata(note), path)
    elif path.suffix in FIGURES:
        draw(path, f"left out: {problem}")
    elif path.suffix == ".json":
        path.write_text(json.dumps({"left_out": str(problem)}) + "\n")
    elif path.suffix == ".csv":
        path.write_text(HEADER + json.dumps(str(problem)) + "\n")
    elif path.suffix == ".tex":
        path.write_text("% left out: " + str(problem) + "\n")
    elif path.suffix == ".html":
        from html import escape

        path.write_text(f"<!doctype html><p>Left out: {escape(str(problem))}</p>\n")
    else:
        path.write_text(f"Left out: {problem}\n")


def draw(path, text):
    """A figure that says in words why it is empty."""
    import textwrap

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 1.2))
    figure.text(0.5, 0.5, "\n".join(textwrap.wrap(text, 80)), ha="center", va="center", size=8, parse_math=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
