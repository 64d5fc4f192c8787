"""Tables that a user gives, read strictly: a row that does not fit its header is an error with its line, never a guess.

CSV, JSONL and Parquet; without pandas, so that a file can be checked while a config is read.
"""

import csv
import json
import math
import re
from pathlib import Path

# Lists and objects within one another, at most.
DEEPEST = 100
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
        for number, row in enumerate(path, 1):
            whole(row, f"{path}, row {number}")
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
            except RecursionError:
                raise ValueError(f"{path}, line {number}: its lists or objects are nested too deeply") from None
            except ValueError as problem:
                raise ValueError(f"{path}, line {number}: no JSON that can be used ({problem})") from None
            if not isinstance(found[-1], dict):
                raise ValueError(f"{path}, line {number}: no JSON object, but {line.strip()[:40]!r}")
            # Nothing else can write what is no character.
            if "\\u" in line or line.count("[") + line.count("{") > DEEPEST:
                whole(found[-1], f"{path}, line {number}")
    names = list(dict.fromkeys(name for row in found for name in row))
    return names, [{name: row.get(name) for name in names} for row in found]


def whole(value, where):
    """Refuse half of a character, which JSON can write as an escape and no file can hold, and what cannot even be printed.

    value:  of any depth
    raises: ValueError
    """
    below = [(value, 0)]
    while below:
        value, depth = below.pop()
        if depth > DEEPEST:
            raise ValueError(f"{where}: its lists or objects are nested too deeply")
        if isinstance(value, dict):
            below += [(each, depth + 1) for pair in value.items() for each in pair]
        elif isinstance(value, (list, tuple)):
            below += [(each, depth + 1) for each in value]
        elif isinstance(value, str) and (half := re.search("[\ud800-\udfff]", value)):
            raise ValueError(f"{where}: {value[:40]!r} holds {half[0]!r}, half of a character; save the text in UTF-8")


def near(names, known, file):
    """Refuse a column whose name is a known one but for capitals or spaces around it: it would not be used, without a word.

    raises: ValueError that names both
    """
    right = {name.lower(): name for name in known}
    for name in names:
        meant = right.get(str(name).strip().lower())
        if meant and name not in known and meant not in names:
            raise ValueError(f"{file} has the column {name!r}, which is not used; rename it to {meant!r}")


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
    except (pyarrow.ArrowException, OSError) as problem:
        raise ValueError(f"{path} is no Parquet file that can be read: {' '.join(str(problem).split())}") from None
    names, columns = list(table.column_names), []
    for name, column in zip(names, table.columns, strict=True):
        try:
            columns.append(column.to_pylist())
        except UnicodeDecodeError:
            raise
        except (pyarrow.ArrowException, ArithmeticError, ValueError) as problem:
            # Dates beyond the year 9999, and durations beyond those of Python.
            raise ValueError(
                f"{path}, column {name!r} holds values of type {column.type} that cannot be read: {problem}; leave it out, or save it as text"
            ) from None
    return names, [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


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
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: {value!r} is not a number") from None
