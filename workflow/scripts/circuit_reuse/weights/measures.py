"""Areas between curves, their tests, and which reading of a circuit they support; no torch.

Two p-values are given.  `p_trials` asks whether the curves of this circuit and of this control
differ beyond what the draws of weights do.  It is about these sets: even a random mask holds,
by chance, weights that matter more or less than others, and joins nodes as a block, so its curve
differs too.  `p_circuit` asks the question of the study: is the difference larger than that of
random masks with as many active nodes at each site, each against a control of its own?  Were the
mask drawn at random, its difference would be one of these, so its rank is uniform.
"""

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse import circuits, statistics

READINGS = {
    "weights": "the circuit's weights matter, beyond their size",
    "size": "large weights matter, whether the circuit's or not",
    "nothing": "nothing special about the circuit's weights",
    "unclear": "the tests fit none of the three readings",
}


def area(shares, losses):
    """Mean loss over the shares removed, by trapezoids: from the first to the last share.

    shares: [share] from small to large;  losses: [..., share];  returns [...]
    """
    shares = np.asarray(shares, dtype=float)
    return np.trapezoid(losses, shares, axis=-1) / (shares[-1] - shares[0])


def curves(frame, value="loss"):
    """Of one condition: shares, and its values [trial, example, share].

    frame: rows of the sweep table
    """
    table = frame.pivot(index=["trial", "example"], columns="share", values=value)
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
    table = random.pivot_table(
        index=["number", "trial"], columns=["condition", "share"], values="loss"
    )
    own = area(shares, table["circuit"][shares].to_numpy(float))
    if control is not None:
        own = own - area(shares, table[control][shares].to_numpy(float))
    return pd.Series(own, table.index).groupby("number").mean().to_numpy()


def compare(sweep, random, control, cfg, stream):
    """One row of the tests: the circuit against a control.

    sweep:  rows of the sweep table;  random: those of the random circuits
    cfg:    permutations, bootstrap
    """
    shares, circuit = curves(sweep[sweep["condition"] == "circuit"])
    _, other = curves(sweep[sweep["condition"] == control])
    seeds = circuits.generator(*stream, control).integers(2**31, size=2)
    areas, others = area(shares, circuit.mean(1)), area(shares, other.mean(1))
    by_example = area(shares, circuit.mean(0)) - area(shares, other.mean(0))
    low, high = statistics.mean_interval(by_example, cfg["bootstrap"], int(seeds[0]))
    row = {
        "control": control,
        "area_circuit": areas.mean(),
        "area_control": others.mean(),
        "spread_circuit": areas.std(),
        "spread_control": others.std(),
        "difference": by_example.mean(),
        "low": low,
        "high": high,
        "p_trials": trials_p(areas, others, cfg["permutations"], int(seeds[1])),
        "loss_circuit": circuit[:, :, -1].mean(),
        "loss_control": other[:, :, -1].mean(),
    }
    return row | ranked(sweep, random, control)


def ranked(sweep, random, control):
    """Where the circuit's difference lies among those of random circuits.

    Of the circuit as many trials and the same shares are used as of each random one: only then
    would a random mask in its place be one among them.
    """
    none = {"n_random": 0, "random_difference": None, "p_circuit": None}
    if random.empty or (control is not None and control not in set(random["condition"])):
        return none
    shares = np.sort(random["share"].unique())
    trials = random["trial"].nunique()
    rows = sweep[(sweep["trial"] < trials) & sweep["share"].isin(shares)]
    _, circuit = curves(rows[rows["condition"] == "circuit"])
    observed = area(shares, circuit.mean((0, 1)))
    if control is not None:
        observed -= area(shares, curves(rows[rows["condition"] == control])[1].mean((0, 1)))
    null = random_differences(random, control, shares)
    return {
        "n_random": len(null),
        "random_difference": float(null.mean()),
        "p_circuit": statistics.rank_p(observed, null),
    }


def against_random(sweep, random, cfg, stream):
    """The circuit's own curve against those of random circuits: nodes matched, not weights."""
    shares, circuit = curves(sweep[sweep["condition"] == "circuit"])
    areas = area(shares, circuit.mean(1))
    coarse = np.sort(random["share"].unique())
    null = random_differences(random, None, coarse)
    by_example = area(coarse, circuit.mean(0)[:, np.isin(shares, coarse)]) - null.mean()
    seed = int(circuits.generator(*stream, "random_circuit").integers(2**31))
    low, high = statistics.mean_interval(by_example, cfg["bootstrap"], seed)
    last = random[(random["condition"] == "circuit") & (random["share"] == coarse[-1])]
    return {
        "control": "random_circuit",
        "area_circuit": areas.mean(),
        "area_control": null.mean(),
        "spread_circuit": areas.std(),
        "spread_control": null.std(),
        "difference": by_example.mean(),
        "low": low,
        "high": high,
        "p_trials": None,
        "loss_circuit": circuit[:, :, -1].mean(),
        "loss_control": last["loss"].mean(),
    } | ranked(sweep, random, None)


def size_effect(sweep, cfg, stream, matched):
    """Whether removing weights of the circuit's sizes does more than removing any: a row as above."""
    shares, first = curves(sweep[sweep["condition"] == matched])
    _, second = curves(sweep[sweep["condition"] == "non_circuit"])
    seeds = circuits.generator(*stream, "size").integers(2**31, size=2)
    by_example = area(shares, first.mean(0)) - area(shares, second.mean(0))
    low, high = statistics.mean_interval(by_example, cfg["bootstrap"], int(seeds[0]))
    p = trials_p(
        area(shares, first.mean(1)), area(shares, second.mean(1)), cfg["permutations"], int(seeds[1])
    )  # fmt: skip
    return {"difference": by_example.mean(), "low": low, "high": high, "p_trials": p}


def reading(tests, size, alpha, matched):
    """Which of the three readings the tests support: a key of READINGS.

    tests: {control: row with difference, low and q};  size: as from `size_effect`
    More is shown only where q <= alpha and the interval over examples lies above 0.
    """

    def more(row):
        return row["q"] is not None and row["q"] <= alpha and row["low"] > 0

    beyond_any, beyond_size = more(tests["non_circuit"]), more(tests[matched])
    if beyond_any and beyond_size:
        return "weights"
    by_size = size["low"] > 0 and size["p_trials"] is not None and size["p_trials"] <= alpha
    if beyond_any and by_size:
        return "size"
    if not beyond_any and not beyond_size and not by_size:
        return "nothing"
    return "unclear"
