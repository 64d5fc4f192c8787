"""What the contrast study reports of its circuits, components and controls."""

import numpy as np
import pandas as pd

from circuit_reuse.data import jobs
from circuit_reuse.data.gather import pick
from circuit_reuse.stats import circuits, mean_tests, statistics
from circuit_reuse.stats import clusters as grouping
from circuit_reuse.stats.sharing import composition_name
from circuit_reuse.stats.testing import faithfulness_of, has_gap
from circuit_reuse.studies.contrast.pooling import by_construction
from circuit_reuse.studies.contrast.random_circuits import budget_matched_name, random_sets, removable

TESTED = (
    "scored_by rule circuit cost dimensions n_heads n_mlps n_examples n_clusters accuracy faithfulness faithfulness_low faithfulness_high "
    "faithfulness_random faithfulness_random_low faithfulness_random_high p_faithfulness accuracy_kept effect_share "
    "effect_share_low effect_share_high effect_share_random effect_share_random_low effect_share_random_high p_effect_share "
    "accuracy_circuit n_random faithfulness_lead faithfulness_lead_low faithfulness_lead_high"
).split()
BUDGET_SWEEP = (
    "scored_by rule budget dimensions cost faithfulness faithfulness_low faithfulness_high effect_share effect_share_low "
    "effect_share_high n_random"
).split()
SINGLE = (
    "component n_examples n_clusters_held_out effect effect_share effect_share_low effect_share_high effect_share_absolute effect_share_absolute_low effect_share_absolute_high "
    "p_effect p_absent"
).split()
# Labels of a component, by its difference and by its own effect.
INTERPRETATIONS = {
    "does": "differs and does something alone",
    "idle": "differs and does nothing alone",
    "open": "differs; what it does alone is open",
    "silent": "does something alone, no difference shown",
    "none": "no difference shown",
}


def effect_share(metric, floor, full, axis):
    """Share of the whole effect that removing brings: 0 none, 1 as much as removing everything."""
    return 1 - faithfulness_of(metric, floor, full, axis)


# What a circuit is asked: what it keeps alone, and what goes with it.
SIDES = {"keep": faithfulness_of, "remove": effect_share}
# The columns of each, and of the accuracy.
NAMES = {"keep": ("faithfulness", "accuracy_kept"), "remove": ("effect_share", "accuracy_circuit")}


def both(outcomes, circuit, cfg, stream):
    """Columns faithfulness and effect_share with their intervals, of one circuit; none where the intact model is no better than the empty one."""
    full, floor = outcomes.baseline("metric"), outcomes.circuit("empty", "keep", "metric")
    found = {}
    for side, statistic in SIDES.items() if has_gap(floor, full) else ():
        metric = outcomes.circuit(circuit, side, "metric")
        columns = (metric, floor, full)
        resamples, number = cfg["tests"]["bootstrap"], circuits.seed(*stream, circuit, side)
        low, high = statistics.bootstrap(columns, statistic, resamples, number, clusters=outcomes.clusters)
        name = NAMES[side][0]
        found |= {name: float(statistic(*columns, axis=0)), f"{name}_low": low, f"{name}_high": high}
    return found


def tested(outcomes, chosen, space, cfg, stream):
    """Rows of the tests table: circuits at the main budget against random ones of their composition.

    outcomes: testing.Outcomes;  chosen: rows of the circuits table of one model and set
    """
    rows, main = [], pick(chosen, condition="real", main=True)
    full, floor = outcomes.baseline("metric"), outcomes.circuit("empty", "keep", "metric")
    beside = pick(main, scored_by=cfg["attribution"], rule="knapsack")
    beside = beside["circuit"].iloc[0] if len(beside) else None
    for row in main.to_dict("records"):
        names = removable(row["components"])
        if not names:
            continue
        circuit, composition = row["circuit"], composition_name(names)
        counts = circuits.composition_of(names)
        # The circuit itself may be among the random ones of its composition; it is no control of itself.
        drawn = random_sets(counts, space, cfg["random_sets"], (*stream[:3], "random"))
        others = np.array([circuits.circuit_id(each) != circuit for each in drawn], dtype=bool)
        found = {key: row[key] for key in ("scored_by", "rule", "circuit", "cost", "dimensions")}
        found |= {"n_heads": counts.get("head", 0), "n_mlps": counts.get("mlp", 0)}
        found |= {"n_examples": len(full), "n_clusters": outcomes.n_clusters}
        found |= {"accuracy": outcomes.baseline("correct").mean()} | both(outcomes, circuit, cfg, stream)
        for side, statistic in SIDES.items():
            metric = outcomes.controls(composition, side, "metric")[others]
            values = np.array([statistic(each, floor, full, axis=0) for each in metric])
            name, accuracy = NAMES[side]
            found |= {"n_random": len(values), accuracy: outcomes.circuit(circuit, side, "correct").mean()}
            if len(values) and has_gap(floor, full):
                low, high = np.percentile(values, [2.5, 97.5])
                found |= {
                    f"{name}_random": values.mean(),
                    f"{name}_random_low": low,
                    f"{name}_random_high": high,
                    f"p_{name}": statistics.rank_p(found[name], values),
                }
        if beside is not None and row["scored_by"] not in (cfg["attribution"], "file") and has_gap(floor, full):
            columns = (
                outcomes.circuit(circuit, "keep", "metric"),
                outcomes.circuit(beside, "keep", "metric"),
                floor,
                full,
            )
            resamples, number = cfg["tests"]["bootstrap"], circuits.seed(*stream, circuit, "against")
            low, high = statistics.bootstrap(columns, lead, resamples, number, clusters=outcomes.clusters)
            found |= {
                "faithfulness_lead": float(lead(*columns, axis=0)),
                "faithfulness_lead_low": low,
                "faithfulness_lead_high": high,
            }
        rows.append({key: found.get(key) for key in TESTED})
    return rows


def lead(mine, other, floor, full, axis):
    """Difference of what two circuits keep, as shares."""
    return faithfulness_of(mine, floor, full, axis) - faithfulness_of(other, floor, full, axis)


def budget_sweep(outcomes, chosen, cfg, stream):
    """Rows of the budget_sweep table: what circuits of every budget keep, and random ones (mean and range)."""
    rows, real = [], chosen[(chosen["condition"] == "real") & (chosen["scored_by"] != "file")]
    full, floor = outcomes.baseline("metric"), outcomes.circuit("empty", "keep", "metric")
    if not has_gap(floor, full):
        return []
    for row in real.to_dict("records"):
        found = {key: row.get(key) for key in BUDGET_SWEEP}
        if removable(row["components"]):
            found |= both(outcomes, row["circuit"], cfg, stream)
        else:
            found |= {"faithfulness": 0.0, "effect_share": 0.0}
        rows.append(found)
    for dimensions, mine in real.groupby("dimensions"):
        metric = outcomes.controls(budget_matched_name(dimensions), "keep", "metric")
        values = np.array([faithfulness_of(each, floor, full, axis=0) for each in metric])
        rows.append(
            dict.fromkeys(BUDGET_SWEEP)
            | {
                "scored_by": "random",
                "rule": "random",
                "budget": mine["budget"].iloc[0],
                "dimensions": dimensions,
                "cost": dimensions,
                "faithfulness": values.mean(),
                "faithfulness_low": values.min(),
                "faithfulness_high": values.max(),
                "n_random": len(values),
            }
        )
    return rows


def singles(scores, examples, cfg, stream):
    """Rows of what each component does alone, on the held-out examples.

    scores: change in the metric when one component is corrupted
    returns: dicts; where corrupting everything lowers the metric effect_share is the mean change as a share of the whole change, effect_share_absolute the mean of its absolute
             value: a component may help some examples as much as it harms others
    """
    used = jobs.used(examples, "held_out").set_index("example")
    whole = (used["corrupt_metric"] - used["clean_metric"]).astype(float)
    rows = []
    for name, mine in scores[scores["example"].isin(used.index)].groupby("component", observed=True):
        values = mine.set_index("example")["score"].astype(float)
        full, clusters = whole[values.index].to_numpy(), used.loc[values.index, "cluster"].to_numpy(str)
        found = {}
        # The streams keep the names that the columns had at first.
        sizes = (
            ("effect_share", "share", values.to_numpy()),
            ("effect_share_absolute", "size", values.abs().to_numpy()),
        )
        # A share of a whole that goes the wrong way is none.
        for key, stem, column in sizes if full.mean() < 0 else ():
            columns = (column, full if key == "effect_share" else np.abs(full))
            resamples, number = cfg["tests"]["bootstrap"], circuits.seed(*stream, name, stem)
            low, high = statistics.bootstrap(columns, part, resamples, number, clusters=clusters)
            found |= {key: float(part(*columns, axis=0)), f"{key}_low": low, f"{key}_high": high}
        if found:
            found["p_absent"] = absent_p(values.abs().to_numpy(), np.abs(full), cfg["margin"], clusters)
        rows.append(
            {
                "component": str(name),
                "n_examples": len(values),
                "n_clusters_held_out": len(set(clusters)),
                "effect": values.mean(),
                **found,
                "p_effect": statistics.sign_flip(
                    values.to_numpy(), cfg["tests"]["permutations"], circuits.seed(*stream, name, "flip"), clusters
                ),
            }
        )
    return rows


def absent_p(size, whole, margin, labels):
    """The p that the mean size of an effect is a margin of the whole or more; nan for too few clusters.

    size, whole: [example], absolute effects of one component and of everything;  labels: [example], clusters
    """
    if grouping.too_few(labels, len(size)):
        return float("nan")
    units = (grouping.units(values, labels) for values in (size[:, None], whole))
    return float(mean_tests.absent_p(*units, margin, "base")[0])


def part(values, whole, axis):
    """Mean of one as a share of the mean of the other."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(values.mean(axis=axis), whole.mean(axis=axis))


def joined(differences, single, cfg):
    """Components by scoring with their difference, their own effect, and an interpretation of both."""
    real = differences[differences["condition"] == "real"].assign(
        component=lambda frame: frame["component"].astype(str)
    )
    found = real.merge(single, on=["model", "set", "component"], how="left")
    found["interpretation"] = [interpretation(row, cfg) for row in found.to_dict("records")]
    return found


def interpretation(row, cfg):
    """One of INTERPRETATIONS; None where the effect was not measured.

    A component does something alone if its mean effect is shown (q) and its interval lies wholly outside the margin;
    nothing if its mean |effect| is shown (q) to lie within it, so that effects of opposite sign do not hide each other.
    """
    if row["effect_share"] is None or not np.isfinite(row["effect_share"]):
        return None
    alpha, margin = cfg["tests"]["alpha"], cfg["margin"]
    differs = np.isfinite(row["q_value"]) and row["q_value"] <= alpha
    beyond = row["effect_share_low"] > margin or row["effect_share_high"] < -margin
    within = row["q_absent"] <= alpha
    if beyond and row["q_effect"] <= alpha:
        return "does" if differs else "silent"
    if not differs:
        return "none"
    return "idle" if within else "open"


def lengths(differences, chosen, cfg):
    """Rows that set every control beside the real comparison, by scoring.

    by_construction: whether the comparison cannot come out otherwise, since what is compared is the same by
    construction (nothing, or the real one);  n_significant: components with q of at most alpha
    ratio: median of the score as a share of the real one, over components whose real score is above 0
    correlation: Spearman of the scores with the real ones;  jaccard: of the circuits at the main budget
    """
    rows = []
    for (model, name, scoring), mine in differences.groupby(["model", "set", "scoring"], sort=False):
        real = mine[mine["condition"] == "real"].set_index("component")
        rule = cfg["scorings"][scoring]["rules"][0]
        sets = {
            row.condition: list(row.components)
            for row in pick(chosen, model=model, set=name, scored_by=scoring, rule=rule, main=True).itertuples()
        }
        for condition, other in mine.groupby("condition", sort=False):
            if condition.startswith("half"):
                continue
            both = condition in sets and "real" in sets
            rows.append(
                {"model": model, "set": name, "scoring": scoring, "condition": condition}
                | beside(other.set_index("component"), real, condition, cfg["scorings"][scoring], cfg["tests"]["alpha"])
                | {"jaccard": circuits.jaccard(sets[condition], sets["real"]) if both else None}
            )
    return pd.DataFrame(rows)


def beside(other, real, condition, scoring, alpha):
    """The scores of a control beside those of the real comparison; see `lengths`."""
    score, true = (rows["score"].to_numpy(float) for rows in (other, real))
    known = np.isfinite(score) & np.isfinite(true)
    varies = known.sum() > 2 and np.ptp(score[known]) > 0
    top = other["score"].astype(float).idxmax() if known.any() and varies else None
    given = by_construction(scoring, condition)
    if condition == "padded":
        # Padding a shorter second text moves more of the first into what is compared.
        given &= np.allclose(score, true, rtol=1e-3, equal_nan=True)
    # A score may be negative where there is nothing to see: that is no share of anything.
    seen = known & (true > 0)
    ratio = float(np.median(score[seen].clip(min=0) / true[seen])) if seen.any() else None
    return {
        "n_pairs": int(other["n_pairs"].iloc[0]),
        "n_clusters": int(other["n_clusters"].iloc[0]),
        "n_components": len(other),
        "n_significant": int((other["q_value"] <= alpha).sum()) if other["q_value"].notna().any() else None,
        "top_component": top,
        "top_score": other["score"].astype(float).max() if top is not None else None,
        "mean_score": float(np.mean(score[known])) if known.any() else None,
        "ratio": ratio,
        "correlation": pd.Series(score[known]).rank().corr(pd.Series(true[known]).rank()) if varies else None,
        "by_construction": given,
    }
