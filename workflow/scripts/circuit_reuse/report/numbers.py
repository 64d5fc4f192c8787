"""Numbers, intervals, p-values and lists of names, formatted the same in every study."""

import numpy as np

# Names in a row, and rows in sentences, before the rest is counted.
MOST = 4


def number(value, digits=None):
    """A number with three significant digits or so many decimals, a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "-"
    # z: a number that is rounded to 0 has no sign.
    if digits is not None:
        return f"{value:z.{digits}f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:z.3g}"


def percent(share):
    """A share from 0 to 1 as per cent."""
    return "-" if share is None or not np.isfinite(share) else f"{100 * share:z.0f} %"


def hundred(share):
    """A share as per cent, three digits and no sign."""
    return "-" if share is None else number(100 * share)


def interval(row, name, written=number, unit=""):
    """A value with its 95 % interval, or the word that there is none; written: how each number is printed, unit: what follows it."""
    if not np.isfinite([row[f"{name}_low"], row[f"{name}_high"]]).all():
        return f"{written(row[name])}{unit} (no interval, too few clusters)"
    return f"{written(row[name])}{unit} [{written(row[f'{name}_low'])}, {written(row[f'{name}_high'])}]"


def small(value):
    """A p-value or q-value in a cell: `0.013`, `< 0.001`, or a dash."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:.2g}" if value >= 0.001 else "< 0.001"


def p_text(name, value):
    """The same in a sentence: `q = 0.013`, or `q < 0.001`."""
    text = small(value)
    return f"no {name}" if text == "-" else f"{name} {text}" if text.startswith("<") else f"{name} = {text}"


def span(values, unit=""):
    """`3 to 7 %` of some values."""
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return "-"
    low, high = number(min(values)), number(max(values))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def k_label(top_k):
    """How a K is called: K = 8, or K = 10 %."""
    return f"K = {top_k:g}" if top_k >= 1 else f"K = {100 * top_k:g} %"


def listed(names):
    """Names in a row, the first few of many."""
    names = list(names)
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def more(rows):
    """How many rows are not shown."""
    return f"{len(rows) - MOST} more are in the tables." if len(rows) > MOST else ""
