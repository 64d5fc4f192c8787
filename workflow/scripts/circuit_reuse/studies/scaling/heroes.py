"""Hero heads: the strongest of each class on the train split, and what removing them does.

Everything is chosen on the train split and measured on the held-out one.
"""

from collections import Counter

import numpy as np

from circuit_reuse.data import components
from circuit_reuse.stats import circuits, statistics, testing
from circuit_reuse.studies.scaling.classes import CATEGORIES
from circuit_reuse.studies.scaling.schemas import SIDES

ALL = "all"


def heroes(heads, replacement, per_class):
    """Rows of the heroes table: the strongest heads of each class, weak and uncertain included.

    heads: the heads table of a model
    """
    train, held_out = (
        heads[(heads["split"] == split) & (heads["replacement"] == replacement)].reset_index(drop=True)
        for split in ("train", "held_out")
    )
    rows = []
    for category in CATEGORIES:
        mine = ranked(train[train["category"] == category])
        for rank, place in enumerate(mine.index[:per_class], start=1):
            before, after = train.loc[place], held_out.loc[place]
            row = {
                "category": category,
                "rank": rank,
                **{name: before[name] for name in ("component", "layer", "head", "suppressing")},
                "strength_train": before["strength"],
                "strength": after["strength"],
                "category_held_out": after["category"],
            }
            for side in SIDES:
                row[f"delta_train_{side}"] = before[f"delta_{side}"]
                for name in (
                    f"delta_{side}",
                    f"delta_{side}_low",
                    f"delta_{side}_high",
                    f"p_value_{side}",
                    f"q_value_{side}",
                ):
                    row[name] = after[name]
            rows.append(statistics.clean(row))
    return rows


def ranked(rows):
    """Rows of the heads table by strength, ties in the order of the computation; known ones only."""
    return rows[rows["strength"].notna()].sort_values("strength", ascending=False, kind="stable")


def hero_sets(heads, replacement, cfg, stream):
    """Rows of the hero_sets table: the heroes to remove, and random sets matched to them.

    cfg: rankings (all, or classes), sizes, matchings, random_sets, norm_strata
    Heads that work against a task are left out, of the random sets too: removing them with the
    others would hide both.  A random set has as many heads (plain), as many in each layer (layer), or as many in each
    stratum of output norm (norm); it may overlap with the heroes, or it could not hold the heads
    that matter most, and its rank would mean nothing (docs/validation.md).
    """
    train = heads[(heads["split"] == "train") & (heads["replacement"] == replacement)]
    train = train[train["suppressing"] == "none"]
    names = [str(name) for name in train["component"]]
    norms = train[[f"output_norm_{side}" for side in SIDES]].mean(axis=1).to_numpy(float)
    strata = np.argsort(np.argsort(norms, kind="stable")) * cfg["norm_strata"] // len(names)
    keys = {
        "plain": lambda name: 0,
        "layer": lambda name: components.place(name)[0],
        "norm": dict(zip(names, strata, strict=True)).get,
    }
    rows = []
    for ranking in cfg["rankings"]:
        mine = train if ranking == ALL else train[train["category"] == ranking]
        order = [str(name) for name in ranked(mine)["component"]]
        for size in cfg["sizes"]:
            here = {"ranking": ranking, "n_heads": size}
            problem = no_set(ranking, size, len(order), len(names))
            chosen = circuits.sorted_names(order[:size])
            rows.append(here | set_row(None, None, [] if problem else chosen, problem))
            for matching in [] if problem else cfg["matchings"]:
                found = matched(chosen, names, keys[matching], cfg["random_sets"], (*stream, matching))
                if not found:
                    text = "no other set has as many heads in each " + (
                        "layer" if matching == "layer" else "stratum of output norm"
                    )
                    rows.append(here | set_row(matching, None, [], text))
                for number, control in enumerate(found):
                    rows.append(here | set_row(matching, number, control, None))
    return rows


def no_set(ranking, size, there, total):
    """Why there are no heroes of a size to compare, None if there are."""
    if size >= total:
        return (
            f"the model has {total} heads that work against no task, so a set of {size} has nothing to be compared with"
        )
    if size > there:
        return f"only {there} such heads" + (f" of the class {ranking}" if ranking != ALL else "")
    return None


def set_row(matching, control, names, problem):
    """The rest of a row of the hero_sets table."""
    return {"matching": matching, "control": control, "components": names, "problem": problem}


def matched(chosen, names, key, count, stream):
    """Random sets with as many heads of each key as the chosen ones; never the chosen themselves.

    returns: `count` different sets, all there are if there are no more
    """
    groups = {group: [None] * number for group, number in Counter(map(key, chosen)).items()}
    pools = {group: [name for name in names if key(name) == group] for group in groups}
    return circuits.others_than(chosen, groups, pools, count, circuits.generator("hero sets", *stream, sorted(chosen)))


def intervention_name(ranking, size, matching):
    """The name under which effects of a set are found."""
    return f"{ranking} {size}" + (f" {matching}" if matching else "")


def hero_tests(frame, sets, cfg, stream):
    """What removing heroes does beside random sets: rows of hero_vs_random.csv for one task.

    frame: effects of the units;  cfg: bootstrap
    returns: one row a ranking, size and matching; p_value and p_accuracy are one-sided: the
             share of random sets, with the heroes, that lower the metric (the accuracy) as much
    """
    outcomes = testing.Outcomes(frame)
    metric, correct = outcomes.baseline("metric"), outcomes.baseline("correct")
    rows = []
    for (ranking, size), part in sets.groupby(["ranking", "n_heads"], sort=False):
        row = {
            "ranking": ranking,
            "n_heads": size,
            "n_examples": len(metric),
            "n_clusters": outcomes.n_clusters,
            "metric": metric.mean(),
            "accuracy": correct.mean(),
        }
        hero = part[part["matching"].isna()].iloc[0]
        if isinstance(hero["problem"], str):
            rows.append(row | {"matching": None, "n_random": 0, "problem": hero["problem"]})
            continue
        name = intervention_name(ranking, size, None)
        removed = outcomes.circuit(name, "remove", "metric") - metric
        right = outcomes.circuit(name, "remove", "correct")
        seeds = circuits.seeds(2, *stream, name)
        low, high = statistics.mean_interval(removed, cfg["bootstrap"], seeds[0], clusters=outcomes.clusters)
        share = statistics.share_interval(right, outcomes.clusters)
        row |= {
            "effect": removed.mean(),
            "effect_low": low,
            "effect_high": high,
            "accuracy_circuit": right.mean(),
            "accuracy_circuit_low": share[0],
            "accuracy_circuit_high": share[1],
        }
        for matching, drawn in part[part["matching"].notna()].groupby("matching", sort=False):
            problem = drawn["problem"].dropna()
            if len(problem):
                rows.append(row | {"matching": matching, "n_random": 0, "problem": problem.iloc[0]})
                continue
            rows.append(
                row
                | {"matching": matching, "problem": None}
                | against(outcomes, intervention_name(ranking, size, matching), metric, removed, right, cfg, seeds[1])
            )
    return [statistics.clean(row) for row in rows]


def against(outcomes, name, metric, removed, right, cfg, seed):
    """The columns that need random sets."""
    random = outcomes.controls(name, "remove", "metric") - metric
    accuracy = outcomes.controls(name, "remove", "correct").mean(axis=1)
    each = random.mean(axis=1)
    low, high = np.percentile(each, [2.5, 97.5])
    accuracy_low, accuracy_high = np.percentile(accuracy, [2.5, 97.5])
    difference = removed - random.mean(axis=0)
    bounds = statistics.mean_interval(difference, cfg["bootstrap"], seed, clusters=outcomes.clusters)
    return {
        "n_random": len(each),
        "effect_random": each.mean(),
        "effect_random_low": low,
        "effect_random_high": high,
        "difference": difference.mean(),
        "difference_low": bounds[0],
        "difference_high": bounds[1],
        "accuracy_random": accuracy.mean(),
        "accuracy_random_low": accuracy_low,
        "accuracy_random_high": accuracy_high,
        "p_value": statistics.rank_p(removed.mean(), each, larger=False),
        "p_accuracy": statistics.rank_p(right.mean(), accuracy, larger=False),
    }
