"""The page of findings: what the numbers say, what they do not, and at which q."""

import numpy as np
from scipy import stats

from circuit_reuse.scaling.classes import CATEGORIES
from circuit_reuse.scaling.fits import MEASURES
from circuit_reuse.scaling.schemas import SIDES

UNITS = {"base": "of the untouched metric", "logits": "logits", "standard_errors": "standard errors"}  # fmt: skip


def text(written, found, cfg, names):
    """The page, in Markdown.

    written: the tables for people by name;  found: the tables that they were made from
    """
    alpha, chosen = cfg["classes"]["alpha"], cfg["replacement"]
    heads = found["heads"]
    heads = heads[(heads["split"] == "held_out") & (heads["replacement"] == chosen)]
    models = found["trends"][found["trends"]["replacement"] == chosen].assign(
        q_correlation=written["models"].loc[found["trends"]["replacement"] == chosen, "q_correlation"]
    )  # fmt: skip
    return "\n\n".join(
        [
            setting(heads, cfg, names),
            "## Can the models do both tasks?\n\n" + ability(models, names),
            "## Which heads do which task\n\n" + categories(heads, written["categories"], names),
            "## Does the replacement decide?\n\n" + replacements(found["heads"]),
            "## Do the two tasks use the same heads?\n\n" + correlation(models, alpha),
            "## What changes with size\n\n" + sizes(written["fits"], alpha),
            "## Where in depth\n\n" + depth(found["depths"], chosen, alpha, names),
            "## Do hero heads stay heroes?\n\n" + heroes(found["heroes"]),
            "## Heroes against random heads\n\n" + ablation(written["hero_vs_random"], alpha),
            "## Do strong heads carry what differs between the prompts?\n\n" + tracing(written["influence"], alpha),
            "## Are there counterparts in other models?\n\n" + transfer(written["transfer"], alpha),
            "## What this page cannot say\n\n" + limits(models),
        ]
    ) + "\n"  # fmt: skip


def setting(heads, cfg, names):
    """What was run."""
    classes = cfg["classes"]
    n = heads[[f"n_{side}" for side in SIDES]].to_numpy(float)
    return (
        "# Findings of the scaling study\n\n"
        "Written by the workflow from its tables; run it again and this page follows the numbers.\n\n"
        f"{heads['model'].nunique()} models, tasks {' and '.join(names.tasks.values())}, "
        f"{int(np.nanmin(n))} to {int(np.nanmax(n))} held-out examples a head. Each head is replaced "
        f"alone, here by `{cfg['replacement']}`. Strong: an effect of at least {classes['tau']:g} "
        f"{UNITS[classes['unit']]} with q <= {classes['alpha']:g} (Benjamini-Hochberg over the heads of "
        "a model and both tasks). Absent: the whole 95 % interval is smaller than that. Uncertain: "
        "neither, in at least one task."
    )


def number(value, digits=2):
    """A number as text, a dash where there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def small(value):
    """A p or q as text."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.2g}" if value >= 0.001 else "< 0.001"  # fmt: skip


def interval(row, name):
    """Value [low, high]"""
    return f"{number(row[name])} [{number(row[f'{name}_low'])}, {number(row[f'{name}_high'])}]"


def ability(models, names):
    """Base metrics, and who is left out."""
    lines = ["| model | " + " | ".join(f"{task}: metric, accuracy" for task in names.tasks.values()) + " | in the fits |", "|---|---|---|---|"]  # fmt: skip
    for row in models.to_dict("records"):
        cells = [base(row, side) for side in SIDES]
        lines.append(f"| {row['model']} | {cells[0]} | {cells[1]} | {'yes' if row['able'] else 'no'} |")  # fmt: skip
    left = models[~models["able"].astype(bool)]["model"]
    if len(left):
        lines += ["", f"Left out of fits, because a base metric is not above 0: {', '.join(left)}."]
    return "\n".join(lines)


def base(row, side):
    """Base metric with interval, and accuracy."""
    low, high = row[f"base_low_{side}"], row[f"base_high_{side}"]
    accuracy = row[f"accuracy_{side}"]
    return f"{number(row[f'base_{side}'])} [{number(low)}, {number(high)}], {number(accuracy)}"


def categories(heads, table, names):
    """Counts by class, and whether strong heads coincide more than by chance."""
    counts = [f"n_{names.category(name)}" for name in CATEGORIES]
    lines = ["| model | " + " | ".join(names.category(name) for name in CATEGORIES) + " | strong in both: p by chance |", "|---|" + "---|" * (len(counts) + 1)]  # fmt: skip
    for row in table.to_dict("records"):
        mine = heads[heads["model"] == row["model"]]
        first, second = (mine[f"state_{side}"] == "strong" for side in SIDES)
        p = stats.hypergeom.sf((first & second).sum() - 1, len(mine), first.sum(), second.sum())
        lines.append(f"| {row['model']} | " + " | ".join(str(row[name]) for name in counts) + f" | {p:.2g} |")  # fmt: skip
    against = heads[heads["suppressing"] != "none"]
    lines += [
        "",
        f"{len(against)} of {len(heads)} heads work against a task (replacing them helps, q <= alpha); "
        "they are kept and marked.",
    ]
    return "\n".join(lines)


def replacements(heads):
    """How far classes agree between replacements."""
    held_out = heads[heads["split"] == "held_out"]
    wide = held_out.pivot(index=["model", "component"], columns="replacement", values="category")
    lines = []
    kinds = list(wide.columns)
    for place, first in enumerate(kinds):
        for second in kinds[place + 1 :]:
            both = wide[[first, second]][(wide[[first, second]] != "uncertain").all(axis=1)]
            same = int((both[first] == both[second]).sum())
            lines.append(f"* {first} and {second}: {same} of {len(both)} heads that both class with certainty have the same class")  # fmt: skip
    return "\n".join(lines) or "Only one replacement was run."


def correlation(models, alpha):
    """Correlations with their tests, and what the published rule would have made of them."""
    lines = ["| model | correlation over all heads | q | within layers: p | after top-k selection | null of that |", "|---|---|---|---|---|---|"]  # fmt: skip
    for row in models.to_dict("records"):
        null = f"{number(row['selected_null'])} [{number(row['selected_null_low'])}, {number(row['selected_null_high'])}]"  # fmt: skip
        lines.append(
            f"| {row['model']} | {interval(row, 'correlation')} | {small(row['q_correlation'])} "
            f"| {small(row['p_within_layers'])} | {number(row['selected'])} | {null} |"
        )
    known = models[models["q_correlation"].notna()]
    up = known[(known["q_correlation"] <= alpha) & (known["correlation"] > 0)]
    down = known[(known["q_correlation"] <= alpha) & (known["correlation"] < 0)]
    lines += [
        "",
        f"Positive at q <= {alpha:g} in {len(up)} of {len(known)} models, negative in {len(down)}. "
        "Keeping the strongest heads of each task and filling in zeros, as the published study did, "
        "moves the null away from 0: compare `after top-k selection` with its null, never with 0.",
    ]
    return "\n".join(lines)


def sizes(fits, alpha):
    """Slopes, or why there is none."""
    lines = []
    for row in fits.to_dict("records"):
        what = f"* {row['family']}, {MEASURES[row['measure']]}: "
        if isinstance(row["problem"], str):
            lines.append(what + f"no fit ({row['problem']})")
            continue
        clear = row["q_value"] <= alpha
        lines.append(
            what + f"{row['slope']:+.2f} [{row['slope_low']:.2f}, {row['slope_high']:.2f}] for ten times "
            f"the parameters, q = {row['q_value']:.2g}, {row['sizes']} sizes: "
            + ("more than scatter about the line" if clear else "no trend can be told")
        )  # fmt: skip
    return "\n".join(lines)


def depth(depths, chosen, alpha, names):
    """Classes that sit deeper or shallower than any heads."""
    mine = depths[(depths["replacement"] == chosen) & depths["p_depth"].notna()].copy()
    mine = mine[mine["category"] != "uncertain"]
    if mine.empty:
        return "No class holds a head."
    mine["q"] = stats.false_discovery_control(mine["p_depth"].astype(float))
    clear = mine[mine["q"] <= alpha]
    lines = [f"{len(clear)} of {len(mine)} classes of models are deeper or shallower than as many random heads at q <= {alpha:g}:"]  # fmt: skip
    lines += [
        f"* {row['model']}, {names.category(row['category'])}: mean depth {row['depth']:.2f}, q = {row['q']:.2g} ({row['heads']} heads)"
        for row in clear.to_dict("records")
    ]  # fmt: skip
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
    more = f" ({names_of})" if len(lost) else ""
    return (
        f"{same} of {len(strong)} heroes chosen on the train split have the same class on the held-out "
        f"one, {len(lost)} become weak or uncertain{more}. Their median strength there is "
        f"{ratio:.2f} of that on the train split."
    )


def ablation(tests, alpha):
    """How often heroes beat random sets, by what these were matched for."""
    known = tests[tests["q_rank"].notna()]
    if known.empty:
        return "No set of heroes could be compared."
    lines = []
    for matching, part in known.groupby("matching", sort=False):
        metric, accuracy = ((part[name] <= alpha).sum() for name in ("q_rank", "q_rank_accuracy"))
        lines.append(
            f"* matched {'in number only' if matching == 'plain' else f'by {matching}'}: the metric falls more "
            f"than for random sets in {metric} of {len(part)} comparisons at q <= {alpha:g}, accuracy in {accuracy}"
        )  # fmt: skip
    floor = 1 / (known["n_sets"].max() + 1)
    lines.append(f"* no p can be below {floor:.2g}, the share of one set: more of them (scaling.heroes.random_sets) would tell more")  # fmt: skip
    few = tests[tests["p_rank"].notna() & tests["q_rank"].isna()]
    if len(few):
        lines.append(f"* {len(few)} comparisons have so few different random sets that no p can reach {alpha:g}; they are not counted")  # fmt: skip
    skipped = tests[tests["problem"].notna()].drop_duplicates(["model", "ranking", "size", "matching"])  # fmt: skip
    lines.append(f"* {len(skipped)} combinations of model, size and matching have no comparison; the table says why")  # fmt: skip
    return "\n".join(lines)


def tracing(influence, alpha):
    """Correlation of strength and influence over all models."""
    mine = influence[influence["model"] == "all"]
    lines = [
        f"* {row['task']}, {row['part']}, {'clean into corrupt' if row['direction'] == 'restore' else 'corrupt into clean'}: "
        f"rank correlation {number(row.get('correlation'))} [{number(row.get('low'))}, {number(row.get('high'))}], "
        f"q = {small(row.get('q_value'))}" + ("" if (row.get("q_value") or 1) <= alpha else ", not clear")
        for row in mine.to_dict("records")
    ]  # fmt: skip
    return "\n".join(lines) or "Too few heads were traced."


def transfer(table, alpha):
    """How many pairs of models have counterparts, by rule."""
    what = {
        "index": "the same layer and head, the published rule",
        "other_task": "nearest profile in the other task",
        "function": "nearest profile in all",
    }
    lines = []
    for rule, part in table.groupby("rule", sort=False):
        known = part[part["q_rank"].notna()]
        clear = int((known["q_rank"] <= alpha).sum())
        line = f"* {what[rule]}: mean fractional rank of counterparts {number(part['mean_fractional_rank'].mean())} (null {number(part['null_rank'].mean())}); better than its null in {clear} of {len(known)} pairs of models and tasks at q <= {alpha:g}"  # fmt: skip
        if "q_distance" in part and part["q_distance"].notna().any():
            near = int((part["q_distance"] <= alpha).sum())
            line += f"; profiles are nearer than with tasks mixed in {near} of {part['q_distance'].notna().sum()}"  # fmt: skip
        lines.append(line)
    return "\n".join(lines)


def limits(models):
    """What would be needed for more."""
    return (
        f"Each size is one trained model: with {len(models)} models a trend over sizes and an accident of "
        "training cannot be told apart, and the bands of the fits say so only as far as points "
        "scatter about the line. Effects are those of replacing one head alone: backups hide. "
        "Intervals are over examples of these templates, not over ways to ask."
    )
