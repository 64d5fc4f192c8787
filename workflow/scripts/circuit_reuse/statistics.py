"""Paired tests, permutation p-values, bootstrap intervals, false discovery rate.

Everything leans on scipy; every Monte Carlo p-value counts the observed value once more
(Phipson & Smyth 2010), so none is ever 0.
"""

import numpy as np
from scipy import stats


def mcnemar(first, second):
    """Exact two-sided McNemar test of paired outcomes.

    first, second: [example], bool;  returns: p, 1 if the two never differ
    source: McNemar 1947; the exact form is a binomial test of the discordant pairs
    """
    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(second & ~first))
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    return float(stats.binomtest(only_first, discordant, 0.5).pvalue)


def sign_flip(differences, resamples, seed):
    """Two-sided permutation p that paired differences have mean 0.

    differences: [example];  resamples: sign flips drawn; all 2^n if there are no more
    """
    differences = np.asarray(differences, dtype=float)
    if not np.any(differences):
        return 1.0
    result = stats.permutation_test(
        (differences,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        n_resamples=resamples,
        batch=max(1, 2**22 // max(1, len(differences))),
        vectorized=True,
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def rank_p(observed, null, larger=True):
    """Rank of a value among those of the controls, as a one-sided p.

    returns: (1 + number as extreme) / (number + 1)
    """
    null = np.asarray(null, dtype=float)
    slack = 1e-9 * max(1.0, abs(float(observed)))
    extreme = null >= observed - slack if larger else null <= observed + slack
    return float((1 + extreme.sum()) / (len(null) + 1))


def bootstrap(columns, statistic, resamples, seed, level=0.95):
    """Percentile interval over draws of the examples, with replacement.

    columns:   arrays [example]; examples are drawn whole, so what is paired stays paired
    statistic: function of the columns and an axis
    returns:   (low, high); (nan, nan) where the statistic is undefined in every draw
    source:    Efron 1979
    """
    if len(columns[0]) < 2:
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = stats.bootstrap(
            tuple(np.asarray(column, dtype=float) for column in columns),
            statistic,
            paired=len(columns) > 1,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, 2**22 // len(columns[0])),
            confidence_level=level,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    tail = 50 * (1 - level)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def mean_interval(values, resamples, seed, level=0.95):
    """Percentile bootstrap interval of a mean over examples."""
    return bootstrap((values,), lambda column, axis: column.mean(axis=axis), resamples, seed, level)


def false_discovery(p_values):
    """Benjamini-Hochberg adjusted p-values; missing ones stay missing.

    source: Benjamini & Hochberg 1995
    """
    p_values = np.asarray(p_values, dtype=float)
    known = ~np.isnan(p_values)
    result = np.full(p_values.shape, np.nan)
    if known.any():
        result[known] = stats.false_discovery_control(p_values[known], method="bh")
    return result


def label_permutation(similarity, labels, resamples, seed):
    """Whether examples of one label are more alike: p of the mean difference.

    similarity: [example, example];  labels: [example]
    returns:    one-sided p of (mean within labels - mean between), labels permuted; None
                if there is only one label or every example has its own
    source:     Clarke 1993 (ANOSIM), with means for ranks
    """
    labels = np.unique(labels, return_inverse=True)[1]
    if len(set(labels)) < 2 or len(set(labels)) == len(labels):
        return None
    upper = np.triu_indices(len(labels), 1)
    values = similarity[upper]

    def difference(order):
        same = order[upper[0]] == order[upper[1]]
        return values[same].mean() - values[~same].mean()

    rng = np.random.default_rng(seed)
    null = [difference(rng.permutation(labels)) for _ in range(resamples)]
    return rank_p(difference(labels), null)
