"""Faithfulness of circuits of every size: what the best nodes or edges keep of the metric.

Everything that a circuit leaves out takes its output in the corrupt run.  0 is the corrupt run, 1
the intact one.
"""

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from circuit_reuse.stats import circuits, statistics
from circuit_reuse.stats.testing import faithfulness_of, has_gap
from circuit_reuse.studies.reuse import schemas

# Shares of all nodes or edges that a circuit holds (Mueller et al. 2025, MIB).
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
RANKINGS = ("absolute", "signed", "random")


def order_of(scores, ranking, seed=0):
    """Places of nodes or edges, the first to be kept first.

    scores:  [component], mean score; signed: negative where corrupting it lowers the metric
    ranking: absolute (for CMD), signed (helpful ones first, for CPR) or random
    """
    if ranking == "random":
        return np.random.default_rng(seed).permutation(len(scores))
    return np.argsort(scores if ranking == "signed" else -np.abs(scores), kind="stable")


def members(order, sizes=SIZES):
    """Which places the circuit of each size holds, [size, component], bool."""
    found = np.zeros((len(sizes), len(order)), dtype=bool)
    for row, size in enumerate(sizes):
        found[row, order[: count(size, len(order))]] = True
    return found


def count(size, total):
    """Components of a circuit that holds a share of them: rounded down, as in MIB."""
    return int(size * total + 1e-9)


def plan(scores, signed, draws, stream):
    """Every circuit to be run: a list of (ranking, draw or None, size, member [component]).

    scores, signed: [component], for the absolute and for the signed ranking
    """
    found = []
    for ranking in RANKINGS:
        for draw in range(draws) if ranking == "random" else [None]:
            seed = circuits.seed(*stream, ranking, draw)
            rows = members(order_of(signed if ranking == "signed" else scores, ranking, seed))
            found += [(ranking, draw, size, row) for size, row in zip(SIZES, rows, strict=True)]
    return found


def curve(rows, runs, resamples, stream):
    """Faithfulness by ranking and size.

    rows:           a DataFrame: ranking, draw, share_kept, n_kept, example, metric
    runs:           clean and corrupt (metric of the intact and of the corrupt run) and clusters, Series by example
    returns:        a list of dicts: ranking, share_kept, n_kept, faithfulness with its interval, n_examples, n_clusters
    """
    found = []
    for (ranking, size), part in rows.groupby(["ranking", "share_kept"], sort=False):
        kept = part.groupby("example")["metric"].mean()
        full, floor = runs.clean[kept.index].to_numpy(), runs.corrupt[kept.index].to_numpy()
        clusters = runs.clusters[kept.index].to_numpy()
        seed = circuits.seed(*stream, ranking, size)
        columns = (kept.to_numpy(), floor, full)
        known = has_gap(floor, full)
        low, high = (
            statistics.bootstrap(columns, faithfulness_of, resamples, seed, clusters=clusters)
            if known
            else (None, None)
        )
        found.append(
            {
                "ranking": ranking,
                "share_kept": size,
                "n_kept": int(part["n_kept"].iloc[0]),
                "faithfulness": float(faithfulness_of(*columns, axis=0)) if known else None,
                "faithfulness_low": low,
                "faithfulness_high": high,
                "n_examples": len(kept),
                "n_clusters": len(set(clusters)),
            }
        )
    return found


def areas(rows, runs, resamples, stream):
    """CPR and CMD, and the random circuits' for comparison.

    CPR: area under faithfulness over sizes, circuits by signed score (more is better)
    CMD: area under |1 - faithfulness|, circuits by absolute score (less is better)
    returns: {name: (value, low, high)}
    source:  Mueller et al. 2025, section 3.2; sizes enter linearly, so large circuits weigh most

    CMD takes absolute values of means, so with few examples it comes out too large, and its
    bounds are a spread over resampled examples, not a confidence interval.
    """
    found = {}
    for name, ranking, gap in (
        ("cpr", "signed", False),
        ("cmd", "absolute", True),
        ("cpr_random", "random", False),
        ("cmd_random", "random", True),
    ):
        mine = rows[rows["ranking"] == ranking]
        # A random circuit is one ranking: the areas are averaged, not the curves.
        wide = mine.assign(draw=mine["draw"].astype(float).fillna(0)).pivot_table(
            index=["draw", "share_kept"], columns="example", values="metric"
        )
        full, floor = runs.clean[wide.columns].to_numpy(), runs.corrupt[wide.columns].to_numpy()
        if not has_gap(floor, full):
            found[name] = (None, None, None)
            continue

        def area(*columns, axis, gap=gap):
            *kept, floor, full = columns
            values = np.array([faithfulness_of(each, floor, full, axis) for each in kept])
            values = values.reshape(-1, len(SIZES), *values.shape[1:])
            return trapezoid(np.abs(1 - values) if gap else values, SIZES, axis=1).mean(axis=0)

        columns = (*wide.to_numpy(), floor, full)
        seed = circuits.seed(*stream, name)
        bounds = statistics.bootstrap(columns, area, resamples, seed, clusters=runs.clusters[wide.columns].to_numpy())
        found[name] = (float(area(*columns, axis=0)), *bounds)
    return found


def subsets(circuit, draws, stream):
    """For completeness and minimality: [(kind, left out of the circuit)].

    completeness: random halves of the circuit;  minimality: each component alone
    """
    rng = circuits.generator(*stream, "subsets")
    halves = [[name for name in circuit if rng.random() < 0.5] for _ in range(draws)]
    return [("completeness", half) for half in halves] + [("minimality", [n]) for n in circuit]


def share(metric, clean, corrupt):
    """Faithfulness of mean metrics as a number, NaN where the intact run is no better than the corrupt one."""
    return float(faithfulness_of(metric, corrupt, clean, axis=0)) if has_gap(corrupt, clean) else float("nan")


def frame(found, examples, metrics):
    """Rows of the curves table from circuits and their metrics.

    found:   what `plan` gave;  metrics: [circuit, example]
    """
    parts = []
    for (ranking, draw, size, member), values in zip(found, metrics, strict=True):
        parts.append(
            pd.DataFrame(
                {
                    "ranking": ranking,
                    "draw": draw,
                    "share_kept": size,
                    "n_kept": int(member.sum()),
                    "example": examples,
                    "metric": values,
                }
            )
        )
    result = pd.concat(parts, ignore_index=True)
    result["draw"] = result["draw"].astype("Int32")
    return result


def area_table(curves, by):
    """One row a model, task, method and level: the areas, and faithfulness of small circuits.

    curves: rows of the curves table;  by: the columns that name a curve
    """
    areas = [name for name in curves if name.startswith(("cpr", "cmd"))]
    table = curves.groupby(by, sort=False)[areas].first()
    for size in schemas.SMALL:
        rows = curves[(curves["ranking"] == "absolute") & (curves["share_kept"] == size)]
        table[f"faithfulness_at_{size:g}"] = rows.set_index(by)["faithfulness"]
    return table.reset_index()
