"""Planted circuits over seeds: means, intervals, the commonest reason for a miss."""

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse.data import csv_tables, tables
from circuit_reuse.report import style
from circuit_reuse.validate import plots_planted, schemas


def run(job):
    """CSV of all rows, means with intervals, and a figure of the areas."""
    rows = tables.read_all(job.input.planted, schemas.PLANTED)
    csv_tables.write(job.output.planted, rows, schemas.CSVS["planted"])
    found = over_seeds(rows)
    csv_tables.write(job.output.summary, found, schemas.CSVS["planted_summary"])
    figures = job.cfg["figures"]
    style.save(plots_planted.planted(found), job.output.figures[0], figures["formats"], figures["dpi"])
    for line in found[found["auroc"] < 1].itertuples():
        job.log.info("%s on %s: AUROC %.3f; %s", line.method, line.model, line.auroc, line.why)


def over_seeds(rows):
    """Mean and interval over seeds by model and method, with the commonest reason.

    rows: a DataFrame of the planted table
    """
    found = []
    for (model, method), part in rows.groupby(["model", "method"], sort=False):
        line = {"model": model, "method": method, "n_seeds": len(part)}
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
