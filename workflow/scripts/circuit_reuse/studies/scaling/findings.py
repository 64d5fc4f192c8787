"""The page of findings: what the numbers say, what they do not, and at which q."""

import numpy as np
from scipy import stats

from circuit_reuse.data.gather import pick
from circuit_reuse.report import pages
from circuit_reuse.report.numbers import interval, number, p_text, small
from circuit_reuse.stats.statistics import false_discovery
from circuit_reuse.studies.scaling.classes import CATEGORIES
from circuit_reuse.studies.scaling.fits import MEASURES
from circuit_reuse.studies.scaling.schemas import SIDES

UNITS = {"base": "of the intact metric", "logits": "logits", "standard_errors": "standard errors"}


def text(written, found, cfg, names):
    """The page, in Markdown.

    written: the tables for people by name;  found: the tables that they were made from
    """
    alpha, chosen = cfg["classes"]["alpha"], cfg["replacement"]
    heads = pick(found["heads"], split="held_out", replacement=chosen)
    models = found["trends"].join(written["models"][["q_within_layers"]])
    models = models[models["replacement"] == chosen]
    depths = written["depths"][written["depths"]["replacement"] == chosen]
    return (
        "\n\n".join(
            [
                setting(heads, cfg, names),
                "## Can the models do both tasks?\n\n" + ability(models, names),
                "## Which heads do which task\n\n" + categories(heads, written["categories"], names),
                "## Does the replacement decide?\n\n" + replacements(found["heads"]),
                "## Do the two tasks use the same heads?\n\n" + correlation(models, alpha),
                "## What changes with size\n\n" + sizes(written["fits"], chosen, alpha),
                "## Where in depth\n\n" + depth(depths, alpha),
                "## Do hero heads stay heroes?\n\n" + heroes(found["heroes"]),
                "## Heroes against random heads\n\n" + ablation(written["hero_vs_random"], alpha),
                "## Do strong heads carry what differs between the prompts?\n\n" + tracing(written["influence"], alpha),
                "## Are there counterparts in other models?\n\n"
                + transfer(written["transfer"], cfg["transfer"], alpha),
                "## What this page cannot say\n\n" + pages.bullets(limits(models)),
            ]
        )
        + "\n"
    )


def setting(heads, cfg, names):
    """What was run."""
    classes = cfg["classes"]
    n = heads[[f"n_examples_{side}" for side in SIDES]].to_numpy(float)
    known = n[np.isfinite(n)].astype(int)
    examples = "no" if not len(known) else f"{known.max()}" if np.ptp(known) == 0 else f"{known.min()} to {known.max()}"
    meaning = (
        "In standard errors, absent says that the data do not speak against 0, not that an effect is small. "
        if classes["unit"] == "standard_errors"
        else ""
    )
    return (
        "# Findings of the scaling study\n\n"
        "Written by the workflow from its tables; run it again and this page follows the numbers.\n\n"
        f"{several(heads['model'].nunique())}, tasks {' and '.join(names.tasks.values())}, "
        f"{examples} held-out examples a head. Each head is replaced "
        f"alone, here by `{cfg['replacement']}`. Strong: an effect of at least {classes['tau']:g} "
        f"{UNITS[classes['unit']]}, with q <= {classes['alpha']:g} that it is 0 (Benjamini-Hochberg over the "
        "heads of a model and both tasks; q does not say that it is beyond the threshold). Absent: an effect of less than that is "
        f"shown (q <= {classes['alpha']:g}, two one-sided tests). Uncertain: neither, in at least one task. {meaning}"
    ).rstrip()


def several(count):
    """A number of models in words."""
    return f"{count} model" + ("" if count == 1 else "s")


def ability(models, names):
    """Base metrics, and who is left out."""
    header = ["model", *(f"{task}: metric, accuracy" for task in names.tasks.values()), "in the fits"]
    rows = [
        [row["model"], *(base(row, side) for side in SIDES), "yes" if row["able"] else "no"]
        for row in models.to_dict("records")
    ]
    left = models[~models["able"].astype(bool)]["model"]
    why = (
        f"\n\nLeft out of fits, because a base metric has no interval above 0: {', '.join(left)}." if len(left) else ""
    )
    return pages.table(header, rows) + why


def base(row, side):
    """Base metric with interval, and accuracy."""
    low, high = row[f"base_{side}_low"], row[f"base_{side}_high"]
    accuracy = row[f"accuracy_{side}"]
    return f"{number(row[f'base_{side}'])} [{number(low)}, {number(high)}], {number(accuracy)}"


def categories(heads, table, names):
    """Counts by class, and whether strong heads coincide more than by chance."""
    counts = [f"n_{names.category(name)}" for name in CATEGORIES]
    header = ["model", *map(names.category, CATEGORIES), "strong in both: q by chance"]
    p_values = []
    for model in table["model"]:
        mine = heads[heads["model"] == model]
        first, second = (mine[f"state_{side}"] == "strong" for side in SIDES)
        p_values.append(stats.hypergeom.sf((first & second).sum() - 1, len(mine), first.sum(), second.sum()))
    rows = [
        [row["model"], *(row[name] for name in counts), small(q)]
        for row, q in zip(table.to_dict("records"), false_discovery(p_values), strict=True)
    ]
    against = heads[heads["suppressing"] != "none"]
    return pages.table(header, rows) + (
        f"\n\n{len(against)} of {len(heads)} heads are strong against a task (replacing them helps); they are "
        "kept and marked. The last column takes heads of all layers as alike (hypergeometric)."
    )


def replacements(heads):
    """How far classes agree between replacements, beyond chance."""
    held_out = heads[heads["split"] == "held_out"]
    wide = held_out.pivot(index=["model", "component"], columns="replacement", values="category")
    lines = []
    kinds = list(wide.columns)
    for place, first in enumerate(kinds):
        for second in kinds[place + 1 :]:
            both = wide[[first, second]][(wide[[first, second]] != "uncertain").all(axis=1)]
            if both.empty:
                continue
            same = (both[first] == both[second]).mean()
            shares = [both[kind].value_counts(normalize=True) for kind in (first, second)]
            chance = shares[0].mul(shares[1], fill_value=0).sum()
            kappa = (same - chance) / (1 - chance) if chance < 1 else np.nan
            lines.append(
                f"* {first} and {second}: {same:.0%} of the {len(both)} heads that both class with certainty have the same class (by chance {chance:.0%}; kappa {number(kappa)}); {len(wide) - len(both)} are uncertain in one"
            )
    return "\n".join(lines) or "Only one replacement was run."


def correlation(models, alpha):
    """Correlations with their tests, and what the published rule would have made of them."""
    header = "model | correlation over heads | corrected for attenuation | ranks | without the strongest head | within layers | q of that | after top-k selection | null of that"
    rows = [
        [
            row["model"],
            number(row["correlation"]),
            interval(row, "corrected"),
            *(number(row[name]) for name in ("spearman", "without_strongest", "correlation_within_layers")),
            small(row["q_within_layers"]),
            number(row["selected"]),
            f"{number(row['selected_null'])} [{number(row['selected_null_low'])}, {number(row['selected_null_high'])}]",
        ]
        for row in models.to_dict("records")
    ]
    known = models[models["q_within_layers"].notna()]
    clear = known[known["q_within_layers"] <= alpha]
    up = int((clear["correlation_within_layers"] > 0).sum())
    return pages.table(header.split(" | "), rows) + (
        f"\n\nWithin layers (heads of a layer permuted) the correlation is positive at q <= {alpha:g} in {up} of "
        f"{len(known)} models and negative in {len(clear) - up}. Intervals are over clusters of examples, not over "
        "heads: where one head is much stronger than all, read the column without it. Keeping the "
        "strongest heads of each task and filling in zeros, as the published study did, moves the null "
        "away from 0: compare `after top-k selection` with its null, never with 0."
    )


def sizes(fits, chosen, alpha):
    """Slopes, or why there is none; clear only where every replacement says the same."""
    lines = []
    for (family, measure), part in fits.groupby(["family", "measure"], sort=False):
        what, mine = f"* {family}, {MEASURES[measure]}: ", part[part["replacement"] == chosen]
        if mine.empty or isinstance(mine["problem"].iloc[0], str):
            lines.append(
                what + f"no fit ({mine['problem'].iloc[0] if len(mine) else f'nothing was measured with {chosen}'})"
            )
            continue
        row = mine.iloc[0]
        agree = trend_everywhere(part, alpha)
        lines.append(
            what + f"{row['slope']:+.2f} [{row['slope_low']:.2f}, {row['slope_high']:.2f}] for ten times "
            f"the parameters, {p_text('q', row['q_value'])}, {row['n_sizes']:.0f} sizes: "
            + ("clear under every replacement" if agree else "no trend that every replacement shows")
        )
    return "\n".join(lines)


def trend_everywhere(part, alpha):
    """Whether all replacements show the same sign at q <= alpha; part: rows of one measure, without q where there is no fit."""
    return bool((part["q_value"] <= alpha).all()) and np.sign(part["slope"]).nunique() == 1


def depth(depths, alpha):
    """Classes that sit deeper or shallower than any heads."""
    mine = depths[depths["q_value"].notna()]
    if mine.empty:
        return "No class of strong heads holds a head."
    clear = mine[mine["q_value"] <= alpha]
    lines = [
        f"{len(clear)} of {len(mine)} classes of strong heads are deeper or shallower than as many random heads at q <= {alpha:g}. (Heads of a layer are taken as independent; where they are alike, this rejects too often.)"
    ]
    lines += [
        f"* {row['model']}, {row['category']}: mean depth {row['depth']:.2f}, {p_text('q', row['q_value'])} ({row['n_heads']} heads)"
        for row in clear.to_dict("records")
    ]
    return "\n".join(lines)


def heroes(chosen):
    """How many heroes keep class and size on the held-out split."""
    strong = chosen[~chosen["category"].isin(["weak", "uncertain"])]
    if strong.empty:
        return "No head is strong on the train split."
    same = int((strong["category"] == strong["category_held_out"]).sum())
    lost = strong[strong["category_held_out"].isin(["weak", "uncertain"])]
    ratio = (strong["strength"] / strong["strength_train"]).median()
    names_of = ", ".join(f"{row.model} {row.component}" for row in lost.head(8).itertuples())
    rest = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
    more = f" ({names_of}{rest})" if len(lost) else ""
    return (
        f"{same} of {len(strong)} heroes chosen on the train split have the same class on the held-out "
        f"one, {len(lost)} become weak or uncertain{more}; the test there is the stricter one, over clusters of examples, where on the train split every "
        f"example counts. Their median strength there is {ratio:.2f} of that on the train split."
    )


def ablation(tests, alpha):
    """How often heroes beat random sets, by what these were matched for, and by how much."""
    known = tests[tests["q_value"].notna()]
    if known.empty:
        return "No set of heroes could be compared."
    lines = ["Sets of several sizes hold the same heads, so comparisons are not independent.", ""]
    for matching, part in known.groupby("matching", sort=False):
        metric, accuracy = ((part[name] <= alpha).sum() for name in ("q_value", "q_accuracy"))
        # Of a metric that is not above 0 nothing is a share, and single ratios to a small one would outweigh all others.
        able = part[part["metric"] > 0]
        change = "no share that is defined (it is not above 0)"
        if len(able):
            share, random = able[["effect", "effect_random"]].sum() / able["metric"].sum()
            change = f"{share:+.0%} of itself (random sets {random:+.0%})"
        lines.append(
            f"* matched {'in number only' if matching == 'plain' else f'by {matching}'}: over all together the metric "
            f"changes by {change} and accuracy is "
            f"{part['accuracy_circuit'].mean():.2f} (random sets {part['accuracy_random'].mean():.2f}); the metric falls "
            f"more than for random sets in {metric} of {len(part)} comparisons at q <= {alpha:g}, accuracy in {accuracy}"
        )
    for name, what in (("p_value", "metric"), ("p_accuracy", "accuracy")):
        lines += floor(
            known, name, 1 / (known["n_random"].max() + 1), alpha, f"of {what}", "scaling.heroes.random_sets"
        )
    few = tests[tests["p_value"].notna() & tests["q_value"].isna()]
    if len(few):
        lines.append(
            f"* {len(few)} comparisons have so few different random sets that no p can reach {alpha:g}; they are not counted"
        )
    skipped = tests[tests["problem"].notna()].drop_duplicates(["model", "ranking", "n_heads", "matching"])
    lines.append(f"* {len(skipped)} combinations of model, size and matching have no comparison; the table says why")
    return "\n".join(lines)


def floor(table, p_value, least, alpha, what, key):
    """A line that says so where tests are at the least p there is, and yet no q reaches alpha.

    p_value: its column; least: the minimum attainable p
    """
    at = int((table[p_value] <= least * (1 + 1e-9)).sum())
    smallest = table[f"q_{p_value.removeprefix('p_')}"].min()
    if not at or not smallest > alpha:
        return []
    return [
        f"* {at} of {len(table)} tests {what} are at the minimum attainable p ({least:.2g}), and the smallest q is {smallest:.2g}: more draws ({key}) are needed to call any of them clear"
    ]


def tracing(influence, alpha):
    """Correlation of strength and influence over all models."""
    lines, within = [], "correlation_within_layers"
    for row in influence[influence["model"] == "all"].to_dict("records"):
        q = row.get("q_value")
        known = q is not None and np.isfinite(q)
        lines.append(
            f"* {row['task']}, {row['part']}, {'clean into corrupt' if row['direction'] == 'restore' else 'corrupt into clean'}: "
            f"rank correlation within layers {number(row.get(within))} [{number(row.get(f'{within}_low'))}, {number(row.get(f'{within}_high'))}]"
            + (f", {p_text('q', q)}" if known else "")
            + (" (the same intervention as the scan, on other examples: a reliability)" if row["same"] else "")
            + ("" if known and q <= alpha else ", not clear")
        )
    return "\n".join(lines) or "Too few heads were traced."


def transfer(table, settings, alpha):
    """How many pairs of models have counterparts, by rule."""
    what = {
        "index": "the same layer and head, the published rule",
        "strength": "as strong in the other task",
        "other_task": "nearest profile in the other task",
        "function": "nearest profile in all",
    }
    if table.empty:
        return "Fewer than two models, or no examples left that were not traced."
    lines = []
    for rule, part in table.groupby("rule", sort=False):
        known = part[part["q_rank"].notna()]
        clear = int((known["q_rank"] <= alpha).sum())
        lines.append(
            f"* {what[rule]}: mean fractional rank of counterparts {number(part['mean_fractional_rank'].mean())} (null {number(part['mean_fractional_rank_null'].mean())}); better than its null in {clear} of {len(known)} pairs of models and tasks at q <= {alpha:g}"
        )
        draws, key = (
            (settings["draws"], "scaling.transfer.draws")
            if rule == "function"
            else (settings["pairings"], "scaling.draws")
        )
        lines += floor(known, "p_rank", 1 / (draws + 1), alpha, "of it", key)
    near = table[table["q_distance"].notna()]
    if len(near):
        lines.append(
            f"* profiles are nearer than with the tasks mixed over heads in {int((near['q_distance'] <= alpha).sum())} of {len(near)} pairs of models"
        )
    means = table.groupby("rule")["mean_fractional_rank"].mean()
    if {"strength", "other_task"} <= set(means.index):
        gain = means["strength"] - means["other_task"]
        lines.append(
            "* a rule beats its null as soon as heads that are strong in one task are strong in the other in both "
            f"models; what profiles add to that is the difference to `as strong in the other task`: {gain:+.2f} in rank"
        )
    return "\n".join(lines)


def limits(models):
    """What would be needed for more."""
    return (
        f"Each size is one trained model: with {several(len(models))} a trend over sizes and an accident of "
        "training cannot be distinguished, and the bands of the fits say so only as far as points "
        "scatter about the line. Effects are those of replacing one head alone: backups hide. "
        "Intervals are over the templates that were written for these tasks, not over all ways to ask."
    )
