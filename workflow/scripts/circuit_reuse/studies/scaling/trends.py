"""What one model adds to the scaling curves: correlation of the tasks, strong heads, depths."""

import numpy as np
from scipy import stats

from circuit_reuse.stats import statistics
from circuit_reuse.stats.circuits import generator
from circuit_reuse.stats.statistics import clean
from circuit_reuse.studies.scaling import classes
from circuit_reuse.studies.scaling.head_effects import matrix, units
from circuit_reuse.studies.scaling.schemas import SIDES


def pearson(first, second, axis=-1):
    """Pearson correlation along an axis; nan where one of the two does not vary."""
    first = first - first.mean(axis=axis, keepdims=True)
    second = second - second.mean(axis=axis, keepdims=True)
    norm = np.sqrt((first**2).sum(axis=axis) * (second**2).sum(axis=axis))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norm > 0, (first * second).sum(axis=axis) / norm, np.nan)


def within(groups, values):
    """Values less the mean of their group, [..., head]; groups: [head]."""
    values, result = np.asarray(values, dtype=float), np.empty_like(values, dtype=float)
    for group in np.unique(groups):
        mine = groups == group
        result[..., mine] = values[..., mine] - values[..., mine].mean(axis=-1, keepdims=True)
    return result


def permutations(groups, draws, rng):
    """Random orders of heads that keep each within its group, [draw, head].

    groups: [head] integers; equal ones for no constraint
    """
    groups = np.asarray(groups)
    slots = np.argsort(groups, kind="stable")
    mixed = np.lexsort((rng.random((draws, len(groups))), np.broadcast_to(groups, (draws, len(groups)))))
    result = np.empty_like(mixed)
    result[:, slots] = mixed
    return result


def two_sided(observed, null):
    """Permutation p that counts both tails, from the null's own middle; the observed once more."""
    null = null[np.isfinite(null)]
    if not np.isfinite(observed) or not len(null):
        return float("nan")
    middle = null.mean()
    return statistics.rank_p(abs(observed - middle), np.abs(null - middle))


def selected(first, second, k):
    """The correlation after the rule of the published study.

    The k most negative deltas of each task are kept, the union of heads is the table, and what
    was not kept is 0 (reference: joint table of Circuit-Scaling).
    first, second: [..., head];  returns: [...]
    """
    kept = [most_negative(values, k) for values in (first, second)]
    union = kept[0] | kept[1]
    count = np.maximum(union.sum(axis=-1, keepdims=True), 1)
    parts = []
    for values, keep in zip((first, second), kept, strict=True):
        filled = np.where(keep, values, 0.0)
        parts.append(np.where(union, filled - filled.sum(axis=-1, keepdims=True) / count, 0.0))
    norm = np.sqrt((parts[0] ** 2).sum(axis=-1) * (parts[1] ** 2).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norm > 0, (parts[0] * parts[1]).sum(axis=-1) / norm, np.nan)


def most_negative(values, k):
    """Which k of each row are the lowest, [..., head] bool; ties go to the earlier head."""
    order = np.argsort(values, axis=-1, kind="stable")[..., :k]
    keep = np.zeros(values.shape, dtype=bool)
    np.put_along_axis(keep, order, True, axis=-1)
    return keep


def resampled_means(values, draws, rng):
    """Means over examples, or units that clusters are, drawn with replacement: [draw, head] from [unit, head]."""
    count = len(values)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=draws) / count
    return weights @ values


def corrected(first, second, noise, times=1):
    """Correlation over heads corrected for attenuation by the noise of their means (Spearman 1904).

    first, second: [..., head] mean deltas;  noise: variance of the error of a mean around that of all heads, for each task
    times:         how often that noise is in the means; twice where examples were drawn again
    returns:       [...], nan where noise is all there is
    """
    middle = [part - part.mean(axis=-1, keepdims=True) for part in (first, second)]
    together = (middle[0] * middle[1]).mean(axis=-1)
    left = [(m**2).mean(axis=-1) - times * e for m, e in zip(middle, noise, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = together / np.sqrt(left[0] * left[1])
    return np.where((left[0] > 0) & (left[1] > 0), np.clip(found, -1, 1), np.nan)


def noise_of(values):
    """Variance of the error of a head's mean over units [unit, head], around that of all heads, mean over heads.

    A correlation over heads is around their mean, too: what a unit adds to all heads alike is no error of it.
    """
    centred = values - values.mean(axis=1, keepdims=True)
    return float((centred.var(axis=0, ddof=1) / len(centred)).mean())


# With fewer heads a correlation says nothing.
FEWEST = 4


def correlations(values, rows, cfg, drawn, rng):
    """The columns of the model_trends table about the correlation of the two tasks.

    values: [unit, head] of each task (head_effects.units);  rows: the heads;  drawn: [draw, head] of each task
    """
    first, second = (part.mean(axis=0) for part in values)
    if len(first) < FEWEST:
        return {}
    noise = [noise_of(part) for part in values]
    found = {"correlation": float(pearson(first, second))}
    observed, k = found["correlation"], max(1, round(cfg["selection"] * len(rows)))
    found["corrected"] = float(corrected(first, second, noise))
    draws = corrected(*drawn, noise, times=2)
    if np.isfinite(draws).mean() > 0.5 and np.isfinite(found["corrected"]):
        low, high = np.nanpercentile(draws, [2.5, 97.5])
        found["corrected_low"] = float(min(low, found["corrected"]))
        found["corrected_high"] = float(max(high, found["corrected"]))
    if np.ptp(first) > 0 and np.ptp(second) > 0:
        found["spearman"] = float(stats.spearmanr(first, second).statistic)
    rest = np.delete(np.arange(len(first)), np.argmax(np.abs(first) + np.abs(second)))
    found["without_strongest"] = float(pearson(first[rest], second[rest]))
    order = permutations(np.zeros(len(first)), cfg["draws"], rng)
    found["p_correlation"] = two_sided(observed, pearson(first[None], second[order]))
    # Heads permuted within layers leave what lies between layers as it is, so this tests the correlation within them.
    layers = rows["layer"].to_numpy()
    inside, other = within(layers, first), within(layers, second)
    layered = permutations(layers, cfg["draws"], rng)
    found["correlation_within_layers"] = float(pearson(inside, other))
    found["p_within_layers"] = two_sided(found["correlation_within_layers"], pearson(inside[None], other[layered]))
    null = selected(np.broadcast_to(first, order.shape), second[order], k)
    found["selected"] = float(selected(first, second, k))
    found["p_selected"] = two_sided(found["selected"], null)
    null = null[np.isfinite(null)]
    if len(null):
        found["selected_null"] = float(null.mean())
        found["selected_null_low"], found["selected_null_high"] = np.percentile(null, [2.5, 97.5])
    return found


def model_trends(scans, heads, replacement, cfg, stream):
    """A row of the model_trends table, on the held-out split.

    scans: (scan table of the first task, of the second);  heads: the heads table of the model
    cfg:   tau, unit, alpha, selection (share of heads that the study's rule keeps), draws,
           bootstrap
    """
    rng = generator(*stream, replacement, "trends")
    rows = heads[(heads["split"] == "held_out") & (heads["replacement"] == replacement)]
    train = heads[(heads["split"] == "train") & (heads["replacement"] == replacement)]
    held_out = [units(table, "held_out", replacement) for table in scans]
    values, few = [part for part, *_ in held_out], any(few for _, few, *_ in held_out)
    found = {"replacement": replacement, "n_heads": len(rows)}
    found["selected_k"] = max(1, round(cfg["selection"] * len(rows)))
    for side, table in zip(SIDES, scans, strict=True):
        correct, _ = matrix(table, "held_out", replacement, "base_correct")
        for name in (f"base_{side}", f"base_{side}_low", f"base_{side}_high"):
            found[name] = first_of(rows[name])
        found[f"accuracy_{side}"] = float(correct[:, 0].mean()) if correct.size else None
        found[f"reliability_{side}"] = float(pearson(*(t[f"delta_{side}"].to_numpy(float) for t in (train, rows))))
    found["able"] = all((found[f"base_{side}_low"] or 0) > 0 for side in SIDES)
    if any(not len(part) for part in values):
        return clean(found)
    drawn = [resampled_means(part, cfg["bootstrap"], rng) for part in values]
    found |= correlations(values, rows, cfg, drawn, rng)
    if few:
        found |= {"corrected_low": None, "corrected_high": None}
    return clean(found | strong_heads(rows, drawn, cfg))


def strong_heads(rows, drawn, cfg):
    """How many heads are strong in some task, and between which numbers examples leave it; nothing where no head was tested."""
    if rows[[f"q_value_{side}" for side in SIDES]].isna().any(axis=None):
        return {}
    there, counts = np.zeros(len(rows), dtype=bool), 0
    for side, means in zip(SIDES, drawn, strict=True):
        significant = rows[f"q_value_{side}"].to_numpy(float) <= cfg["alpha"]
        there |= significant & (np.abs(rows[f"effect_{side}"].to_numpy(float)) >= cfg["tau"])
        base, low = (first_of(rows[name]) or 0.0 for name in (f"base_{side}", f"base_{side}_low"))
        scale = classes.scale_of(cfg["unit"], base, low, rows[f"delta_{side}_standard_error"].to_numpy(float))
        counts = counts | (significant & (np.abs(means / scale) >= cfg["tau"]))
    low, high = np.percentile(counts.sum(axis=1), [2.5, 97.5])
    number = int(there.sum())
    return {
        "n_strong": number,
        "n_strong_low": min(number, int(np.floor(low))),
        "n_strong_high": max(number, int(np.ceil(high))),
    }


def first_of(column):
    """The value that all heads share, None if there is none."""
    value = column.iloc[0] if len(column) else np.nan
    return None if not np.isfinite(value) else float(value)


def depths(rows, cfg, stream):
    """Rows of the depths table for the held-out heads of one replacement.

    p_value: labels of heads permuted; two-sided
    """
    found = []
    depth = rows["depth"].to_numpy(float)
    for category in classes.CATEGORIES:
        mine = rows["category"].to_numpy() == category
        number = int(mine.sum())
        share = stats.binomtest(number, len(rows)).proportion_ci(method="wilson")
        row = {
            "category": category,
            "n_heads": number,
            "share": number / len(rows),
            "share_low": share.low,
            "share_high": share.high,
        }
        if number:
            rng = generator(*stream, category, "depth")
            low, high = statistics.mean_interval(depth[mine], cfg["bootstrap"], int(rng.integers(2**31)))
            order = permutations(np.zeros(len(rows)), cfg["draws"], rng)[:, :number]
            row |= {"depth": depth[mine].mean(), "depth_low": low, "depth_high": high}
            # Weak and uncertain heads are what the others leave.
            if category not in ("weak", "uncertain"):
                row["p_value"] = two_sided(depth[mine].mean(), depth[order].mean(axis=1))
        found.append(clean(row))
    return found
