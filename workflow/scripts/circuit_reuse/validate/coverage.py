"""How often each interval holds the truth."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse.stats import statistics, testing
from circuit_reuse.validate import cluster_nulls
from circuit_reuse.validate.worlds import clopper_pearson, stream

# Coverage may lie this far from what the interval says.
SLACK = 0.02


def skewed(rng, n):
    """Exponential with mean 0 and standard deviation 1; skewness 2."""
    return rng.exponential(size=n) - 1


def lift_columns(rng, n):
    """Right with the circuit removed, share right with controls removed, right intact."""
    ease = rng.normal(size=n)
    right = ease + 0.7 * rng.normal(size=(3, n)) > np.array([[0.3], [0], [-2]])
    control = rng.binomial(50, stats.norm.cdf((ease + 1) / 0.7)) / 50
    return right[0] & right[2], control * right[2], right[2]


def faithfulness_columns(noise):
    """A function that draws metrics: of the circuit alone, with all removed, intact."""

    def draw(rng, n):
        full, floor = 4 + 1.5 * noise(rng, n), noise(rng, n)
        return floor + 0.6 * (full - floor) + 0.8 * noise(rng, n), floor, full

    return draw


def mean_of(column, axis):
    """The statistic of statistics.mean_interval."""
    return column.mean(axis=axis)


def columns_of(noise):
    """A function that draws one column."""
    return lambda rng, n: (noise(rng, n),)


def normal(rng, n):
    """Normal with mean 0 and standard deviation 1."""
    return rng.normal(size=n)


def lost(share):
    """A function that draws the drop in accuracy of each example: a share of them is lost."""
    return lambda rng, n: (1.0 * (rng.random(n) < share),)


def few_lost(rng, n):
    """As lift_columns, near the boundary: one in twenty lost with the circuit removed, as with controls."""
    return rng.random(n) >= 0.05, (rng.random((20, n)) >= 0.05).mean(axis=0), np.ones(n)


def in_clusters(columns, groups, noise):
    """A function that draws columns with the clusters of their examples; of a cluster, examples are alike.

    columns: function of the noise that gives such a function;  groups: clusters, which examples fall into at random
    """

    def draw(rng, n):
        clusters = np.repeat(np.arange(groups), cluster_nulls.unequal(rng, n, groups))

        def alike(rng, n):
            common = noise(rng, groups)[clusters]
            return np.sqrt(cluster_nulls.ALIKE) * common + np.sqrt(1 - cluster_nulls.ALIKE) * noise(rng, n)

        return *columns(alike)(rng, n), clusters

    return draw


def lost_together(share):
    """As `lost`, with clusters of which some lose nearly all of their examples: a correlation of 0.3."""

    def draw(rng, n):
        clusters = np.repeat(np.arange(GROUPS), cluster_nulls.unequal(rng, n, GROUPS))
        often = rng.beta(share * 7 / 3, (1 - share) * 7 / 3, GROUPS)
        return 1.0 * (rng.random(n) < often[clusters]), clusters

    return draw


GROUPS = 12
IN_CLUSTERS = f"examples in {GROUPS} clusters"
SKEWED = "skewed (exponential)"
LOST = {"three in ten": 0.3, "one in ten": 0.1, "one in twenty": 0.05, "one in fifty": 0.02}


# Name of the interval, the data, function of a stream and n that draws columns, statistic.
INTERVALS = (
    ("mean effect", "normal", columns_of(normal), mean_of),
    ("mean effect", SKEWED, columns_of(skewed), mean_of),
    *(("accuracy drop", f"{name} lost", lost(share), mean_of) for name, share in LOST.items()),
    ("mean effect", f"normal, {IN_CLUSTERS}", in_clusters(columns_of, GROUPS, normal), mean_of),
    ("mean effect", f"{SKEWED}, {IN_CLUSTERS}", in_clusters(columns_of, GROUPS, skewed), mean_of),
    (
        "faithfulness",
        f"normal, {IN_CLUSTERS}",
        in_clusters(faithfulness_columns, GROUPS, normal),
        testing.faithfulness_of,
    ),
    *(
        (name, f"{word} lost, {IN_CLUSTERS}", lost_together(LOST[word]), mean_of)
        for name in ("accuracy drop", "accuracy")
        for word in ("three in ten", "one in ten")
    ),
    ("lift", "paired outcomes", lift_columns, testing.lift_of),
    ("lift", "one in twenty lost", few_lost, testing.lift_of),
    ("faithfulness", "normal", faithfulness_columns(normal), testing.faithfulness_of),
    ("faithfulness", SKEWED, faithfulness_columns(skewed), testing.faithfulness_of),
)


def coverage(datasets=1500, seed=0, counts=(16, 32, 64, 128), intervals=INTERVALS, level=0.95, draws=600):
    """How often the intervals hold the truth.

    returns: rows of interval, setting, n_examples, n_datasets, level, share (that hold it), low, high (of
             the share), width (median), and a verdict
    """
    rows = []
    for interval, data, draw, statistic in intervals:
        truth = true_value(interval, data)
        for n in counts:
            rng = stream(seed, "coverage", interval, data, n)
            ends = np.array(
                [
                    ends_of(interval, *divided(data, draw(rng, n)), statistic, draws, number, level)
                    for number in range(datasets)
                ]
            )
            held = np.sum((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
            low, high = clopper_pearson(held, datasets)
            common = {"interval": interval, "setting": data, "n_examples": n, "n_datasets": datasets}
            found = {"level": level, "share": float(held / datasets), "share_low": low, "share_high": high}
            width = float(np.nanmedian(ends[:, 1] - ends[:, 0]))
            rows.append(common | found | {"width": width, "verdict": coverage_verdict(found)})
    return pd.DataFrame(rows)


def divided(data, columns):
    """The columns and the clusters of the examples, which come last where there are any."""
    return (columns[:-1], columns[-1]) if data.endswith(IN_CLUSTERS) else (columns, None)


def ends_of(interval, columns, clusters, statistic, draws, number, level):
    """The interval of one data set, by the function that the workflow calls for it."""
    if interval == "accuracy":
        return statistics.share_interval(columns[0], clusters, level)
    if interval == "accuracy drop":
        return statistics.share_difference_interval(columns[0], level, clusters)
    if interval == "lift":
        return testing.lift_interval(*columns, level)
    if statistic is mean_of:
        return statistics.mean_interval(columns[0], draws, number, level, clusters)
    return statistics.bootstrap(columns, statistic, draws, number, level, clusters)


@cache
def true_value(interval, data):
    """The value that an interval should hold: by the statistic of very many examples."""
    data = data.removesuffix(f", {IN_CLUSTERS}")
    if interval == "mean effect":
        return 0.0
    if (interval, data) == ("lift", "one in twenty lost"):
        return 0.0
    if interval in ("accuracy", "accuracy drop"):
        return LOST[data.removesuffix(" lost")]
    for name, kind, draw, statistic in INTERVALS:
        if (name, kind) == (interval, data):
            return float(statistic(*draw(stream("truth", name, kind), 2_000_000), axis=0))
    raise KeyError((interval, data))


def coverage_verdict(row):
    """Whether an interval covers what it says, in words."""
    if row["share"] < row["level"] - SLACK and row["share_high"] < row["level"]:
        return "covers too little"
    if row["share"] > row["level"] + SLACK and row["share_low"] > row["level"]:
        return "covers more than it says"
    return "within 2 points"
