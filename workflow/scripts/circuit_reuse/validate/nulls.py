"""How often each test rejects where there is nothing to find."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse.stats import circuits, statistics, testing
from circuit_reuse.studies.reuse import generic, hypotheses
from circuit_reuse.validate.cluster_nulls import cluster_nulls
from circuit_reuse.validate.worlds import (
    CFG,
    DRAWS,
    HEADS,
    PERMUTATIONS,
    WARNING,
    Planted,
    chosen_heads,
    clopper_pearson,
    label_p,
    paired_outcomes,
    planted_heads,
    planted_test,
    reuse_row,
    stream,
)

LEVELS = (0.01, 0.05, 0.1, 0.2)


BAND = (0.03, 0.07)


REASONS = {
    "p_permutation": "the p-values are discrete: few differences are not 0",
    "p_mcnemar": "the exact test is discrete: few examples differ",
    "p_reuse": "reuse takes few values, and ties count against it",
    "p_reuse_other": "reuse takes few values, and the largest p of all other tasks counts",
    "q_value": "p_rank is at least 1 / (random sets + 1), so one circuit alone is never found",
    "q_mcnemar": "the p-values are discrete",
    "p_equivalence": "the sign test is discrete",
    "p_minimality": "the binomial test is discrete",
}


def nulls(datasets=1000, seed=0):
    """How often each test rejects where its null hypothesis is true.

    returns: rows of test, setting (in words), n (examples), datasets, level, share rejected
             (for q: mean share of false discoveries), low and high (its 95 per cent interval,
             Clopper & Pearson 1934) and the verdict on the test in that setting
    """
    values = {}
    for simulate in (
        sign_flip_nulls,
        cluster_nulls,
        mcnemar_nulls,
        rank_nulls,
        generic_nulls,
        hypotheses_nulls,
        reuse_nulls,
        label_nulls,
    ):
        values |= simulate(datasets, seed)
    rows = [row for key, found in values.items() for row in share_rows(*key, found)]
    for (test, setting, n), (draw, real, together) in DISCOVERIES.items():
        rng = stream(seed, "q", test, setting)
        proportions = false_discoveries(draw, real, together, datasets, rng)
        rows += share_rows(test, setting, n, proportions, LEVELS)
    return pd.DataFrame(rows)


def share_rows(test, setting, n, found, levels=None):
    """The rows of one test in one setting.

    found: [dataset] p-values; or, with levels, [dataset, level] shares of false discoveries,
           whose interval is then too wide if anything, for they vary less than yes and no do
    """
    found = np.asarray(found, dtype=float)
    count = len(found)
    if levels is None:
        found = found[:, None] <= np.array(LEVELS) + 1e-12
    shares = found.mean(axis=0)
    bounds = [clopper_pearson(share * count, count) for share in shares]
    at = LEVELS.index(0.05)
    common = {"test": test, "setting": setting, "n_examples": n, "n_datasets": count}
    ending = {"verdict": verdict(test, shares[at], bounds[at])}
    return [
        common | {"level": level, "share": float(share), "share_low": low, "share_high": high} | ending
        for level, share, (low, high) in zip(LEVELS, shares, bounds, strict=True)
    ]


def verdict(test, share, bounds):
    """Whether rejecting a share of true nulls at 0.05 is as it should be, in words.

    bounds: interval of the share; one that holds 0.05 is no evidence, which matters only if
            there are so few data sets that the interval is wider than the band
    """
    low, high = bounds
    if share > BAND[1] and low > 0.05:
        return "anti-conservative"
    if share < BAND[0] and high < 0.05:
        return f"conservative: {REASONS[test]}" if test in REASONS else "conservative"
    return "calibrated"


# Differences of paired values around 0, standard deviation 1 (but for Student's t with 2
# degrees of freedom, which has none).
DIFFERENCES = {
    "normal differences": lambda rng, n: rng.normal(size=n),
    "heavy tails (Student t, 2 degrees of freedom)": lambda rng, n: rng.standard_t(2, size=n),
    "difference of two skewed effects": lambda rng, n: (rng.exponential(size=n) - rng.exponential(size=n)) / np.sqrt(2),
    "mostly equal, one in four differs": lambda rng, n: rng.normal(size=n) * (rng.random(n) < 0.25) * 2,
    # The mean is 0, but the test asks for symmetry.
    f"{WARNING}symmetric: skewed (exponential)": lambda rng, n: rng.exponential(size=n) - 1,
}


def sign_flip_nulls(datasets, seed, counts=(16, 64), settings=tuple(DIFFERENCES)):
    """p_permutation of differences around 0: {(test, setting, n): [dataset]}."""
    found = {}
    for setting in settings:
        draw = DIFFERENCES[setting]
        for n in counts:
            rng = stream(seed, "sign flip", setting, n)
            found["p_permutation", setting, n] = [
                statistics.sign_flip(draw(rng, n), PERMUTATIONS, number) for number in range(datasets)
            ]
    return found


def mcnemar_nulls(datasets, seed, counts=(16, 64, 256)):
    """p_mcnemar of a circuit and a control that hurt alike."""
    found = {}
    for setting, easy in (("half are right", 0.0), ("nine in ten are right", 1.6)):
        for n in counts:
            rng = stream(seed, "mcnemar", setting, n)
            pairs = (paired_outcomes(rng, n, easy) for _ in range(datasets))
            found["p_mcnemar", setting, n] = [statistics.mcnemar(*pair) for pair in pairs]
    return found


def rank_nulls(datasets, seed, n=16):
    """p_rank of a random circuit though few heads matter; and how not to rank and compare it."""
    found = {}
    for size, setting in ((8, "8 of 24 heads, two matter"), (1, "1 of 24 heads, two matter")):
        rng = stream(seed, "rank", size)
        tests = [planted_test(rng, n, size, f"{seed} {number}") for number in range(datasets)]
        found["p_uniform", setting, n] = [row["p_uniform"] for row in tests]
        if size > 1:
            found["p_rank", setting, n] = [row["p_value"] for row in tests]
    # Circuits lie where the heads that matter are: among sets of the same layers that is no merit of theirs.
    rng = stream(seed, "rank", "early")
    tests = [planted_test(rng, n, 8, f"{seed} {number}", by_layer=(5, 3, 0)) for number in range(datasets)]
    setting = "8 heads of the layers of the two that matter"
    found["p_rank", setting, n] = [row["p_value"] for row in tests]
    found["p_uniform", f"{WARNING}of a circuit in its layers: {setting}", n] = [row["p_uniform"] for row in tests]
    rng = stream(seed, "disjoint")
    tests = [disjoint_test(rng, n, 8, f"{seed} {number}") for number in range(datasets)]
    setting = f"{WARNING}what the workflow does: 8 of 24 heads among disjoint controls"
    found["p_rank", setting, n] = [rank for rank, _ in tests]
    setting = f"{WARNING}what it tests: whether a random circuit is special"
    found["p_permutation", setting, n] = [row["p_permutation"] for _, row in tests]
    found["p_mcnemar", setting, n] = [row["p_mcnemar"] for _, row in tests]
    return found


def disjoint_test(rng, n, size, number):
    """The rank of a random circuit among disjoint controls, and the row of its other tests."""
    circuit = chosen_heads(rng, size)
    controls = circuits.controls(circuit, HEADS, ("head",), 50, number)
    world = Planted(rng, n, circuit, controls=controls)
    row = testing.test_one(world, "circuit", "composition", CFG, (number,))
    effects = (world.controls("circuit", "remove", "metric") - world.metric).mean(axis=1)
    return statistics.rank_p(row["effect"], effects, larger=False), row


def generic_nulls(datasets, seed, sets=40):
    """p_left of a set that is like the others: its effect goes with the loss of text as theirs do, both heavy-tailed."""
    rng, found = stream(seed, "generic"), []
    for _ in range(datasets):
        losses = rng.exponential(size=sets) ** 2
        found.append(generic.held_fixed(losses, rng.standard_t(3, size=sets) - 2 * losses)[1])
    return {("p_left", "a set like the other 39, skewed", sets): found}


def hypotheses_nulls(datasets, seed, n=16):
    """The tests of Shi et al.: a circuit as good as the model, a rest that knows nothing, a component at the quantile."""
    rng, found = stream(seed, "hypotheses"), {}
    model, other = rng.exponential(size=(2, datasets, n))
    found["p_equivalence", "circuit and model alike, skewed", n] = [
        hypotheses.equivalence(*pair)[1] for pair in zip(other, model, strict=True)
    ]
    found["p_independence", "independent metrics, skewed", n] = [
        hypotheses.independence(*pair, DRAWS, number)[1] for number, pair in enumerate(zip(other, model, strict=True))
    ]
    change = np.log(10)
    found["p_minimality", "a component at the 90 % quantile of 50 others", n] = [
        hypotheses.minimality(change, rng.exponential(size=50), 0.9) for _ in range(datasets)
    ]
    return found


def reuse_nulls(datasets, seed, n=16):
    """p_reuse of random circuits; the other p-values of circuits that two tasks share."""
    found = {}
    none, same = planted_heads(0.0), planted_heads(1.0)
    rng = stream(seed, "reuse")
    rows = [reuse_row(rng, n, f"{seed} {number}", none) for number in range(datasets)]
    found["p_reuse", "circuits of 8 of 24 heads at random", n] = [r["p_reuse"] for r in rows]
    rng = stream(seed, "reuse", "clusters")
    rows = [reuse_row(rng, 3 * n, f"{seed} {number}", none, copies=3) for number in range(datasets)]
    found["p_reuse", "the same, three near copies of each example", 3 * n] = [r["p_reuse"] for r in rows]
    for others, words in ((1, "one other task with the same heads"), (3, "three such tasks")):
        rng = stream(seed, "reuse other", others)
        numbers = range(datasets if others == 1 else datasets // 2)
        rows = [reuse_row(rng, n, f"{seed} {number}", same, [same] * others) for number in numbers]
        found["p_reuse_other", words, n] = [row["p_reuse_other"] for row in rows]
        if others == 1:
            for test in ("p_variant", "p_template"):
                values = [row[test] for row in rows if row[test] is not None]
                found[test, "labels that circuits ignore", n] = values
    return found


def label_nulls(datasets, seed, n=48):
    """The label permutation at more examples, for labels of which one is rare."""
    rng = stream(seed, "labels")
    values = [label_p(rng, n, number, rare=0.15) for number in range(datasets)]
    values = [value for value in values if value is not None]
    return {("p_variant", "one label in seven, which circuits ignore", n): values}


def flip_p(shift, rng):
    """A p as of sign flips of very many examples: two-sided and of any value."""
    return 2 * stats.norm.sf(np.abs(shift))


def ranked_p(shift, rng):
    """p_rank of effects that are `shift` beyond the mean of 100 random sets' effects."""
    null = rng.normal(size=(len(shift), 100))
    pairs = zip(shift, null, strict=True)
    return np.array([statistics.rank_p(-value, row, larger=False) for value, row in pairs])


@cache
def mcnemar_of(only_first, only_second):
    """p_mcnemar by the numbers of discordant pairs, computed once for each."""
    first = np.arange(only_first + only_second) < only_first
    return statistics.mcnemar(first, ~first)


def discordant_p(shift, rng, n=64):
    """p_mcnemar of circuits that make the examples harder by shift / 4 standard deviations."""
    ease = 1.0 + rng.normal(size=(len(shift), n))
    noise = 0.7 * rng.normal(size=(2, len(shift), n))
    first, second = ease + noise[0] - shift[:, None] / 4 > 0, ease + noise[1] > 0
    counts = zip((first & ~second).sum(axis=1), (second & ~first).sum(axis=1), strict=True)
    return np.array([mcnemar_of(int(a), int(b)) for a, b in counts])


# Name of the q, setting, n: how p-values come from effects, the share of the hypotheses that
# are real, and the correlation of the hypotheses.  The other q's are the same function of other
# discrete p-values.
DISCOVERIES = {
    ("q_permutation", "24 hypotheses, none real", 64): (flip_p, 0.0, 0.0),
    ("q_permutation", "24 correlated hypotheses, none real", 64): (flip_p, 0.0, 0.5),
    ("q_permutation", "24 hypotheses, a quarter real", 64): (flip_p, 0.25, 0.0),
    ("q_value", "24 hypotheses, none real", 16): (ranked_p, 0.0, 0.0),
    ("q_value", "24 hypotheses, a quarter real", 16): (ranked_p, 0.25, 0.0),
    ("q_mcnemar", "24 hypotheses, none real", 64): (discordant_p, 0.0, 0.0),
    ("q_mcnemar", "24 hypotheses, a quarter real", 64): (discordant_p, 0.25, 0.0),
}


def false_discoveries(draw, real, together, datasets, rng, hypotheses=24):
    """Shares of false ones among what is found at each level, [dataset, level].

    draw:     function of effects in standard deviations [dataset] and a stream that gives p
    real:     share of the hypotheses that are real, by 4 standard deviations
    together: correlation of the hypotheses
    With no real ones, any discovery is false: the share is then the family-wise error rate.
    """
    common = np.sqrt(together) * rng.normal(size=(datasets, 1))
    effects = common + np.sqrt(1 - together) * rng.normal(size=(datasets, hypotheses))
    if draw is discordant_p:
        # Its noise is in the examples already.
        effects[:] = 0.0
    found = round(real * hypotheses)
    effects[:, :found] += 4.0
    p_values = draw(effects.ravel(), rng).reshape(effects.shape)
    q_values = np.array([statistics.false_discovery(row) for row in p_values])
    rejected = q_values[:, :, None] <= np.array(LEVELS) + 1e-12
    total = rejected.sum(axis=1)
    return rejected[:, found:].sum(axis=1) / np.maximum(total, 1)
