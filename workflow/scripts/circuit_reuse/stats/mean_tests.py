"""Is a mean 0, and is it shown to be near 0?  Tests over independent units, for many columns at once.

Units are examples, or what clusters of them add up to (`clusters.units`).
"""

import numpy as np
from scipy import stats


def means(values, few=False):
    """Mean, standard error, t interval and test of the mean of each column of [unit, column].

    few:     whether the examples are too few clusters for all but the mean
    returns: dict of arrays [column]; p is 1 where every value is 0, nan where there are fewer
             than two units
    source:  Student 1908; p is the larger of Student's and that of Hall's transformation (1992,
             J. R. Stat. Soc. B 54), which takes off what skewness does to t: far out in the tail,
             where many heads are tested, Student's p of skewed deltas is several times too small
             (docs/scaling.md)
    """
    count = len(values)
    mean = values.mean(axis=0) if count else np.full(values.shape[1], np.nan)
    if count < 2 or few:
        nothing = np.full(mean.shape, np.nan)
        return {"mean": mean, "se": nothing, "low": nothing, "high": nothing, "p": nothing, "skewness": nothing}
    se = values.std(axis=0, ddof=1) / np.sqrt(count)
    half = stats.t.ppf(0.975, count - 1) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = values.std(axis=0)
        ratio, skew = mean / spread, ((values - mean) ** 3).mean(axis=0) / spread**3
        least = np.fmin(np.abs(ratio), np.abs(hall(ratio, skew, count))) * np.sqrt(count - 1)
        p = 2 * stats.t.sf(least, count - 1)
    return {
        "mean": mean,
        "se": se,
        "low": mean - half,
        "high": mean + half,
        "skewness": np.where(se == 0, 0.0, skew),
        "p": np.where(se == 0, np.where(mean == 0, 1.0, 0.0), p),
    }


def hall(ratio, skewness, count):
    """A mean over its spread, with what skewness does to Student's t taken off (Hall 1992)."""
    return ratio + skewness * ratio**2 / 3 + skewness**2 * ratio**3 / 27 + skewness / (6 * count)


def absent_p(deltas, base, tau, unit):
    """The p that a mean delta is at least tau away from 0, for each column: small where it is shown to be nearer.

    Two one-sided tests (Schuirmann 1987), the larger p of both doubled, so that it is as strict as a two-sided 95 per cent
    interval; each the larger of Student's and Hall's, as in `means`.  A share of the base is tested unit by unit, tau * base - delta and
    tau * base + delta, as the base is known no better than the delta (Fieller 1954).
    deltas: [unit, column];  base: [unit], the intact metric of the same units;  unit: in which tau is: base, logits or standard_errors
    """
    count, p = len(deltas), np.zeros(deltas.shape[1])
    if count < 2:
        return np.full(deltas.shape[1], np.nan)
    margin = tau * (means(deltas)["se"] if unit == "standard_errors" else 1.0)
    margin = tau * base[:, None] if unit == "base" else margin
    for sign in (1, -1):
        found = means(margin - sign * deltas)
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(count - 1)
            ratio = found["mean"] / (found["se"] * root)
            least = np.fmin(ratio, hall(ratio, found["skewness"], count)) * root
        above = np.where(found["se"] == 0, np.where(found["mean"] > 0, 0.0, 1.0), stats.t.sf(least, count - 1))
        p = np.maximum(p, above)
    return np.minimum(2 * p, 1)
