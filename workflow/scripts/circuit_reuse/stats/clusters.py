"""Clusters of examples that are near copies of one another: the units of intervals and tests.

Twenty prompts that begin in the same month say little more than one.  Where examples share clusters, a sum over
each cluster takes the place of its examples; where each example is a cluster of its own, nothing changes.
source: Cameron & Miller 2015, J. Hum. Resour. 50 (cluster-robust inference)
"""

import numpy as np
from scipy import stats

# With fewer clusters no p of sign flips can be below .05, and no interval holds its level.
FEWEST = 6
# Added to the squares between clusters of shares: where few examples are lost, few clusters show too little of their spread
# (docs/validation.md simulates it).
UNSEEN = 0.1


def numbered(clusters, count):
    """[example] numbers of the clusters from 0, and how many there are.

    clusters: [example] labels, or None where each example is its own;  count: of the examples
    """
    if clusters is None:
        return np.arange(count), count
    labels, numbers = np.unique(np.asarray(clusters).astype(str), return_inverse=True)
    return numbers, len(labels)


def number(clusters, count):
    """How many clusters there are."""
    return numbered(clusters, count)[1]


def too_few(clusters, count):
    """Whether examples share so few clusters that these carry neither a p nor an interval."""
    return few(number(clusters, count), count)


def few(n_clusters, n_examples):
    """The same from their numbers, or columns of these."""
    return n_clusters < np.minimum(FEWEST, n_examples)


def sums(values, clusters):
    """Sums over each cluster, [cluster, ...], of values [example, ...]."""
    values = np.asarray(values, dtype=float)
    numbers, groups = numbered(clusters, len(values))
    found = np.zeros((groups, *values.shape[1:]))
    np.add.at(found, numbers, values)
    return found


def means(values, clusters):
    """Means over each cluster, [cluster, ...], of values [example, ...]: one value a cluster, whatever its size."""
    return sums(values, clusters) / sums(np.ones(len(values)), clusters).reshape(-1, *[1] * (np.ndim(values) - 1))


def units(values, clusters):
    """Independent units whose mean is that of the examples, and whose spread is that between clusters: [cluster, ...].

    values: [example, ...].  Each unit is the mean plus what its cluster's examples add to it; so the standard error of
    the units' mean is the cluster-robust one.  The values themselves where each example is its own cluster.
    """
    values = np.asarray(values, dtype=float)
    groups = number(clusters, len(values))
    if groups == len(values):
        return values
    mean = values.mean(axis=0)
    return mean + groups / len(values) * sums(values - mean, clusters)


def standard_error(values, clusters):
    """Cluster-robust standard error of the mean over examples of values [example, ...]; nan for one cluster."""
    found = units(values, clusters)
    if len(found) < 2:
        return np.full(found.shape[1:], np.nan)
    return found.std(axis=0, ddof=1) / np.sqrt(len(found))


def effective(values, clusters):
    """How many independent examples would say as much about a mean as these do, at most as many as there are.

    values: [example], shares from -1 to 1.  By the ratio of the variances of the mean, with and without clusters (the design effect of
    Kish 1965), at least the number of clusters; and fewer by as much as Student's t of few clusters is wider (Korn &
    Graubard 1998).  Values without spread show no design effect: then clusters count as one example each.
    """
    values = np.asarray(values, dtype=float)
    count = len(values)
    groups = number(clusters, count)
    if groups == count or groups < 2:
        return float(groups)
    independent = values.var(ddof=1) / count
    found = units(values, clusters)
    robust = (((found - found.mean()) ** 2).sum() + UNSEEN) / groups**2
    found = groups if independent == 0 else np.clip(count * independent / max(robust, 1e-300), groups, count)
    narrower = stats.t.ppf(0.975, count - 1) / stats.t.ppf(0.975, groups - 1)
    return float(found * narrower**2)


def means_by(frame, value, keys, level=0.95):
    """Mean of a column within groups, with its standard error over clusters and Student's t interval.

    frame:   rows with the columns value, cluster and keys, an example each
    returns: a DataFrame with the keys and n_examples, n_clusters, mean, standard_error, low, high, nan for too few clusters
    """
    grouped = frame.groupby(keys, dropna=False, sort=False, observed=True)
    found = grouped.agg(
        n_examples=(value, "size"), n_clusters=("cluster", "nunique"), mean=(value, "mean")
    ).reset_index()
    apart = frame.assign(apart=frame[value] - grouped[value].transform("mean"))
    added = apart.groupby([*keys, "cluster"], dropna=False, sort=False, observed=True)["apart"].sum().reset_index()
    squares = added.assign(apart=added["apart"] ** 2).groupby(keys, dropna=False, sort=False, observed=True)["apart"]
    number, count = found["n_clusters"], found["n_examples"]
    error = np.sqrt(number / (number - 1).where(number > 1) * squares.sum().to_numpy()) / count
    found["standard_error"] = error.where(number >= count.clip(upper=FEWEST))
    half = stats.t.ppf(0.5 + level / 2, (number - 1).clip(lower=1)) * found["standard_error"]
    return found.assign(low=found["mean"] - half, high=found["mean"] + half)
