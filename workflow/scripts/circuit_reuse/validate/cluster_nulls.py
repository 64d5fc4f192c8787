"""Examples in clusters that are alike: how often tests reject true nulls over clusters, and over single examples."""

from itertools import product

import numpy as np

from circuit_reuse.stats import clusters as grouping
from circuit_reuse.stats import mean_tests, statistics
from circuit_reuse.validate.worlds import PERMUTATIONS, WARNING, stream

# How alike examples of one cluster are: the correlation within clusters.
ALIKE = 0.5


def clustered(rng, sizes, draw):
    """Values of clusters of examples that are alike, standard deviation 1: (values [example], clusters [example]).

    sizes: examples of each cluster;  draw: function of a stream and n
    """
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    common, own = draw(rng, len(sizes))[clusters], draw(rng, len(clusters))
    return np.sqrt(ALIKE) * common + np.sqrt(1 - ALIKE) * own, clusters


def unequal(rng, count, clusters):
    """Sizes of clusters that examples fall into at random, none of them empty."""
    return 1 + rng.multinomial(count - clusters, np.full(clusters, 1 / clusters))


def normal(rng, size):
    """Normal, standard deviation 1."""
    return rng.normal(size=size)


def heavy(rng, size):
    """Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, size=size)


def cluster_nulls(datasets, seed, n=48, counts=(8, 16)):
    """The tests over clusters of alike examples, and what tests over the examples would say of these."""
    found = {}
    for groups, (name, draw) in product(counts, (("normal", normal), ("heavy-tailed", heavy))):
        rng = stream(seed, "clusters", name, groups)
        setting = f"{n} examples in {groups} clusters, {name}"
        values = [clustered(rng, unequal(rng, n, groups), draw) for _ in range(datasets)]
        found["p_permutation", setting, n] = [
            statistics.sign_flip(each, PERMUTATIONS, number, labels) for number, (each, labels) in enumerate(values)
        ]
        found["p_permutation", f"{WARNING}of the examples: {setting}", n] = [
            statistics.sign_flip(each, PERMUTATIONS, number) for number, (each, _) in enumerate(values)
        ]
        units = [grouping.units(each[:, None], labels) for each, labels in values]
        found["p_heads", f"mean effect of a head, {setting}", n] = [
            float(mean_tests.means(each)["p"][0]) for each in units
        ]
        found["p_mcnemar", f"right or wrong, {setting}", n] = [
            statistics.paired_outcomes(each > 0, each < 0, PERMUTATIONS, number, labels)
            for number, (each, labels) in enumerate(values)
        ]
    return found
