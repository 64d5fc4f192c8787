"""Paired tests, permutation p-values, bootstrap intervals, false discovery rate.

Everything leans on scipy; every Monte Carlo p-value counts the observed value once more
(Phipson & Smyth 2010), so none is ever 0.
"""

import numpy as np
import pandas as pd
from scipy import special, stats

from circuit_reuse.stats import clusters as grouping


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


def paired_outcomes(first, second, resamples, seed, clusters=None):
    """P that paired outcomes, bool [example], are right equally often: McNemar's, or flips of clusters where examples share any.

    Flips of single examples are McNemar's test.
    """
    if grouping.number(clusters, len(first)) == len(first):
        return mcnemar(first, second)
    return sign_flip(first.astype(float) - second, resamples, seed, clusters)


def sign_flip(differences, resamples, seed, clusters=None):
    """Two-sided permutation p that paired differences have mean 0.

    differences: [example];  resamples: sign flips drawn; all 2^n if there are no more
    clusters:    [example], whose differences are flipped together;  returns: nan for too few of them
    """
    differences = np.asarray(differences, dtype=float)
    if grouping.too_few(clusters, len(differences)):
        return float("nan")
    differences = grouping.sums(differences, clusters)
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

    returns: (1 + number as extreme) / (number + 1); nan for a value that is not finite
    """
    if not np.isfinite(observed):
        return float("nan")
    null = np.asarray(null, dtype=float)
    # Equal but for the rounding of float32 is equal.
    slack = max(1e-9, 1e-6 * abs(float(observed)))
    # What is not a number counts as extreme.
    extreme = ~(null < observed - slack) if larger else ~(null > observed + slack)
    return float((1 + extreme.sum()) / (len(null) + 1))


def share_interval(right, clusters=None, level=0.95):
    """Wilson's interval of a share of examples, of the effective number of examples where these share clusters.

    right: bool [example];  returns: (low, high); (nan, nan) for too few clusters
    source: Wilson 1927; Korn & Graubard 1998 for the effective number
    """
    right = np.asarray(right, dtype=float)
    if not len(right) or grouping.too_few(clusters, len(right)):
        return float("nan"), float("nan")
    count, share, z = grouping.effective(right, clusters), right.mean(), stats.norm.ppf(0.5 + level / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # Never without the observed share.
    return float(min(max(middle - half, 0), share)), float(max(min(middle + half, 1), share))


def share_difference_interval(differences, level=0.95, clusters=None):
    """Interval of a mean of paired differences of shares, each between -1 and 1: of accuracies, example by example.

    Adjusted Wald: one example more that is lost and one that is gained.  With few examples and a difference near 0 it is
    wider than it need be; a bootstrap is empty there, as no example of those at hand was lost.
    clusters: [example]; where examples share them, the effective number of examples counts
    returns: (low, high), within -1 and 1; (nan, nan) without an example, or for too few clusters
    source:  Bonett & Price 2012, J. Educ. Behav. Stat. 37 (paired proportions)
    """
    found = np.asarray(differences, dtype=float)
    if not len(found) or grouping.too_few(clusters, len(found)):
        return float("nan"), float("nan")
    independent = grouping.effective(found, clusters)
    count = independent + 2
    mean = found.mean() * independent / count
    spread = np.sqrt(((found**2).mean() * independent + 2) / count - mean**2)
    half = stats.norm.ppf(0.5 + level / 2) * spread / np.sqrt(count)
    # Never without the observed mean.
    low, high = min(mean - half, found.mean()), max(mean + half, found.mean())
    return float(max(low, -1)), float(min(high, 1))


def bootstrap(columns, statistic, resamples, seed, level=0.95, clusters=None):
    """Expanded BCa interval over draws of the examples, with replacement; of clusters where examples share any.

    columns:   arrays [example]; examples are drawn whole, so what is paired stays paired
    statistic: function of the columns and an axis; with clusters, one of ratios of means, as sums of clusters are
               averaged in their place
    clusters:  [example], or None where each example is its own
    returns:   (low, high), never without the observed value; (nan, nan) where that is undefined, or for too few clusters
    source:    BCa: Efron 1987; expanded to the width of Student's t for few examples:
               Hesterberg 2015
    """
    columns = [np.asarray(column, dtype=float) for column in columns]
    few = grouping.too_few(clusters, len(columns[0]))
    columns = [grouping.sums(column, clusters) for column in columns]
    count = len(columns[0])
    if count < 2 or few:
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = float(statistic(*columns, axis=0))
        drawn = stats.bootstrap(
            tuple(columns),
            statistic,
            paired=len(columns) > 1,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, 2**22 // count),
            # Only the draws are used, so the cheapest of scipy's own intervals will do.
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
        without = left_out(columns, statistic)
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(observed) or not len(drawn):
        return float("nan"), float("nan")
    tails = bca_tails(observed, drawn, without, expanded(level, count))
    # Weibull's quantiles leave out as many draws beyond them as the tails say.
    low, high = np.quantile(drawn, tails, method="weibull")
    return float(min(low, observed)), float(max(high, observed))


def left_out(columns, statistic):
    """[example], the statistic without each of the examples in turn."""
    count = len(columns[0])
    others = np.arange(count - 1)
    # In parts, so that many examples need little memory.
    parts = np.array_split(np.arange(count), -(-(count**2) // 2**22))
    rows = [others + (others >= part[:, None]) for part in parts]
    return np.concatenate([statistic(*(c[row] for c in columns), axis=1) for row in rows])


def expanded(level, count):
    """The level to ask of a bootstrap of `count` examples for an interval of `level`.

    Draws of n examples vary by (n - 1) / n too little, and the normal distribution has shorter
    tails than Student's t: the level is raised by as much (Hesterberg 2015, section 5.3).
    """
    wide = stats.t.ppf((1 + level) / 2, count - 1) * np.sqrt(count / (count - 1))
    return float(1 - 2 * special.ndtr(-wide))


def bca_tails(observed, drawn, without, level):
    """Which two quantiles of the draws bound a BCa interval.

    without: [example], the statistic without each example;  source: Efron 1987
    """
    # Equal draws count half, which keeps statistics of few values unbiased.
    slack = 1e-12 * max(1.0, abs(observed))
    below = np.mean(drawn < observed - slack)
    share = (below + np.mean(drawn <= observed + slack)) / 2
    bias = special.ndtri(np.clip(share, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    influence = np.mean(without) - without if np.isfinite(without).all() else np.zeros(1)
    spread = np.sum(influence**2) ** 1.5
    acceleration = np.sum(influence**3) / (6 * spread) if spread > 0 else 0.0
    # The least level there is would be infinitely many standard deviations out.
    end = min(-special.ndtri((1 - level) / 2), 37.0)
    moved = bias + np.array([-end, end])
    stretch = np.maximum(1 - acceleration * moved, 1e-3)
    return special.ndtr(bias + moved / stretch)


def mean_interval(values, resamples, seed, level=0.95, clusters=None):
    """Bootstrap interval of a mean over examples, which may share clusters."""
    if grouping.number(clusters, len(values)) == len(values):
        return bootstrap((values,), lambda column, axis: column.mean(axis=axis), resamples, seed, level)
    columns = (values, np.ones(len(values)))
    return bootstrap(
        columns, lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis), resamples, seed, level, clusters
    )


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


def label_permutation(similarity, labels, resamples, seed, clusters=None):
    """Whether examples of one label are more alike: p of the mean difference.

    similarity: [example, example];  labels: [example]
    clusters:   [example]; labels that differ within clusters are permuted within them, others move with whole clusters; labels that
                are the clusters themselves are permuted over examples, as the question is then whether clusters matter
    returns:    one-sided p of (mean within labels - mean between), labels permuted; None
                if there is only one label, every example has its own, or too few clusters could be moved
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
    shuffled = shuffle_of(labels, clusters, rng)
    if shuffled is None:
        return None
    return rank_p(difference(labels), [difference(shuffled()) for _ in range(resamples)])


def shuffle_of(labels, clusters, rng):
    """A function that permutes labels in the way that clusters allow; None for too few of them.  labels: [example], from 0"""
    if clusters is None:
        return lambda: rng.permutation(labels)
    clusters = np.unique(np.asarray(clusters), return_inverse=True)[1]
    pairs = len(set(zip(labels.tolist(), clusters.tolist(), strict=True)))
    count = clusters.max() + 1
    if pairs == count == len(set(labels.tolist())) or count == len(labels):
        return lambda: rng.permutation(labels)
    if pairs > count:
        order = np.argsort(clusters, kind="stable")
        # Examples of a cluster change places among themselves.
        return lambda: permuted_within(labels, clusters, order, rng)
    if grouping.too_few(clusters, len(labels)):
        return None
    of_cluster = np.zeros(count, dtype=int)
    of_cluster[clusters] = labels
    return lambda: rng.permutation(of_cluster)[clusters]


def permuted_within(labels, clusters, order, rng):
    """Labels permuted within each cluster; order: examples by cluster."""
    found = labels.copy()
    found[order] = labels[np.lexsort((rng.random(len(labels)), clusters))]
    return found


def with_q(table, p_value, within=(), where=None, once=()):
    """The table with Benjamini-Hochberg q-values of a column of p-values: q_x for p_x, and q_family, what they are over.

    within:  columns; each of their values is a family of its own, and all rows are one family without them.
             A family holds hypotheses of one kind: certain positives among others would make these look sure, too
    where:   bool [row], the rows that belong to a family; the others get none
    once:    columns that name a hypothesis: its rows count once, and share their q
    """
    values = table[p_value].astype(float) if p_value in table else pd.Series(np.nan, table.index)
    if where is not None:
        values = values.where(where)
    if once:
        values = values.where(~table.duplicated(list(once)))
    families = (
        values.groupby([table[name] for name in within], dropna=False).groups.values() if within else [table.index]
    )
    found = pd.Series(np.nan, table.index)
    for rows in families:
        found[rows] = false_discovery(values[rows].to_numpy())
    if once:
        found = found.groupby([table[name] for name in once], dropna=False).transform("first")
    labels = table[list(within)].astype(object).fillna("none") if within else table[[]]
    family = [", ".join(map(str, row)) for row in labels.to_numpy()] if within else "all"
    return table.assign(**{f"q_{p_value.removeprefix('p_')}": found, "q_family": family})


def plain(value):
    """A Python number, None for one that is undefined."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def clean(row):
    """A row, {column: value}, with plain values."""
    return {name: plain(value) for name, value in row.items()}
