"""Head scans as arrays; no model and no torch."""

from circuit_reuse.data import components
from circuit_reuse.stats import clusters


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


def units(scan_table, split, replacement, column="delta"):
    """What a scan's statistics rest on: (units [unit, head], whether they are too few, names, number of examples).

    Units are clusters of examples (stats.clusters.units) on the held-out split.  On the train split, which chooses heads
    and tests nothing, every example is one.
    """
    values, names = matrix(scan_table, split, replacement, column)
    labels = None
    if split != "train" and len(values):
        rows = scan_table[(scan_table["split"] == split) & (scan_table["replacement"] == replacement)]
        labels = rows.drop_duplicates("example").sort_values("example")["cluster"]
    return clusters.units(values, labels), clusters.too_few(labels, len(values)), names, len(values)
