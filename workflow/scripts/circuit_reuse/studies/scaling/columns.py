"""The columns and rows of a joint table of heads; standard library only, read before any job."""

from circuit_reuse.data import user_tables

KEYS = ["family", "model", "layer", "head"]


class TableError(ValueError):
    """A table without the columns of a joint table."""


def tasks_of(columns):
    """The two delta columns of a joint table.

    raises: TableError that names what is missing
    """
    columns = list(columns)
    missing = [name for name in KEYS if name not in columns]
    deltas = [name for name in columns if name.startswith("delta_") and not name.endswith(("_se", "_low", "_high"))]
    if missing or len(deltas) != 2:
        found = ", ".join(map(str, columns)) or "none"
        wanted = f"{', '.join(KEYS)}, and two columns delta_<task>"
        what = f"no {', '.join(missing)}" if missing else f"{len(deltas)} columns delta_<task>"
        raise TableError(f"a joint table of heads has the columns {wanted}; there is {what}, among: {found}")
    return deltas


def rows_of(path):
    """The rows of a joint table: its texts, layer and head as whole numbers, all else as a number or NaN.

    raises: TableError that names the column, or the row and what it holds
    """
    try:
        names, records = user_tables.rows(path)
    except ValueError as problem:
        raise TableError(str(problem)) from None
    tasks_of(names)
    if not records:
        raise TableError("the table has no rows")
    found = []
    for place, record in enumerate(records, 1):
        row = {}
        for name, value in record.items():
            where = f"column {name}, row {place}"
            try:
                row[name] = user_tables.number(value, where) if numeric(name) else user_tables.label(value, where)
            except ValueError as problem:
                raise TableError(str(problem)) from None
            if name in ("layer", "head"):
                if not float(row[name]).is_integer():
                    raise TableError(f"{where} is {value!r}; it must be a whole number")
                row[name] = int(row[name])
            elif name in ("model", "family") and not row[name]:
                raise TableError(f"{where} is empty")
        found.append(row)
    return found


def numeric(name):
    """Whether a column holds numbers."""
    return name in ("layer", "head") or name.startswith("delta_")
