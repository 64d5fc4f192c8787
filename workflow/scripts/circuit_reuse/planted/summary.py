"""Planted circuits over seeds: means, intervals, the commonest reason for a miss."""

import numpy as np
import pandas as pd
from scipy import stats


def over_seeds(rows):
    """Mean and interval over seeds by model and method, with the commonest reason.

    rows: a DataFrame of the planted table
    """
    found = []
    for (model, method), part in rows.groupby(["model", "method"], sort=False):
        line = {"model": model, "method": method, "seeds": len(part)}
        for column in ("auroc", "precision"):
            values = part[column].to_numpy(float)
            low, high = seed_interval(values)
            line |= {column: values.mean(), f"{column}_low": low, f"{column}_high": high}
        reasons = part["why"].dropna()
        line["why"] = reasons.mode()[0] if len(reasons) else ""
        found.append(line)
    return pd.DataFrame(found)


def seed_interval(values, level=0.95):
    """T interval of a mean over seeds, within [0, 1]; the value itself if all are equal."""
    if len(values) < 2 or values.std() == 0:
        return values[0], values[0]
    error = values.std(ddof=1) / np.sqrt(len(values))
    low, high = stats.t.interval(level, len(values) - 1, values.mean(), error)
    return max(0.0, low), min(1.0, high)
