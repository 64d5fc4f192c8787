"""What circuits score on each task, and what each component is worth: rows of the tables for people.

All as shares of the full model's mean metric, on held-out examples, with the whole examples drawn
again for intervals, so that what is paired stays paired.
"""

import numpy as np

from circuit_reuse.data.gather import pick
from circuit_reuse.stats import circuits, statistics
from circuit_reuse.studies.sequences import shares


def cross_rows(outcomes, named, target, cfg, stream):
    """Every circuit kept alone on one task, beside size-matched random circuits.

    outcomes: testing.Outcomes of the task;  named: the named circuits of the model
    cfg:     bootstrap, permutations, two_sided
    returns: rows of cross_task.csv; p_value is the share of random circuits, with the circuit, that
             come as near to 1 (two-sided limit) or score as much (one-sided)
    """
    full = outcomes.baseline("metric")
    empty = shares.share(outcomes.circuit("empty", "keep", "metric"), full)
    rows = []
    for each in named[named["kind"] != "random"].itertuples():
        kept = outcomes.circuit(each.circuit, "keep", "metric")
        low, high = shares.score_interval(kept, full, cfg["bootstrap"], each.components, stream[:3], outcomes.clusters)
        row = {
            "circuit": each.circuit,
            "kind": each.kind,
            "asked_of": "own task" if each.task == target else "another task",
            "composition": each.composition,
            "target": target,
            "n_components": len(each.components),
            "n_examples": len(full),
            "n_clusters": outcomes.n_clusters,
            "metric": full.mean(),
            "score": shares.share(kept, full),
            "score_low": low,
            "score_high": high,
            "score_empty": empty,
            "accuracy_kept": outcomes.circuit(each.circuit, "keep", "correct").mean(),
            "kl_kept": outcomes.circuit(each.circuit, "keep", "kl").mean(),
            "rank": np.median(outcomes.circuit(each.circuit, "keep", "rank")),
        }
        if outcomes.has(each.circuit, "remove"):
            row["score_removed"] = shares.share(outcomes.circuit(each.circuit, "remove", "metric"), full)
        rows.append(row | against_random(outcomes, each, named, full, cfg["two_sided"]))
    return rows


def against_random(outcomes, each, named, full, two_sided):
    """The columns that size-matched random circuits give; never the circuit itself."""
    random = pick(named, kind="random", composition=each.composition)
    if random.empty or each.kind not in ("task", "file"):
        return {"n_random": 0}
    own = [set(names) == set(each.components) for names in random["components"]]
    values = outcomes.controls(random["circuit"].iloc[0], "keep", "metric")[~np.array(own)]
    if not len(values):
        return {"n_random": 0}
    scores = np.array([shares.share(each_set, full) for each_set in values])
    low, high = np.percentile(scores, [2.5, 97.5])
    kept = shares.share(outcomes.circuit(each.circuit, "keep", "metric"), full)
    return {
        "n_random": len(scores),
        "score_random": scores.mean(),
        "score_random_low": low,
        "score_random_high": high,
        "p_value": statistics.rank_p(-abs(1 - kept), -np.abs(1 - scores))
        if two_sided
        else statistics.rank_p(kept, scores),
    }


def importance_rows(outcomes, named, names, task, cfg, stream):
    """What each component is worth on a task: within the circuit, and in the full model.

    outcomes: testing.Outcomes of the task;  names: heads and MLPs of the model
    returns:  rows of importance.csv; drop is the change of the score when the component
             goes: negative where it helps
    """
    full = outcomes.baseline("metric")
    single = outcomes.controls("single", "remove", "metric") - full
    ranks = np.median(outcomes.controls("single", "remove", "rank"), axis=1)
    intact = float(np.median(outcomes.baseline("rank")))
    own = pick(named, kind="task", task=task)
    circuit = [str(name) for name in own["components"].iloc[0]] if len(own) else []
    inside = {}
    if circuit:
        kept = outcomes.circuit(own["circuit"].iloc[0], "keep", "metric")
        less = outcomes.controls(f"{own['circuit'].iloc[0]} without", "keep", "metric") - kept
        inside = dict(zip(circuit, less, strict=True))
    rows = []
    for name, change, rank in zip(names, single, ranks, strict=True):
        row = {"task": task, "component": name, "in_circuit": name in inside, **counts_of(outcomes)}
        row |= {"rank": float(rank), "rank_full": intact}
        row |= drop("from_full", change, outcomes, cfg, (*stream, name, "full"))
        # Sign flips are symmetric.  Most components help, so that a q over both sides would call too many harmful.
        half = row["p_from_full"] / 2
        row["p_against"] = half if row["from_full"] > 0 else 1 - half
        if name in inside:
            row |= drop("in_circuit_drop", inside[name], outcomes, cfg, (*stream, name, "circuit"))
        rows.append(row)
    return rows


def file_drops(outcomes, named, task, cfg, stream):
    """What each component of a file's circuit is worth within it: rows as of importance_rows."""
    rows = []
    for each in pick(named, kind="file", task=task).itertuples():
        kept = outcomes.circuit(each.circuit, "keep", "metric")
        less = outcomes.controls(f"{each.circuit} without", "keep", "metric") - kept
        for name, change in zip(each.components, less, strict=True):
            row = {
                "task": task,
                "circuit": each.circuit,
                "component": str(name),
                "in_circuit": True,
                **counts_of(outcomes),
            }
            rows.append(row | drop("in_circuit_drop", change, outcomes, cfg, (*stream, each.circuit, name)))
    return rows


def counts_of(outcomes):
    """How many examples a row rests on, and clusters of them."""
    return {"n_examples": len(outcomes.examples), "n_clusters": outcomes.n_clusters}


def drop(column, change, outcomes, cfg, stream):
    """A change of the score with its bootstrap interval and its sign-flip p.

    change: [example], metric without the component less with it;  outcomes: testing.Outcomes of the task
    """
    full = outcomes.baseline("metric")
    low, high = shares.share_interval(change, full, cfg["bootstrap"], stream, outcomes.clusters)
    seed = circuits.seed(*stream, "flip")
    return {
        column: shares.share(change, full),
        f"{column}_low": low,
        f"{column}_high": high,
        f"p_{column}": statistics.sign_flip(change, cfg["permutations"], seed, outcomes.clusters),
    }


def stability_rows(pruned):
    """How much the circuits of one task depend on order and draw: rows of stability.csv."""
    from circuit_reuse.studies.sequences import pruning

    rows = []
    for threshold, part in pruned.groupby("threshold", sort=False):
        groups = {
            "orders": part[part["order"].notna()],
            "draws": part[part["draw"].notna()],
            "strategies": part[
                part["order"].isna() & part["draw"].isna() & ~part["strategy"].isin(["frequent", "file"])
            ],
        }
        for over, members in groups.items():
            sets = [set(names) for names in members["components"]]
            if not sets:
                continue
            sizes = [len(names) for names in sets]
            rows.append(
                {
                    "threshold": threshold,
                    "over": over,
                    "n_circuits": len(sets),
                    "n_different": len(set(map(frozenset, sets))),
                    "mean_jaccard": pruning.stability(sets),
                    "n_components_min": min(sizes),
                    "n_components_median": float(np.median(sizes)),
                    "n_components_max": max(sizes),
                    "n_in_all": len(set.intersection(*sets)),
                    "n_in_any": len(set.union(*sets)),
                    "score_min": members["score"].min(),
                    "score_max": members["score"].max(),
                }
            )
    return rows
