"""Made-up data of which the truth is known, sent through the functions that the workflow calls."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse.data.components import Space
from circuit_reuse.stats import circuits, example_similarity, statistics, testing
from circuit_reuse.stats.sharing import matched
from circuit_reuse.studies.reuse import overlap as reuse

HEADS = Space(layers=3, heads=8, d_model=1, d_head=1).of_kinds(["head"])
# Settings that begin so are no null of the test: they show what it must not be used for.
WARNING = "NOT "
# Fewer than in a run: how often a Monte Carlo p is below a level does not depend on these.
PERMUTATIONS, DRAWS = 399, 99
CFG = {"permutations": PERMUTATIONS, "bootstrap": 20}


def clopper_pearson(successes, count, level=0.95):
    """The exact interval of a share (Clopper & Pearson 1934)."""
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, successes, count - successes + 1) if successes > 0 else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, count - successes) if successes < count else 1.0
    return float(low), float(high)


def stream(seed, *names):
    """A random stream of the study."""
    return circuits.generator("calibration", seed, *names)


def paired_outcomes(rng, n, easy, shift=0.0):
    """Whether examples are right with a circuit and with a control removed, [example] each.

    easy:  mean of the examples' ease, which both share; without noise those above 0 are right
    shift: how much harder the circuit's removal makes them, in standard deviations of ease
    """
    ease = easy + rng.normal(size=n)
    first, second = ease + 0.7 * rng.normal(size=(2, n)) - [[shift], [0]] > 0
    return first, second


class Planted:
    """Effects of removing sets of heads, two of which carry nearly everything.

    It stands in for testing.Outcomes, so that testing.test_one runs on it as it is.  The effect
    of a set on an example is the sum of its heads' weights, times how much the example depends
    on heads at all, and noise; it is the same set by set, so whatever a set is called.
    """

    def __init__(self, rng, n, circuit, random=(), controls=(), layered=(), extra=0.0):
        weight = dict.fromkeys(HEADS, 0.0) | {"a0.h3": -2.5, "a1.h6": -2.0}
        self.weight = {name: value + 0.1 * rng.normal() for name, value in weight.items()}
        self.metric = rng.normal(5, 1, n)
        self.depends = rng.gamma(4, 0.25, n)
        self.rng = rng
        self.clusters = np.arange(n)
        own = self.removed([circuit], extra)
        self.sets = {"circuit": (own, self.removed(controls)), "composition": (None, self.removed(random))}
        self.sets[matched("circuit")] = None, self.removed(layered)

    def removed(self, sets, extra=0.0):
        """[set, example], the metric with each set removed."""
        sums = np.array([sum(self.weight[name] for name in names) for names in sets]) + extra
        noise = 0.3 * self.rng.normal(size=(len(sets), len(self.metric)))
        return self.metric + sums[:, None] * self.depends + noise

    def baseline(self, column):
        """[example], the run without intervention."""
        return self.column(self.metric, column)

    def circuit(self, name, direction, column):
        """[example], the circuit removed."""
        return self.column(self.sets[name][0][0], column)

    def controls(self, name, direction, column):
        """[set, example], the controls of the circuit or its random sets."""
        return self.column(self.sets[name][1], column)

    def has(self, name, direction):
        """Whether there is such a run: removed sets only."""
        return direction == "remove" and name in self.sets and (name == "circuit" or len(self.sets[name][1]) > 0)

    def column(self, metric, column):
        """The metric itself, or whether it is above 0; KL is not looked at."""
        return {"metric": metric, "correct": (metric > 0).astype(float)}.get(column, 0 * metric)


def chosen_heads(rng, size, by_layer=None):
    """A random circuit; by_layer: how many heads of each layer it has."""
    if by_layer is None:
        places = rng.choice(len(HEADS), size, replace=False)
    else:
        places = np.concatenate([8 * layer + rng.choice(8, count, False) for layer, count in enumerate(by_layer)])
    return circuits.sorted_names(HEADS[place] for place in places)


def planted_test(rng, n, size, number, extra=0.0, by_layer=None):
    """The tests of a random circuit among random sets, as testing.tests_table does.

    extra:    a further effect of the circuit, in standard deviations of the sets' effects
    by_layer: how many heads of each layer the circuit has; any without it
    """
    circuit = chosen_heads(rng, size, by_layer)
    sets = circuits.random_sets({"head": size}, HEADS, 100, number)
    layered = circuits.layer_matched_sets(circuit, HEADS, 100, number)
    world = Planted(rng, n, circuit, sets, layered=layered, extra=-extra * planted_spread(size))
    own = sets.index(circuit) if circuit in sets else None
    return testing.test_one(world, "circuit", "composition", CFG, (number,), own)


@cache
def planted_spread(size):
    """Standard deviation of the mean effects of random sets of a size."""
    rng = stream("spread", size)
    sets = [chosen_heads(rng, size) for _ in range(500)]
    world = Planted(rng, 200, sets[0], sets)
    return float((world.controls("composition", "remove", "metric") - world.metric).mean(axis=1).std())


def head_scores(rng, n, common, variants=None, variant=0.0):
    """Scores of heads with heavy-tailed noise of standard deviation 1, [example, head].

    common:   [head], what is added for every example
    variants: [example], labels; examples of label v have `variant` more at 4 heads of their own
    """
    noise = rng.standard_t(5, size=(n, len(HEADS))) / np.sqrt(5 / 3)
    scores = np.abs(noise) + common
    if variants is not None:
        places = 12 + 4 * variants[:, None] + np.arange(4)
        scores[np.arange(n)[:, None], places] += variant
    return scores


def reuse_row(rng, n, number, mine, theirs=(), threshold=0.5, copies=1):
    """The row of the reuse table of a made-up task, of labels that the circuits ignore.

    mine, theirs: [head], what heads add for the task, and for each of its other tasks
    copies:       near copies of each example: of one cluster, with nearly the same scores
    """
    examples = pd.DataFrame({"variant": rng.integers(0, 2, n), "template": rng.integers(0, 4, n)})
    scores = np.repeat(head_scores(rng, n // copies, mine), copies, axis=0)
    scores = scores + 0.01 * rng.normal(size=scores.shape) if copies > 1 else scores
    others = {str(place): (head_scores(rng, n, common), None) for place, common in enumerate(theirs)}
    if len(others) != 1:
        # Labels take as long as the rest, and are looked at with one other task only.
        examples[:] = 0
    examples["cluster"] = np.arange(n) // copies
    cfg = {"top_k": [8], "thresholds": [threshold], "draws": DRAWS, "rarefaction": n}
    return reuse.reuse_table("task", scores, HEADS, examples, others, cfg, (number,))[0]


def label_p(rng, n, number, rare=0.5, variant=0.0):
    """p_variant of a made-up task, as reuse.reuse_table has it; None if all labels are equal.

    rare: share of one of two labels;  variant: as in head_scores
    """
    labels = (rng.random(n) < rare).astype(int)
    scores = head_scores(rng, n, planted_heads(1.0), labels, variant)
    overlap = example_similarity.pairwise_jaccard(circuits.top_k(scores, 8))
    return statistics.label_permutation(overlap, labels, DRAWS, number)


def planted_heads(strength, first=0, count=6):
    """[head], what some heads add to the scores of every example."""
    common = np.zeros(len(HEADS))
    common[first : first + count] = strength
    return common
