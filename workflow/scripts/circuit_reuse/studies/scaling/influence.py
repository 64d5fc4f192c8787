"""Do strong heads carry what differs between the prompts?  Strength in the scan against traced influence, over heads."""

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse.stats import clusters, statistics
from circuit_reuse.stats.circuits import generator
from circuit_reuse.stats.statistics import clean
from circuit_reuse.studies.scaling import trends

# Random orders behind a p, and draws of layers behind an interval.
DRAWS = 1999
WITHIN = "correlation_within_layers"
COLUMNS = f"task direction part model n_heads same correlation {WITHIN} {WITHIN}_low {WITHIN}_high p_value".split()
# Parts that heads of a group share in a model with fewer keys and values than heads.
SHARED = ("k", "v")


def table_of(tracing, heads, replacement, about, seed):
    """influence.csv: rank correlation over heads of strength (train scan) and size of traced influence.

    Heads of a layer are alike, and both may grow with depth: the p and interval are those of the correlation within layers (ranks less
    the mean of their layer), of heads permuted within their layers and of layers drawn again.  A key or value that heads share counts once, with their mean strength.  Where the scan replaces
    heads by their corrupt output, tracing z from corrupt into clean is the same intervention: `same` marks it, a reliability and no finding.
    tracing: tracing.csv;  heads: the heads tables;  about: {model: description}
    returns: one row a model, task, direction and part, and one over all models, in which heads
             count by their rank within their model
    """
    train = heads[(heads["split"] == "train") & (heads["replacement"] == replacement)]
    whole = tracing[tracing["head"].notna() & tracing["role"].isna()]
    merged = whole.merge(train[["model", "layer", "head", "strength"]].dropna(), on=["model", "layer", "head"])
    # Where no head was traced, there is no row; columns without a value may be of any kind, so nothing is computed with them.
    rows = rows_of(merged, replacement, about, seed) if len(merged) else []
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    # A reliability is a certain positive, and rows over all models hold those of each.
    table["over"] = np.where(
        table["same"].astype(bool), "reliability", np.where(table["model"] == "all", "all models", "a model")
    )
    return statistics.with_q(table, "p_value", within=("over",))


def rows_of(merged, replacement, about, seed):
    """Rows of the table, from those of tracing with the strength of each head beside."""
    merged = once_a_group(merged.assign(size=merged["influence"].abs()), about)
    for column in ("strength", "size"):
        ranks = merged.groupby(["model", "task", "direction", "part"])[column].rank(pct=True)
        merged[f"{column}_rank"] = ranks
    rows = []
    keys = ["task", "direction", "part"]
    for label, columns in (("model", ["strength", "size"]), ("all", ["strength_rank", "size_rank"])):
        by = ["model", *keys] if label == "model" else keys
        for values, part in merged.groupby(by, sort=False):
            row = dict(zip(by, values, strict=True)) | {"n_heads": len(part)}
            row["model"] = row.get("model", "all")
            row["same"] = replacement == "corrupt" and (row["part"], row["direction"]) == ("z", "corrupt")
            layers = part.groupby(["model", "layer"], sort=False).ngroup().to_numpy()
            rng = generator(seed, "influence", *map(str, (row["model"], *values)))
            rows.append(clean(row | association(*(part[name] for name in columns), layers, rng)))
    return rows


def once_a_group(rows, about):
    """Rows of keys and values that several heads share as one, with the mean strength of these heads."""
    shared_by = rows["model"].map({model: each["heads"] // each["kv_heads"] for model, each in about.items()})
    shared_by = shared_by.where(rows["part"].isin(SHARED), 1)
    group = rows["head"] // shared_by
    keys = ["model", "task", "direction", "part", "layer"]
    found = rows.assign(head=group).groupby([*keys, "head"], sort=False, as_index=False)
    return found.agg({"strength": "mean", "size": "mean"})


def association(first, second, layers, rng):
    """Rank correlation of two columns over heads, that within layers, its p and its interval; nothing for fewer than four heads.

    layers: [head] number of the layer of each, over all models
    """
    first, second = (np.asarray(column, dtype=float) for column in (first, second))
    if len(first) < trends.FEWEST or not np.ptp(first) or not np.ptp(second):
        return {}
    ranks = [stats.rankdata(column) for column in (first, second)]
    found = {"correlation": float(trends.pearson(*ranks))}
    ranks = [trends.within(layers, column) for column in ranks]
    # Where every layer has one head, or heads of a layer are equal, there is nothing within layers.
    if min(np.ptp(column) for column in ranks) < 1e-9:
        return found
    observed = found[WITHIN] = float(trends.pearson(*ranks))
    null = trends.pearson(ranks[0][None], ranks[1][trends.permutations(layers, DRAWS, rng)])
    found["p_value"] = trends.two_sided(observed, null) if np.ptp(null) > 1e-12 else None
    if not clusters.too_few(layers, len(first)):
        low, high = np.nanpercentile(redrawn(*ranks, layers, rng), [2.5, 97.5])
        found |= {f"{WITHIN}_low": min(float(low), observed), f"{WITHIN}_high": max(float(high), observed)}
    return found


def redrawn(first, second, layers, rng):
    """The correlation where whole layers are drawn with replacement, [draw]."""
    ones = np.ones(len(first))
    sums = clusters.sums(np.stack([ones, first, second, first**2, second**2, first * second], axis=1), layers)
    times = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=DRAWS)
    count, *means = (times @ sums).T
    x, y, xx, yy, xy = (each / count for each in means)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (xy - x * y) / np.sqrt((xx - x**2) * (yy - y**2))
