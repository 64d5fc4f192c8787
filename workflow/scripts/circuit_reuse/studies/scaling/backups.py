"""Backup heads: what losing a head does once the heroes are gone, beside what it does alone; no model and no torch.

A head that a scan calls absent may take over when others are lost (self-repair; McGrath et al. 2023, Wang et al. 2022).
"""

import numpy as np
import pandas as pd

from circuit_reuse.data import components, tables
from circuit_reuse.stats import clusters, mean_tests, statistics
from circuit_reuse.studies.scaling import schemas


def gone(sets, size):
    """The heroes that are removed: the strongest of all classes, at most `size` of them; [] where there are none."""
    rows = sets[
        (sets["ranking"] == "all") & sets["matching"].isna() & sets["problem"].isna() & (sets["n_heads"] <= size)
    ]
    return [] if rows.empty else list(rows.loc[rows["n_heads"].idxmax(), "components"])


def rows_of(runs, heads, side):
    """Rows of backups.csv of one model and task.

    runs:  the backup_runs table;  heads: held-out rows of the heads table, of the replacement
    side:  first or second, the place of the task among the two
    """
    wide = {
        name: runs.pivot(index="example", columns="component", values=name) for name in ("delta_alone", "delta_given")
    }
    names = sorted(map(str, wide["delta_given"].columns), key=components.order)
    alone, given = (wide[name][names].to_numpy(float) for name in ("delta_alone", "delta_given"))
    labels = runs.drop_duplicates("example").sort_values("example")["cluster"].astype(str)
    few = clusters.too_few(labels, len(labels))
    found, then = (mean_tests.means(clusters.units(values, labels), few) for values in (given - alone, given))
    states = heads.set_index(heads["component"].astype(str))[f"state_{side}"]
    for place, name in enumerate(names):
        layer, head = components.place(name)
        yield statistics.clean(
            {
                "component": name,
                "layer": layer,
                "head": head,
                "n_heroes": int(runs["n_heroes"].iloc[0]),
                "n_examples": len(alone),
                "n_clusters": clusters.number(labels, len(labels)),
                "state": states[name],
                "delta_alone": alone[:, place].mean(),
                "delta_given": given[:, place].mean(),
                "delta_given_low": then["low"][place],
                "delta_given_high": then["high"][place],
                "difference": found["mean"][place],
                "difference_low": found["low"][place],
                "difference_high": found["high"][place],
                "p_value": found["p"][place],
            }
        )


def called(table, alpha):
    """Whether each row is a backup: losing it is shown to hurt more once the heroes are gone, and then to hurt."""
    return (table["q_value"] <= alpha) & (table["difference"] < 0) & (table["delta_given_high"] < 0)


def table(paths, heads, cfg):
    """backups.csv over all models and tasks, without q.

    paths: {(model, task): file};  heads: held-out rows of the heads table of all models
    """
    parts = []
    for (model, task), path in paths.items():
        runs = tables.read(path, schemas.BACKUP_RUNS)
        if runs.empty:
            continue
        side = ("first", "second")[cfg["tasks"].index(task)]
        mine = heads[heads["model"] == model]
        parts += [{"model": model, "task": task} | row for row in rows_of(runs, mine, side)]
    frame = pd.DataFrame(parts)
    return frame if len(frame) else frame.assign(model=[], p_value=np.array([], dtype=float))
