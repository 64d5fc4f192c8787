"""Head scans as arrays; no model and no torch."""

from circuit_reuse.data import components


def matrix(scan_table, split, replacement, column="delta"):
    """A scan as an array [example, head], with its heads in the order of the computation.

    returns: (values, names); no rows if the split or replacement has none
    """
    rows = scan_table[(scan_table["split"] == split) & (scan_table["replacement"] == replacement)].astype(
        {"component": str}
    )
    wide = rows.pivot(index="example", columns="component", values=column)
    names = sorted(wide.columns, key=components.order)
    return wide[names].to_numpy(float), names
