"""Do heads of one model have counterparts in another?  By function, and by the published rule.

The same (layer, head) of two models that were trained apart has nothing in common but its name.
A head is described by what it does (its profile: effects by task, replacement and position), and
heads of two models are paired so that profiles are nearest in all.
"""

import numpy as np
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from circuit_reuse.data import components
from circuit_reuse.stats import statistics
from circuit_reuse.stats.circuits import generator
from circuit_reuse.studies.scaling.head_effects import matrix
from circuit_reuse.studies.scaling.trends import pearson

RULES = ("index", "strength", "other_task", "function")


def profile(scans, traces):
    """What each head of a model does, as shares of what there is to do.

    scans, traces: {task: table};  returns: {task: {feature: [head]}}
    Effects are mean deltas on the train split over the mean intact metric; those at
    positions are the mean influence of restoring z there over the mean gap between the runs.
    """
    found = {}
    for task, table in scans.items():
        found[task] = {}
        count = table["component"].nunique()
        for replacement in table["replacement"].unique():
            deltas, _ = matrix(table, "train", replacement)
            if not len(deltas):
                continue
            base = matrix(table, "train", replacement, "base")[0][:, :1].mean()
            # A share of a base that is not above 0 would turn signs round.
            found[task][replacement] = deltas.mean(axis=0) / (base if base > 0 else np.nan)
        rows = traces[task]
        rows = rows[(rows["part"] == "z") & (rows["direction"] == "restore") & rows["role"].notna()]
        for role, part in rows.groupby("role"):
            each = part.groupby(["layer", "head"])[["influence", "gap"]].mean()
            # Where only heroes were traced, the others have no effect at a position to compare.
            if len(each) < count:
                continue
            found[task][f"at {role}"] = (each["influence"] / each["gap"]).to_numpy(float)
    return found


def effect(table, replacement, left_out):
    """Mean held-out |delta| of each head, without the examples that profiles were taken from."""
    kept = table[~((table["split"] == "held_out") & table["example"].isin(left_out))]
    deltas, _ = matrix(kept, "held_out", replacement)
    return np.abs(deltas.mean(axis=0)) if len(deltas) else None


def table_of(first, second, tasks):
    """Profiles of two models as arrays [head, feature] of the features that both have.

    Each feature is divided by its spread over the heads of both, so that all count alike.
    returns: (first, second, task of each feature)
    """
    columns, owners = ([], []), []
    for task in tasks:
        for feature in sorted(set(first[task]) & set(second[task])):
            pair = first[task][feature], second[task][feature]
            spread = np.concatenate(pair).std()
            if not np.isfinite(spread) or spread == 0:
                continue
            for side, values in zip(columns, pair, strict=True):
                side.append(values / spread)
            owners.append(task)
    return (*(np.array(side).T for side in columns), np.array(owners))


def paired(first, second):
    """Pairs of heads whose profiles are nearest in all, {head of first: head of second}.

    source: assignment problem, Kuhn 1955;  returns also the mean distance of the pairs
    """
    cost = cdist(first, second)
    rows, columns = linear_sum_assignment(cost)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True)), float(cost[rows, columns].mean())


def by_strength(first, second):
    """Pairs in the order of strength over all features, as far as both models have heads."""
    orders = [np.argsort(-np.abs(part).mean(axis=1), kind="stable") for part in (first, second)]
    return dict(zip(*(order.tolist() for order in orders), strict=False))


def by_index(names, target_names):
    """The published rule: the same (layer, head), where the target has one."""
    places = {components.place(name): n for n, name in enumerate(target_names)}
    return {n: places[components.place(name)] for n, name in enumerate(names) if components.place(name) in places}


def fractional_ranks(effects):
    """Rank of each head by effect over their number, 1 / n for the strongest; ties share theirs.

    The published ranks broke ties by the order of an unstable sort.
    """
    return stats.rankdata(-effects, method="average") / len(effects)


def measure(base, ranks, target, mine, theirs, top):
    """Mean fractional rank of the counterparts of the top heads, and correlation over all pairs.

    base:          [head] effects in the base model
    ranks, target: [..., head] ranks and effects in the target
    mine, theirs:  heads that are paired, [pair] and [..., pair]
    returns:       two arrays [...]
    """
    found = np.isin(mine, top)
    at = np.take_along_axis(ranks, theirs, axis=-1)
    rank = at[..., found].mean(axis=-1) if found.any() else np.full(at.shape[:-1], np.nan)
    first = stats.rankdata(base[mine])
    second = stats.rankdata(np.take_along_axis(target, theirs, axis=-1), axis=-1)
    return rank, pearson(np.broadcast_to(first, second.shape), second)


def transfer(base, target, tasks, cfg, stream, first_way=True):
    """Rows of transfer.csv for an ordered pair of models.

    base, target: {"profile": ..., "effects": {task: [head]}, "names": [...]}
    cfg:          top_share (of heads of the base that are looked up), pairings and draws (of the
                  two nulls; the second pairs profiles again which takes long)
    first_way:    whether the distance of these models is reported here, not the other way round
    For each task, the strongest heads of the base are looked up in the target: by index, by their
    strength in the other task alone, by profiles of the other task, and by profiles of all.  The
    null of the first three pairs heads at random; it is beaten as soon as heads that are strong in
    one task are strong in the other in both models, so profiles show more only where they beat
    strength.  For the last rule, which is paired by what it is measured with, the null mixes the
    heads of the target within each task, so that each task's effects are there but no longer in the
    same heads, and pairs again.  The distance of a pair of models is the same from both and for both
    tasks, so it is reported once.
    """
    rows = []
    for task in tasks:
        others = [other for other in tasks if other != task]
        mine, theirs = base["effects"][task], target["effects"][task]
        if mine is None or theirs is None:
            continue
        ranks = fractional_ranks(theirs)
        count = max(1, round(cfg["top_share"] * len(mine)))
        top = np.argsort(-mine, kind="stable")[:count]
        for rule in RULES:
            rng = generator(*stream, task, rule)
            row = {"task": task, "rule": rule, "n_heads": count}
            if rule == "index":
                pairs = by_index(base["names"], target["names"])
            else:
                profiles = table_of(base["profile"], target["profile"], tasks if rule == "function" else others)
                if not len(profiles[2]):
                    continue
                pairs, distance = (by_strength(*profiles[:2]), None) if rule == "strength" else paired(*profiles[:2])
            pairs = np.array(list(pairs.items()), dtype=int).reshape(-1, 2)
            rank, correlation = measure(mine, ranks[None], theirs[None], pairs[:, 0], pairs[None, :, 1], top)
            row["mean_fractional_rank"], row["correlation"] = float(rank[0]), float(correlation[0])
            row["n_missing"] = count - int(np.isin(pairs[:, 0], top).sum())
            if rule == "function":
                *null, distances = mixed(profiles, task, top, mine, ranks, theirs, cfg["draws"], rng)
                if first_way and task == tasks[0]:
                    row["distance"], row["distance_null"] = distance, float(distances.mean())
                    row["p_distance"] = statistics.rank_p(distance, distances, larger=False)
            else:
                null = at_random(pairs[:, 0], top, mine, ranks, theirs, cfg["pairings"], rng)
            rows.append(statistics.clean(row | against(row["mean_fractional_rank"], row["correlation"], *null)))
    return rows


def at_random(heads, top, mine, ranks, theirs, draws, rng):
    """The two measures when as many heads are paired at random, [draw] each."""
    chosen = rng.random((draws, len(theirs))).argsort(axis=1)[:, : len(heads)]
    all_ranks, target = (np.broadcast_to(v, (draws, len(v))) for v in (ranks, theirs))
    return measure(mine, all_ranks, target, heads, chosen, top)


def mixed(profiles, measured, top, mine, ranks, theirs, draws, rng):
    """The measures and the distance when the target's tasks lie in other heads, [draw] each.

    measured: the task whose effects are measured; they go with the profile of their task
    """
    first, second, owners = profiles
    pairs, moved, distances = [], [], []
    for _ in range(draws):
        other = second.copy()
        for task in sorted({*owners, measured}):
            order = rng.permutation(len(second))
            other[:, owners == task] = second[order][:, owners == task]
            if task == measured:
                moved.append(order)
        found, distance = paired(first, other)
        pairs.append(list(found.items()))
        distances.append(distance)
    pairs, moved = np.array(pairs), np.array(moved)
    # Which heads of the base are paired may change where it has more than the target.
    found = [
        measure(mine, ranks[order][None], theirs[order][None], pair[:, 0], pair[None, :, 1], top)
        for order, pair in zip(moved, pairs, strict=True)
    ]
    return *(np.concatenate(part) for part in zip(*found, strict=True)), np.array(distances)


def against(rank, correlation, null_rank, null_correlation):
    """Means of the null and p-values; low ranks and high correlations count as transfer."""
    known, correlations = (null[np.isfinite(null)] for null in (null_rank, null_correlation))
    found = {}
    if len(known) and np.isfinite(rank):
        found |= {
            "mean_fractional_rank_null": float(known.mean()),
            "mean_fractional_rank_null_low": float(np.percentile(known, 2.5)),
            "mean_fractional_rank_null_high": float(np.percentile(known, 97.5)),
            "p_rank": statistics.rank_p(rank, known, larger=False),
        }
    if len(correlations) and np.isfinite(correlation):
        found["p_correlation"] = statistics.rank_p(correlation, correlations)
    return found
