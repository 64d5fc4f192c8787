"""Areas between curves, their tests, and which interpretation of a circuit they support; no torch.

Two p-values are given.  `p_trials` asks whether two curves differ beyond what the draws of weights
do.  Between two controls that is a test, for every trial is a new set.  Between the circuit and a
control it is about this circuit alone: even a random mask holds, by chance, weights that matter more
or less than others, and joins nodes as a block, so its curve differs too.  `p_value` asks whether
the difference is larger than those of random masks with as many active nodes at each site and of a
like number of weights, each against a control of its own.  Were the mask drawn so, its difference
would be one of these, and its rank uniform.  It does not ask whether the nodes are the task's: masks
of busy channels rank high, too, which is why the most active nodes are swept beside the circuit.
`p_less` is the rank from the other side: whether the circuit's weights matter less.
"""

import math

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse.data.gather import pick
from circuit_reuse.stats import circuits, statistics

INTERPRETATIONS = {
    "weights": "the circuit's weights matter beyond their size, more than those of random masks",
    "size": "large weights matter, whether the circuit's or not",
    "nothing": "nothing special about the circuit's weights",
    "less": "the circuit's weights matter less than others",
    "unclear": "not decided: differences are neither shown nor shown to be absent",
}


def area(shares, losses):
    """Mean loss over the shares removed, by trapezoids: from the first to the last share.

    shares: [share] from small to large;  losses: [..., share];  returns [...]
    """
    shares = np.asarray(shares, dtype=float)
    return np.trapezoid(losses, shares, axis=-1) / (shares[-1] - shares[0])


def curves(frame):
    """Of one condition: shares, and its losses [trial, example, share].

    frame: rows of the sweep table
    """
    table = frame.pivot(index=["trial", "example"], columns="share", values="loss")
    trials = table.index.get_level_values("trial").nunique()
    return table.columns.to_numpy(), table.to_numpy(float).reshape(trials, -1, table.shape[1])


def trials_p(first, second, resamples, seed):
    """Two-sided permutation p that two lists of areas have one mean, labels exchanged.

    All divisions are tried if there are no more than `resamples`.
    """
    if len(first) < 2 or len(second) < 2:
        return None
    result = stats.permutation_test(
        (np.asarray(first), np.asarray(second)),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def random_differences(random, control, shares):
    """Area of each random circuit less that of its control, [circuit].

    random: rows of the random circuits;  control: a condition, or None for the area alone
    """
    rows = random[random["condition"].isin(["circuit", control])]
    table = rows.pivot_table(index=["number", "trial"], columns=["condition", "share"], values="loss")
    own = area(shares, table["circuit"][shares].to_numpy(float))
    if control is not None:
        own = own - area(shares, table[control][shares].to_numpy(float))
    return pd.Series(own, table.index).groupby("number").mean().to_numpy()


def clusters_of(rows):
    """[example] clusters of the examples, in the order of `curves`."""
    return rows.drop_duplicates("example").sort_values("example")["cluster"].to_numpy(str)


def counts_of(rows):
    """How many examples a row rests on, and clusters of them."""
    return {"n_examples": rows["example"].nunique(), "n_clusters": rows["cluster"].nunique()}


def losses(sweep, condition, shares=None, trials=None):
    """Loss of a condition, [trial, example, share], and its shares.

    shares, trials: only these shares, and only so many trials
    """
    rows = sweep[sweep["condition"] == condition]
    if trials is not None:
        rows = rows[(rows["trial"] < trials) & rows["share"].isin(shares)]
    return curves(rows)


def compare(sweep, random, control, cfg, stream):
    """One row of the tests: the circuit against a control.

    sweep:  rows of the sweep table;  random: those of the random circuits
    cfg:    permutations, bootstrap
    """
    shares, circuit = losses(sweep, "circuit")
    _, other = losses(sweep, control)
    seeds = circuits.seeds(2, *stream, control)
    areas, others = area(shares, circuit.mean(1)), area(shares, other.mean(1))
    by_example = area(shares, circuit.mean(0)) - area(shares, other.mean(0))
    low, high = statistics.mean_interval(by_example, cfg["bootstrap"], int(seeds[0]), clusters=clusters_of(sweep))
    row = {
        "control": control,
        **counts_of(sweep),
        "area_circuit": areas.mean(),
        "area_control": others.mean(),
        "spread_circuit": areas.std(),
        "spread_control": others.std(),
        "difference": by_example.mean(),
        "difference_low": low,
        "difference_high": high,
        "p_trials": trials_p(areas, others, cfg["permutations"], int(seeds[1])),
        "loss_circuit": circuit[:, :, -1].mean(),
        "loss_control": other[:, :, -1].mean(),
    }
    return row | ranked(sweep, random, control, cfg, stream)


def ranked(sweep, random, control, cfg, stream):
    """Where the circuit's difference lies among those of random circuits.

    Of the circuit as many trials are used, and as many weights removed, as of each random one: only then
    would a random mask in its place be one among them.  `ranked` is that difference, with its
    interval over clusters of examples; without a control the area alone.
    """
    shares = np.sort(random["share"].unique())
    by_example = area(shares, at_equal_numbers(sweep, random).mean(0))
    if control is not None:
        by_example = by_example - area(shares, at_equal_numbers(sweep, random, control).mean(0))
    seed = circuits.seed(*stream, control, "ranked")
    low, high = statistics.mean_interval(by_example, cfg["bootstrap"], seed, clusters=clusters_of(sweep))
    null = random_differences(random, control, shares)
    return {
        "ranked": by_example.mean(),
        "ranked_low": low,
        "ranked_high": high,
        "n_random": len(null),
        "ranked_random": float(null.mean()),
        "p_value": statistics.rank_p(by_example.mean(), null),
        "p_less": statistics.rank_p(by_example.mean(), null, larger=False),
    }


def at_equal_numbers(sweep, random, condition="circuit"):
    """Loss of a condition [trial, example, share] with as many weights removed as of the random circuits at each of their shares.

    A learned mask joins its nodes more than a random mask of as many nodes does, so its circuit has more weights: of these, and of
    those of a control, which go together with them, as many go as of a random circuit on average, by lines between the points of
    the sweep; all where the circuit has fewer.
    """
    last = pick(random, condition="circuit", share=random["share"].max())
    there = sweep[sweep["condition"] == condition]
    part = min(1.0, last["n_removed"].mean() / there["n_removed"].max())
    points, values = losses(sweep, condition, np.sort(there["share"].unique()), random["trial"].nunique())
    wanted = np.sort(random["share"].unique()) * part
    return np.apply_along_axis(lambda curve: np.interp(wanted, points, curve), -1, values)


def against_random(sweep, random, cfg, stream):
    """The circuit's own curve against those of random circuits: nodes matched, and as many weights removed.

    All on the shares and the number of trials of the random circuits, whose mean is taken as given.
    """
    row = ranked(sweep, random, None, cfg, stream)
    shares, circuit = np.sort(random["share"].unique()), at_equal_numbers(sweep, random)
    null, own = random_differences(random, None, shares), row["ranked"]
    last = pick(random, condition="circuit", share=shares[-1])
    return row | {
        "control": "random_circuit",
        **counts_of(sweep),
        "area_circuit": own,
        "area_control": null.mean(),
        "spread_circuit": area(shares, circuit.mean(1)).std(),
        "spread_control": null.std(),
        "difference": own - null.mean(),
        "difference_low": row["ranked_low"] - null.mean(),
        "difference_high": row["ranked_high"] - null.mean(),
        "p_trials": None,
        "loss_circuit": circuit[:, :, -1].mean(),
        "loss_control": last["loss"].mean(),
    }


def between(sweep, first, second, cfg, stream):
    """Difference of the areas of two controls, with interval over clusters of examples and p over trials."""
    shares, one = losses(sweep, first)
    _, other = losses(sweep, second)
    seeds = circuits.seeds(2, *stream, first, second)
    by_example = area(shares, one.mean(0)) - area(shares, other.mean(0))
    low, high = statistics.mean_interval(by_example, cfg["bootstrap"], int(seeds[0]), clusters=clusters_of(sweep))
    p = trials_p(area(shares, one.mean(1)), area(shares, other.mean(1)), cfg["permutations"], int(seeds[1]))
    # Of all divisions of two groups of trials no fewer than two are as far apart.
    least = min(1.0, 2 / math.comb(len(one) + len(other), len(one)))
    return {
        "difference": by_example.mean(),
        "difference_low": low,
        "difference_high": high,
        "p_trials": p,
        "p_trials_least": least,
    }


def beyond_active(sweep, matched, cfg, stream):
    """How much more the circuit exceeds its matched control than the most active nodes do theirs.

    returns: difference of the differences with its interval over clusters of examples; None without such a mask
    """
    if not (sweep["condition"] == "active").any():
        return dict.fromkeys(("difference", "difference_low", "difference_high"))
    found = {}
    for condition in ("circuit", matched, "active", "active_matched"):
        shares, values = losses(sweep, condition)
        found[condition] = area(shares, values.mean(0))
    by_example = found["circuit"] - found[matched] - (found["active"] - found["active_matched"])
    seed = circuits.seed(*stream, "active")
    low, high = statistics.mean_interval(by_example, cfg["bootstrap"], seed, clusters=clusters_of(sweep))
    return {"difference": by_example.mean(), "difference_low": low, "difference_high": high}


def interpretation(tests, size, alpha, matched, margin):
    """Which interpretation the tests support: a key of INTERPRETATIONS.

    tests:  {control: row with difference, its interval, q_value and q_less};  size: from `between` matched and matrix, with q_trials
    margin: nats; a difference whose interval lies within it counts as none
    More is shown only where q <= alpha and the interval over clusters of examples lies above 0, less only where
    q from the other side is and it lies below 0; that there is no difference only by an interval within the margin.
    """
    any_, equal = tests["non_circuit"], tests[matched]

    def more(row):
        return row["q_value"] is not None and row["q_value"] <= alpha and row["difference_low"] > 0

    def less(row):
        return row["q_less"] is not None and row["q_less"] <= alpha and row["difference_high"] < 0

    def none(row):
        return row["difference_low"] >= -margin and row["difference_high"] <= margin

    if more(any_) and more(equal):
        return "weights"
    if less(any_) and less(equal):
        return "less"
    by_size = size["difference_low"] > 0 and size["q_trials"] is not None and size["q_trials"] <= alpha
    if more(any_) and none(equal) and by_size:
        return "size"
    return "nothing" if none(any_) and none(equal) else "unclear"
