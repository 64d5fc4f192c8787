"""The columns of a joint table of heads; standard library only, read before any job."""

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
