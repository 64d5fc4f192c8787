"""Tables that a user gives, read strictly: a row that does not fit its header is an error with its line, never a guess.

CSV, JSONL and Parquet; without pandas, so that a file can be checked while a config is read.
"""

import csv
import json
import math
from pathlib import Path

# What stands for a missing number in tables of other programs.
MISSING = ("", "na", "nan", "n/a", "null", "none")


class GivenRows(list):
    """Rows that are there already, as a notebook has them."""

    def __str__(self):
        return "the table"


def rows(path):
    """The rows of a table in order, as dicts of one set of keys.

    Text of a CSV stays text, whatever it looks like; a byte-order mark is no part of the first name.
    returns: (column names, rows)
    raises:  ValueError that names the file and the line
    """
    if isinstance(path, GivenRows):
        names = list(dict.fromkeys(name for row in path for name in row))
        return names, [{name: row.get(name) for name in names} for row in path]
    kind = Path(path).suffix
    if kind not in READERS:
        raise ValueError(f"{path} must end in {', '.join(READERS)}")
    try:
        names, found = READERS[kind](path)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8; save it so") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has the column {twice[0]!r} twice")
    return names, found


def of_csv(path):
    """Rows of a CSV; empty lines are passed over."""
    with Path(path).open(newline="", encoding="utf-8-sig") as stream:
        lines = csv.reader(stream, strict=True)
        try:
            names = next(lines, [])
            if len(names) == 1 and (mark := next((mark for mark in ";\t" if mark in names[0]), None)):
                raise ValueError(f"{path} is divided by {mark!r}; save it with commas")
            found = []
            for cells in lines:
                if not cells:
                    continue
                if len(cells) != len(names):
                    raise ValueError(
                        f"{path}, line {lines.line_num}: {len(cells)} cells, where the header has {len(names)}; a text with a comma "
                        "or a line break must stand in double quotes"
                    )
                found.append(dict(zip(names, cells, strict=True)))
        except csv.Error as problem:
            raise ValueError(f"{path}, line {lines.line_num}: {problem}") from None
    return names, found


def of_jsonl(path):
    """Rows of a file of JSON objects, one a line; a key that a line lacks is None there."""
    found = []
    with Path(path).open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                found.append(json.loads(line, object_pairs_hook=once))
            except ValueError as problem:
                raise ValueError(f"{path}, line {number}: no JSON that can be used ({problem})") from None
            if not isinstance(found[-1], dict):
                raise ValueError(f"{path}, line {number}: no JSON object, but {line.strip()[:40]!r}")
    names = list(dict.fromkeys(name for row in found for name in row))
    return names, [{name: row.get(name) for name in names} for row in found]


def once(pairs):
    """A JSON object in which no key is listed twice (json keeps the last without a word); raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} is listed twice")
    return found


def of_parquet(path):
    """Rows of a Parquet file, an index that pandas stored among the columns."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowException as problem:
        raise ValueError(f"{path} is no Parquet file that can be read: {' '.join(str(problem).split())}") from None
    return list(table.column_names), table.to_pylist()


READERS = {".csv": of_csv, ".jsonl": of_jsonl, ".parquet": of_parquet}


def label(value, where):
    """A label as text, whatever scalar it is; empty where there is none.  Whole numbers are written without a point.

    raises: ValueError for a list or an object
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (list, dict)):
        raise ValueError(f"{where} is {value!r}; it must be one text or number")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def number(value, where):
    """A number from a cell, NaN where it is missing.

    raises: ValueError for what is none
    """
    if value is None or str(value).strip().lower() in MISSING:
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {value!r} is not a number") from None
