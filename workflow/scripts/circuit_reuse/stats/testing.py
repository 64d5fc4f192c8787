"""Does removing a shared circuit do more than removing matched random ones?

One row per (K, p), from the effects table: effects with intervals, paired tests against the
controls, the rank among them, and what the circuit keeps on its own.
"""

import numpy as np

from circuit_reuse.stats import circuits, statistics
from circuit_reuse.stats.sharing import composition_name, matched, random_sets


class Outcomes:
    """The effects table of one task by intervention, as arrays over the same examples."""

    def __init__(self, effects):
        self.examples = np.sort(effects["example"].unique())
        self.clusters = effects.drop_duplicates("example").set_index("example")["cluster"][self.examples].to_numpy(str)
        self.n_clusters = len(set(self.clusters))
        control = effects["control"].astype("Int32").fillna(-1).astype(int)
        circuit = effects["circuit"].fillna("none")
        frame = effects.assign(control=control, circuit=circuit).sort_values("example")
        self.groups = dict(iter(frame.groupby(["circuit", "direction"], sort=False)))
        self.known = {}

    def table(self, name, direction, column):
        """[control, example] as a frame; the circuit itself is control -1."""
        key = (name, direction, column)
        if key not in self.known:
            rows = self.groups[name, direction]
            self.known[key] = rows.pivot(index="control", columns="example", values=column)
        return self.known[key]

    def baseline(self, column):
        """[example], the run without intervention."""
        return self.table("none", "none", column).to_numpy(float)[0]

    def circuit(self, name, direction, column):
        """[example], the circuit itself removed or kept."""
        return self.table(name, direction, column).loc[-1].to_numpy(float)

    def controls(self, name, direction, column):
        """[control, example], its controls (or the random sets of a composition), perhaps none."""
        rows = self.table(name, direction, column)
        return rows.loc[rows.index >= 0].to_numpy(float)

    def has(self, name, direction):
        """Whether a circuit was run in a direction."""
        return (name, direction) in self.groups


def test_one(outcomes, circuit, composition, cfg, stream, own=None):
    """The columns of the tests table for one circuit; what needs controls only if it has any.

    composition: its composition, under which the effects of size-matched random sets are found
    own:  number of the random set that is the circuit itself, which is not compared with
    cfg:  permutations, bootstrap
    """
    metric, correct = outcomes.baseline("metric"), outcomes.baseline("correct")
    removed = outcomes.circuit(circuit, "remove", "metric") - metric
    right = outcomes.circuit(circuit, "remove", "correct")
    draws = cfg["bootstrap"]
    seed = circuits.seeds(6, *stream, circuit)
    effect = statistics.mean_interval(removed, draws, seed[0], clusters=outcomes.clusters)
    found = {
        "n_controls": 0,
        "effect": removed.mean(),
        "effect_low": effect[0],
        "effect_high": effect[1],
        **accuracies(correct, right, outcomes.clusters),
        "kl": outcomes.circuit(circuit, "remove", "kl").mean(),
        **kept_columns(outcomes, circuit, metric, draws, seed[4]),
    }
    for ending, p_value, name in (
        ("", "p_value", matched(circuit)),
        ("_uniform", "p_uniform", composition),
        ("_norm", "p_norm", matched(circuit, "norm")),
    ):
        random = random_effects(outcomes, name)
        random = np.delete(random, own) if name == composition and own is not None else random
        found[f"n_random{ending}"] = len(random)
        found[p_value] = statistics.rank_p(removed.mean(), random, larger=False) if len(random) else None
        if p_value == "p_value" and len(random):
            low, high = np.percentile(random, [2.5, 97.5])
            found |= {"effect_random": random.mean(), "effect_random_low": low, "effect_random_high": high}
    controls = outcomes.controls(circuit, "remove", "metric") - metric
    if not len(controls):
        return found
    control_right = outcomes.controls(circuit, "remove", "correct")
    mean_control, mean_right = controls.mean(axis=0), control_right.mean(axis=0)
    difference = statistics.mean_interval(removed - mean_control, draws, seed[1], clusters=outcomes.clusters)
    lift = lift_interval(right, mean_right, correct, clusters=outcomes.clusters)
    (low, high), ends = (np.percentile(each.mean(axis=1), [2.5, 97.5]) for each in (controls, control_right))
    return found | {
        "n_controls": len(controls),
        "effect_control": controls.mean(),
        "effect_control_low": low,
        "effect_control_high": high,
        "difference": (removed - mean_control).mean(),
        **dict(zip(("difference_low", "difference_high"), difference, strict=True)),
        "accuracy_control": control_right.mean(),
        "accuracy_control_low": ends[0],
        "accuracy_control_high": ends[1],
        "accuracy_control_0": control_right[0].mean(),
        "lift": lift_of(right, mean_right, correct, axis=0),
        **dict(zip(("lift_low", "lift_high"), lift, strict=True)),
        "p_mcnemar": statistics.paired_outcomes(
            right.astype(bool), control_right[0].astype(bool), cfg["permutations"], seed[2], outcomes.clusters
        ),
        "p_permutation": statistics.sign_flip(removed - mean_control, cfg["permutations"], seed[3], outcomes.clusters),
    }


def accuracies(intact, removed, clusters):
    """Columns of the accuracies of the intact model (its interval) and without the circuit; [example], 0 or 1."""
    found = {"accuracy_circuit": removed.mean()}
    for name, right in (("accuracy", intact), ("accuracy_circuit", removed)):
        found |= dict(zip((f"{name}_low", f"{name}_high"), statistics.share_interval(right, clusters), strict=True))
    return found


def random_effects(outcomes, name):
    """[set], the mean effects of the random sets of a name, perhaps none."""
    if not outcomes.has(name, "remove"):
        return np.empty(0)
    return (outcomes.controls(name, "remove", "metric") - outcomes.baseline("metric")).mean(axis=1)


def lift_of(circuit, control, baseline, axis):
    """(accuracy with the circuit removed - with a control removed) / accuracy of the intact model."""
    difference = circuit.mean(axis=axis) - control.mean(axis=axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(difference, baseline.mean(axis=axis))


def lift_interval(circuit, control, baseline, level=0.95, clusters=None):
    """Interval of the lift: of the paired difference, divided by the accuracy of the intact model."""
    accuracy = np.mean(baseline)
    ends = statistics.share_difference_interval(np.asarray(circuit, dtype=float) - control, level, clusters)
    return tuple(end / accuracy for end in ends) if accuracy > 0 else (float("nan"), float("nan"))


def kept_columns(outcomes, circuit, metric, draws, seed):
    """Sufficiency: what the circuit keeps of the metric when all else is removed.

    0 is the metric with everything removed, 1 the intact one (MIB's faithfulness); undefined where the intact one is not larger.
    """
    if not outcomes.has(circuit, "keep"):
        return {}
    floor = outcomes.circuit("empty", "keep", "metric")
    if not has_gap(floor, metric):
        return {}
    kept = outcomes.circuit(circuit, "keep", "metric")
    controls = outcomes.controls(circuit, "keep", "metric")
    interval = statistics.bootstrap((kept, floor, metric), faithfulness_of, draws, seed, clusters=outcomes.clusters)
    values = [faithfulness_of(row, floor, metric, axis=0) for row in controls]
    return {
        "faithfulness": faithfulness_of(kept, floor, metric, axis=0),
        "faithfulness_low": interval[0],
        "faithfulness_high": interval[1],
        "faithfulness_control": np.mean(values) if values else None,
    }


def has_gap(floor, full):
    """Whether shares of the way from everything removed to the intact model make sense: it must be the better one."""
    return bool(full.mean() > floor.mean())


def faithfulness_of(kept, floor, full, axis):
    """(kept - floor) / (full - floor) of the mean metrics."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = full.mean(axis=axis) - floor.mean(axis=axis)
        return np.divide(kept.mean(axis=axis) - floor.mean(axis=axis), gap)


def tests_table(effects, table, cfg, stream):
    """Rows of the tests table: one per (K, p) of the shared circuits.

    effects, table: the effects and the circuits table of one task;  stream: names the random streams
    A circuit shared at several p is tested once, so its rows are equal.
    """
    outcomes = Outcomes(effects)
    replacement = effects.loc[effects["direction"] != "none", "replacement"]
    shared = table[table["kind"] == "shared"]
    drawn = random_sets(table)
    done, rows = {}, []
    for row in shared.itertuples():
        problem = row.problem if isinstance(row.problem, str) else None
        if row.circuit == "empty":
            problem = "no component is shared at this threshold"
        elif row.circuit not in done:
            names = list(row.components)
            composition = composition_name(names)
            sets = drawn.get(composition, [])
            own = sets.index(names) if names in sets else None
            done[row.circuit] = test_one(outcomes, row.circuit, composition, cfg, stream, own)
        found = done.get(row.circuit, {})
        rows.append(
            dict.fromkeys(OPTIONAL)
            | {
                "top_k": row.top_k,
                "k": row.k,
                "threshold": row.threshold,
                "circuit": row.circuit,
                "n_components": len(row.components),
                "components": list(row.components),
                "n_examples": len(outcomes.examples),
                "n_clusters": outcomes.n_clusters,
                "n_controls": 0,
                **dict.fromkeys(("n_random", "n_random_uniform", "n_random_norm"), 0),
                "split": "held_out",
                "replacement": replacement.iloc[0] if len(replacement) else "none",
                "metric": float(outcomes.baseline("metric").mean()),
                "accuracy": float(outcomes.baseline("correct").mean()),
                "problem": problem,
            }
            | statistics.clean(found)
        )
    return rows


OPTIONAL = (
    "effect effect_low effect_high effect_control effect_control_low effect_control_high effect_random effect_random_low effect_random_high difference difference_low "
    "difference_high accuracy_low accuracy_high accuracy_circuit accuracy_circuit_low accuracy_circuit_high accuracy_control "
    "accuracy_control_low accuracy_control_high accuracy_control_0 lift lift_low "
    "lift_high p_mcnemar p_permutation p_value p_uniform p_norm faithfulness faithfulness_low faithfulness_high faithfulness_control "
    "kl problem"
).split()


def cross_row(outcomes, circuit, cfg, stream):
    """The columns of the cross_task table for one circuit on the examples of a target task."""
    metric, correct = outcomes.baseline("metric"), outcomes.baseline("correct")
    removed = outcomes.circuit(circuit, "remove", "metric") - metric
    controls = outcomes.controls(circuit, "remove", "metric") - metric
    drop = correct - outcomes.circuit(circuit, "remove", "correct")
    control_drop = correct - outcomes.controls(circuit, "remove", "correct")
    first, _ = circuits.seeds(2, *stream, circuit)
    effect = statistics.mean_interval(removed, cfg["bootstrap"], first, clusters=outcomes.clusters)
    drops = statistics.share_difference_interval(drop, clusters=outcomes.clusters)
    found = {
        "n_controls": len(controls),
        "accuracy_drop": drop.mean(),
        "accuracy_drop_low": drops[0],
        "accuracy_drop_high": drops[1],
        "accuracy_drop_control": control_drop.mean() if len(controls) else None,
        "effect": removed.mean(),
        "effect_low": effect[0],
        "effect_high": effect[1],
        "effect_control": controls.mean() if len(controls) else None,
    }
    return statistics.clean(found)


def specificity_row(outcomes, own, other, cfg, stream):
    """What removing a task's own components does, minus what removing another task's does, on the same examples.

    own, other: ids of two sets of components, `empty` for none, whose removal changes nothing
    cfg:          permutations, bootstrap
    returns:      effects, their paired difference with its interval, and its sign-flip p (two-sided); no p
                  where a set is empty, both are the same or there is one example, which leaves nothing to compare
    """
    metric = outcomes.baseline("metric")
    effects, found = {}, {}
    for side, key in (("own", own), ("other", other)):
        empty = key == "empty"
        change = np.zeros_like(metric) if empty else outcomes.circuit(key, "remove", "metric") - metric
        # The stream of `cross_row`: the same effect has one interval, whatever it is compared with.
        seed = circuits.seeds(2, *stream, key)[0]
        ends = statistics.mean_interval(change, cfg["bootstrap"], seed, clusters=outcomes.clusters)
        random = random_effects(outcomes, matched(key))
        effects[side] = change
        found |= {side: change.mean(), f"{side}_low": ends[0], f"{side}_high": ends[1]}
        found |= {f"{side}_random": random.mean() if len(random) else None, f"n_random_{side}": len(random)}
    difference = effects["own"] - effects["other"]
    first, second = circuits.seeds(2, *stream, own, other)
    ends = statistics.mean_interval(difference, cfg["bootstrap"], first, clusters=outcomes.clusters)
    found |= {"difference": difference.mean(), "difference_low": ends[0], "difference_high": ends[1]}
    if "empty" not in (own, other) and own != other and len(difference) > 1:
        found["p_value"] = statistics.sign_flip(difference, cfg["permutations"], second, outcomes.clusters)
    return statistics.clean(found)


def agreement(scores, exact, examples, k):
    """The agreement table: how a method ranks components, against activation patching.

    scores, exact: [example, component] of the same examples and components
    """
    from scipy.stats import spearmanr

    rows = []
    for example, mine, other in zip(examples, np.abs(scores), np.abs(exact), strict=True):
        varied = mine.std() > 0 and other.std() > 0
        correlation = float(spearmanr(mine, other).statistic) if varied else None
        top = set(np.argsort(-mine, kind="stable")[:k]) & set(np.argsort(-other, kind="stable")[:k])
        rows.append({"example": int(example), "rank_correlation": correlation, "top_overlap": len(top) / k})
    return rows
