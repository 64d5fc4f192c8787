"""Do the tests and intervals of the workflow hold what they promise?  Measured on made-up data.

The data are drawn from worlds of which the truth is known, and go through the very functions
that the workflow calls.  `nulls` counts how often a test rejects where there is nothing,
`power` how often where there is something, `coverage` how often an interval holds the truth.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse import circuits, reuse, statistics, testing
from circuit_reuse.components import Space

LEVELS = (0.01, 0.05, 0.1, 0.2)
BAND = (0.03, 0.07)
# Coverage may lie this far from what the interval says.
SLACK = 0.02
HEADS = Space(layers=3, heads=8, d_model=1, d_head=1).of_kinds(["head"])
SIZES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
# Settings that begin so are no null of the test: they show what it must not be used for.
WARNING = "NOT "
# Fewer than in a run: how often a Monte Carlo p is below a level does not depend on these.
PERMUTATIONS, DRAWS = 399, 99

REASONS = {
    "p_permutation": "the p-values are discrete: few differences are not 0",
    "p_mcnemar": "the exact test is discrete: few examples differ",
    "p_reuse": "reuse takes few values, and ties count against it",
    "p_reuse_other": "reuse takes few values, and the largest p of all other tasks counts",
    "q_value": "p_rank is at least 1 / (random sets + 1), so one circuit alone is never found",
    "q_mcnemar": "the p-values are discrete",
}


def nulls(datasets=1000, seed=0):
    """How often each test rejects where its null hypothesis is true.

    returns: rows of test, setting (in words), n (examples), datasets, level, share rejected
             (for q: mean share of false discoveries), low and high (its 95 per cent interval,
             Clopper & Pearson 1934) and the verdict on the test in that setting
    """
    values = {}
    for simulate in (sign_flip_nulls, mcnemar_nulls, rank_nulls, reuse_nulls, label_nulls):
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
    common = {"test": test, "setting": setting, "n": n, "datasets": count}
    ending = {"verdict": verdict(test, shares[at], bounds[at])}
    return [
        common | {"level": level, "share": float(share), "low": low, "high": high} | ending
        for level, share, (low, high) in zip(LEVELS, shares, bounds, strict=True)
    ]


def clopper_pearson(successes, count, level=0.95):
    """The exact interval of a share (Clopper & Pearson 1934)."""
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, successes, count - successes + 1) if successes > 0 else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, count - successes) if successes < count else 1.0
    return float(low), float(high)


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


def stream(seed, *names):
    """A random stream of the study."""
    return circuits.generator("calibration", seed, *names)


# Differences of paired values around 0, standard deviation 1 (but for Student's t with 2
# degrees of freedom, which has none).
DIFFERENCES = {
    "normal differences": lambda rng, n: rng.normal(size=n),
    "heavy tails (Student t, 2 degrees of freedom)": lambda rng, n: rng.standard_t(2, size=n),
    "difference of two skewed effects": lambda rng, n: (
        (rng.exponential(size=n) - rng.exponential(size=n)) / np.sqrt(2)
    ),
    "mostly equal, one in four differs": lambda rng, n: (
        rng.normal(size=n) * (rng.random(n) < 0.25) * 2
    ),
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
                statistics.sign_flip(draw(rng, n), PERMUTATIONS, number)
                for number in range(datasets)
            ]
    return found


def paired_outcomes(rng, n, easy, shift=0.0):
    """Whether examples are right with a circuit and with a control removed, [example] each.

    easy:  mean of the examples' ease, which both share; without noise those above 0 are right
    shift: how much harder the circuit's removal makes them, in standard deviations of ease
    """
    ease = easy + rng.normal(size=n)
    first, second = ease + 0.7 * rng.normal(size=(2, n)) - [[shift], [0]] > 0
    return first, second


def mcnemar_nulls(datasets, seed, counts=(16, 64, 256)):
    """p_mcnemar of a circuit and a control that hurt alike."""
    found = {}
    for setting, easy in (("half are right", 0.0), ("nine in ten are right", 1.6)):
        for n in counts:
            rng = stream(seed, "mcnemar", setting, n)
            pairs = (paired_outcomes(rng, n, easy) for _ in range(datasets))
            found["p_mcnemar", setting, n] = [statistics.mcnemar(*pair) for pair in pairs]
    return found


class Planted:
    """Effects of removing sets of heads, two of which carry nearly everything.

    It stands in for testing.Outcomes, so that testing.test_one runs on it as it is.  The effect
    of a set on an example is the sum of its heads' weights, times how much the example depends
    on heads at all, and noise; it is the same set by set, so whatever a set is called.
    """

    def __init__(self, rng, n, circuit, random=(), controls=(), extra=0.0):
        weight = dict.fromkeys(HEADS, 0.0) | {"a0.h3": -2.5, "a1.h6": -2.0}
        self.weight = {name: value + 0.1 * rng.normal() for name, value in weight.items()}
        self.metric = rng.normal(5, 1, n)
        self.depends = rng.gamma(4, 0.25, n)
        self.rng = rng
        own = self.removed([circuit], extra)
        self.sets = {"circuit": (own, self.removed(controls)), "make": (None, self.removed(random))}

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
        """[set, example], the controls of the circuit or the random sets of its make."""
        return self.column(self.sets[name][1], column)

    def has(self, name, direction):
        """Whether there is such a run: removed sets only."""
        return direction == "remove" and (name == "circuit" or len(self.sets[name][1]) > 0)

    def column(self, metric, column):
        """The metric itself, or whether it is above 0; KL is not looked at."""
        return {"metric": metric, "correct": (metric > 0).astype(float)}.get(column, 0 * metric)


CFG = {"permutations": PERMUTATIONS, "bootstrap": 20}


def chosen_heads(rng, size):
    """A random circuit."""
    places = rng.choice(len(HEADS), size, replace=False)
    return circuits.sorted_names(HEADS[place] for place in places)


def planted_test(rng, n, size, number, extra=0.0):
    """The tests of a random circuit among random sets of its make, as testing.tests_table does.

    extra: a further effect of the circuit, in standard deviations of the sets' effects
    """
    circuit = chosen_heads(rng, size)
    sets = circuits.random_sets({"head": size}, HEADS, 100, number)
    world = Planted(rng, n, circuit, sets, extra=-extra * planted_spread(size))
    own = sets.index(circuit) if circuit in sets else None
    return testing.test_one(world, "circuit", "make", CFG, (number,), own)


@cache
def planted_spread(size):
    """Standard deviation of the mean effects of random sets of a size."""
    rng = stream("spread", size)
    sets = [chosen_heads(rng, size) for _ in range(500)]
    world = Planted(rng, 200, sets[0], sets)
    return float((world.controls("make", "remove", "metric") - world.metric).mean(axis=1).std())


def rank_nulls(datasets, seed, n=16):
    """p_rank of a random circuit though few heads matter; and how not to rank and compare it."""
    found = {}
    for size, setting in ((8, "8 of 24 heads, two matter"), (1, "1 of 24 heads, two matter")):
        rng = stream(seed, "rank", size)
        tests = [planted_test(rng, n, size, f"{seed} {number}") for number in range(datasets)]
        found["p_rank", setting, n] = [row["p_rank"] for row in tests]
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
    row = testing.test_one(world, "circuit", "make", CFG, (number,))
    effects = (world.controls("circuit", "remove", "metric") - world.metric).mean(axis=1)
    return statistics.rank_p(row["effect"], effects, larger=False), row


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


def reuse_row(rng, n, number, mine, theirs=(), threshold=50):
    """The row of the reuse table of a made-up task, of labels that the circuits ignore.

    mine, theirs: [head], what heads add for the task, and for each of its other tasks
    """
    examples = pd.DataFrame({"variant": rng.integers(0, 2, n), "template": rng.integers(0, 4, n)})
    scores = head_scores(rng, n, mine)
    others = {str(place): head_scores(rng, n, common) for place, common in enumerate(theirs)}
    if len(others) != 1:
        # Labels take as long as the rest, and are looked at with one other task only.
        examples[:] = 0
    cfg = {"top_k": [8], "thresholds": [threshold], "draws": DRAWS, "rarefaction": n}
    return reuse.reuse_table("task", scores, HEADS, examples, others, cfg, (number,))[0]


def label_p(rng, n, number, rare=0.5, variant=0.0):
    """p_variant of a made-up task, as reuse.reuse_table has it; None if all labels are equal.

    rare: share of one of two labels;  variant: as in head_scores
    """
    labels = (rng.random(n) < rare).astype(int)
    scores = head_scores(rng, n, planted_heads(1.0), labels, variant)
    overlap = circuits.pairwise_jaccard(circuits.top_k(scores, 8))
    return statistics.label_permutation(overlap, labels, DRAWS, number)


def planted_heads(strength, first=0, count=6):
    """[head], what some heads add to the scores of every example."""
    common = np.zeros(len(HEADS))
    common[first : first + count] = strength
    return common


def reuse_nulls(datasets, seed, n=16):
    """p_reuse of random circuits; the other p-values of circuits that two tasks share."""
    found = {}
    none, same = planted_heads(0.0), planted_heads(1.0)
    rng = stream(seed, "reuse")
    rows = [reuse_row(rng, n, f"{seed} {number}", none) for number in range(datasets)]
    found["p_reuse", "circuits of 8 of 24 heads at random", n] = [r["p_reuse"] for r in rows]
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


def power(datasets=120, seed=0, counts=(16, 64), sizes=SIZES):
    """How often each test rejects at 0.05 when there is an effect.

    returns: rows of test, n, size (standard deviations), datasets, share, low, high
    What a standard deviation is of: p_permutation, the differences of examples; p_mcnemar, how
    easy examples are; p_rank, the effects of random sets; the others, the noise of the scores.
    """
    rows = []
    for n in counts:
        for size in sizes:
            for test, found in effect_p_values(datasets, seed, n, size).items():
                share = float(np.mean(np.array(found) <= 0.05 + 1e-12))
                low, high = clopper_pearson(share * len(found), len(found))
                common = {"test": test, "n": n, "size": size, "datasets": len(found)}
                rows.append(common | {"share": share, "low": low, "high": high})
    return pd.DataFrame(rows)


def effect_p_values(datasets, seed, n, size):
    """p-values of every test where there is an effect of a size: {test: [dataset]}."""
    found = {}
    # The same stream for every size, so that curves differ by the size only.
    rng = stream(seed, "power", n)
    numbers = range(datasets)
    found["p_permutation"] = [
        statistics.sign_flip(size + rng.normal(size=n), PERMUTATIONS, number) for number in numbers
    ]
    found["p_mcnemar"] = [statistics.mcnemar(*paired_outcomes(rng, n, 1.0, size)) for _ in numbers]
    rng = stream(seed, "power of rank", n)
    names = [f"{seed} {number}" for number in numbers]
    found["p_rank"] = [planted_test(rng, n, 8, name, size)["p_rank"] for name in names]
    rng = stream(seed, "power of labels", n)
    values = [label_p(rng, n, number, variant=size) for number in numbers]
    found["p_variant"] = [value for value in values if value is not None]
    rng = stream(seed, "power of reuse", n)
    mine, theirs = planted_heads(size), planted_heads(size, first=6)
    # The reuse table takes longest, so it gets fewer data sets; two tasks, so that labels of
    # the examples take no time.  At p = 50 a mixture of two tasks may share both circuits.
    rows = [
        reuse_row(rng, n, name, mine, [theirs] * 2, threshold=75) for name in names[: datasets // 4]
    ]
    for test in ("p_reuse", "p_reuse_other"):
        found[test] = [row[test] for row in rows]
    return found


def skewed(rng, n):
    """Exponential with mean 0 and standard deviation 1; skewness 2."""
    return rng.exponential(size=n) - 1


def lift_columns(rng, n):
    """Right with the circuit removed, share right with controls removed, right untouched."""
    ease = rng.normal(size=n)
    right = ease + 0.7 * rng.normal(size=(3, n)) > np.array([[0.3], [0], [-2]])
    control = rng.binomial(50, stats.norm.cdf((ease + 1) / 0.7)) / 50
    return right[0] & right[2], control * right[2], right[2]


def faithfulness_columns(noise):
    """A function that draws metrics: of the circuit alone, with all removed, untouched."""

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


def lost(rng, n):
    """Drop in accuracy of each example, in points: three in ten are lost."""
    return 100.0 * (rng.random(n) < 0.3)


SKEWED = "skewed (exponential)"
# Name of the interval, the data, function of a stream and n that draws columns, statistic.
INTERVALS = (
    ("mean effect", "normal", columns_of(normal), mean_of),
    ("mean effect", SKEWED, columns_of(skewed), mean_of),
    ("accuracy drop", "three in ten lost", columns_of(lost), mean_of),
    ("lift", "paired outcomes", lift_columns, testing.lift_of),
    ("faithfulness", "normal", faithfulness_columns(normal), testing.faithfulness_of),
    ("faithfulness", SKEWED, faithfulness_columns(skewed), testing.faithfulness_of),
)


def coverage(
    datasets=1500, seed=0, counts=(16, 32, 64, 128), intervals=INTERVALS, level=0.95, draws=600
):
    """How often the intervals hold the truth.

    returns: rows of interval, data, n, datasets, level, share (that hold it), low, high (of
             the share), width (median), and a verdict
    """
    rows = []
    for interval, data, draw, statistic in intervals:
        truth = true_value(interval, data)
        for n in counts:
            rng = stream(seed, "coverage", interval, data, n)
            ends = np.array([
                ends_of(draw(rng, n), statistic, draws, number, level) for number in range(datasets)
            ])  # fmt: skip
            held = np.sum((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
            low, high = clopper_pearson(held, datasets)
            common = {"interval": interval, "data": data, "n": n, "datasets": datasets}
            found = {"level": level, "share": float(held / datasets), "low": low, "high": high}
            width = float(np.nanmedian(ends[:, 1] - ends[:, 0]))
            rows.append(common | found | {"width": width, "verdict": coverage_verdict(found)})
    return pd.DataFrame(rows)


def ends_of(columns, statistic, draws, number, level):
    """The interval of one data set, by the function that the workflow calls for it."""
    if statistic is mean_of:
        return statistics.mean_interval(columns[0], draws, number, level)
    return statistics.bootstrap(columns, statistic, draws, number, level)


@cache
def true_value(interval, data):
    """The value that an interval should hold: by the statistic of very many examples."""
    if interval == "mean effect":
        return 0.0
    if interval == "accuracy drop":
        return 30.0
    for name, kind, draw, statistic in INTERVALS:
        if (name, kind) == (interval, data):
            return float(statistic(*draw(stream("truth", name, kind), 2_000_000), axis=0))
    raise KeyError((interval, data))


def coverage_verdict(row):
    """Whether an interval covers what it says, in words."""
    if row["share"] < row["level"] - SLACK and row["high"] < row["level"]:
        return "covers too little"
    if row["share"] > row["level"] + SLACK and row["low"] > row["level"]:
        return "covers more than it says"
    return "within 2 points"
