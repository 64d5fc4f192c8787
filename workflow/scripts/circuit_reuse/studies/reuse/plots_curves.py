"""More figures of the reuse study: faithfulness by size, reuse at three levels and over training, agreement with patching.

Panels are models (rows) and tasks (columns).
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuit_reuse.data.gather import pick
from circuit_reuse.report import palette, style
from circuit_reuse.report.numbers import k_label
from circuit_reuse.studies.reuse.plots import each, panels, thresholds

LOOK = {
    "absolute": (style.CIRCUIT, "o", "by |score|"),
    "signed": (style.OTHER, "s", "by score, helpful first"),
    "random": (style.CONTROL, "^", "random"),
}


def curves(table, models, tasks, titles, level):
    """Faithfulness against the share of nodes or edges kept, with intervals over clusters of examples."""
    figure, axes = panels(models, tasks, titles, f"{level}s kept (%)", "faithfulness", width=1.9, height=1.6)
    for model, task, ax in each(models, tasks, axes):
        ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
        ax.axhline(1, color="0.85", linewidth=0.8, zorder=0)
        ax.set_xscale("log")
        ax.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        # Where clean and corrupt are close the interval is wide; the curve is what one looks for.
        ax.set_ylim(-0.4, 1.9)
        rows = pick(table, model=model, task=task)
        if rows.empty:
            ax.text(0.5, 0.5, "no edge scores", transform=ax.transAxes, ha="center", va="center")
            continue
        for ranking, (color, marker, _) in LOOK.items():
            line = pick(rows, ranking=ranking).sort_values("share_kept").astype({"faithfulness": float})
            share = 100 * line["share_kept"]
            ax.plot(share, line["faithfulness"], color=color, marker=marker)
            low, high = (line[f"faithfulness_{end}"].astype(float) for end in ("low", "high"))
            ax.fill_between(share, low, high, color=color, alpha=0.2, linewidth=0)
        cmd, cpr = (rows[name].dropna() for name in ("cmd", "cpr"))
        if len(cmd) and len(cpr):
            ax.text(
                0.03,
                0.97,
                f"CMD {cmd.iloc[0]:.2f}\nCPR {cpr.iloc[0]:.2f}",
                transform=ax.transAxes,
                va="top",
                fontsize=6.5,
            )
    handles = [Line2D([], [], color=color, marker=marker) for color, marker, _ in LOOK.values()]
    labels = [label for *_, label in LOOK.values()]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


LEVELS = {
    "component": (style.CIRCUIT, "o", "components"),
    "edge": (style.OTHER, "s", "edges"),
    "position": (style.BY_K[0], "^", "components at positions"),
    "block": (style.BY_K[1], "v", "attention blocks and MLPs"),
    "neuron": (style.BY_K[2], "D", "neurons"),
}
# Of score thresholds: the marker says that sizes differ between examples.
BY_SHARE = (palette.BLACK, "P", "*", "X")


def kinds_of_circuits(table):
    """[(level, score threshold or None, color, marker, label)] of a fine_grained table, in the order of LEVELS."""
    found = []
    for level, (color, marker, label) in LEVELS.items():
        rows = table[(table["level"] == level) & table["score_threshold"].isna()]
        if len(rows):
            sizes = ", ".join(map(str, sorted(set(rows["k"]))))
            found.append((level, None, color, marker, f"{label}, K = {sizes}"))
    shares = sorted(table["score_threshold"].dropna().unique())
    for share, marker in zip(shares, BY_SHARE[1:] * len(shares), strict=False):
        found.append(("component", share, BY_SHARE[0], marker, f"components with ≥ {100 * share:g} % of Σ|score|"))
    return found


def of_kind(table, level, share):
    """Rows of one kind of circuit."""
    at = table["score_threshold"].isna() if share is None else table["score_threshold"] == share
    return table[(table["level"] == level) & at]


def fine_grained(table, reuse, models, tasks, titles, top_k):
    """Reuse against the threshold of components and of all other kinds of circuits; dotted, by chance.

    table, reuse: the fine_grained and the reuse table;  top_k: of the components
    """
    figure, axes = thresholds(models, tasks, titles, "reuse (share of K)")
    own = reuse[reuse["top_k"] == top_k].assign(level="component", score_threshold=np.nan)
    table = pd.concat([own, table], ignore_index=True)
    kinds = kinds_of_circuits(table)
    for model, task, ax in each(models, tasks, axes):
        for level, share, color, marker, _ in kinds:
            rows = of_kind(pick(table, model=model, task=task), level, share).sort_values("threshold")
            ax.plot(rows["threshold"], rows["reuse"], color=color, marker=marker)
            ax.plot(rows["threshold"], rows["reuse_null"], color=color, linestyle=":")
        ax.set_ylim(-0.03, 1.03)
    handles = [Line2D([], [], color=color, marker=marker) for _, _, color, marker, _ in kinds]
    handles.append(Line2D([], [], color="black", linestyle=":"))
    figure.legend(handles, [*(label for *_, label in kinds), "by chance"], loc="outside lower center", ncols=2)
    return figure


def granularity(table, tests, models, tasks, titles, unit, chosen):
    """What removing the shared units of every kind of circuit does, among matched random sets.

    table: the fine_grained table;  tests: rows of components at `chosen` (top_k, threshold)
    """
    rows = table[np.isclose(table["threshold"], chosen["threshold"]) & (table["level"] != "edge")]
    kinds = kinds_of_circuits(rows)
    labels = [
        f"components, {k_label(chosen['top_k'])}",
        *(label.replace(", K", ",\nK").replace(" with", "\nwith") for *_, label in kinds),
    ]
    figure, axes = panels(
        models, tasks, titles, "", f"change in metric ({unit})", width=0.5 * len(labels) + 1, height=1.9
    )
    for model, task, ax in each(models, tasks, axes):
        ax.axhline(0, color="black", linewidth=0.6)
        mine = [pick(tests, model=model, task=task)]
        mine += [of_kind(pick(rows, model=model, task=task), level, share) for level, share, *_ in kinds]
        for place, found in enumerate(mine):
            found = found.dropna(subset=["effect"])
            if found.empty:
                ax.text(
                    place,
                    0.5,
                    "none shared",
                    transform=ax.get_xaxis_transform(),
                    rotation=90,
                    ha="center",
                    va="center",
                    fontsize=6,
                )
                continue
            row = found.iloc[0]
            if np.isfinite(float(row["effect_random"] if row["effect_random"] is not None else np.nan)):
                ends = row["effect_random_low"], row["effect_random_high"]
                ax.vlines(place + 0.18, *ends, color=style.CONTROL, linewidth=3, alpha=0.6)
            error = style.bars(row["effect"], row["effect_low"], row["effect_high"])
            ax.errorbar(place, row["effect"], yerr=error, fmt="D", color=style.CIRCUIT, capsize=2, markersize=4)
        ax.set_xticks(range(len(labels)), labels, rotation=35, ha="right", fontsize=6)
        ax.set_xlim(-0.5, len(labels) - 0.5)
    handles = [
        Line2D([], [], color=style.CIRCUIT, marker="D", linestyle="none"),
        Line2D([], [], color=style.CONTROL, linewidth=3),
    ]
    named = ["shared units removed, 95 % interval", "matched random sets, 95 % of them"]
    figure.legend(handles, named, loc="outside lower center", ncols=2)
    return figure


def layers(table, models, tasks, titles, top_k):
    """How many heads and MLPs of each layer an example's circuit holds, and would hold at random (dots)."""
    figure, axes = panels(models, tasks, titles, "layer", "in an example's circuit", width=1.9, height=1.5)
    colors = {"head": style.CIRCUIT, "mlp": style.OTHER}
    rows = table[np.isclose(table["top_k"], top_k)]
    for model, task, ax in each(models, tasks, axes):
        mine = pick(rows, model=model, task=task)
        below = 0.0
        for kind in (kind for kind in colors if kind in set(mine["kind"])):
            line = pick(mine, kind=kind).sort_values("layer")
            ax.bar(line["layer"], line["mean_number"], bottom=below, color=colors[kind], width=0.85, linewidth=0)
            below = below + line["mean_number"].to_numpy()
        chance = mine.groupby("layer")["mean_number_null"].sum()
        ax.plot(chance.index, chance, ".", color="black", markersize=2.5)
        ax.xaxis.get_major_locator().set_params(integer=True)
    handles = [Patch(color=colors[kind]) for kind in colors if kind in set(rows["kind"])]
    names = [{"head": "heads", "mlp": "MLPs"}[kind] for kind in colors if kind in set(rows["kind"])]
    handles.append(Line2D([], [], color="black", marker=".", linestyle="none"))
    figure.legend(handles, [*names, "at random"], loc="outside lower center", ncols=3)
    return figure


def checkpoints(tests, reuse, series, tasks, titles, unit, chosen):
    """Over the checkpoints of a model: reuse, and the effect of removing the shared circuit; two rows of panels a series.

    tests:  rows at one K and threshold;  reuse: the reuse table;  chosen: top_k and threshold
    series: {name: [[step, model], ...]}
    """
    figure, axes = style.grid(2 * len(series), len(tasks), sharex=False, sharey="row")
    reuse = pick(reuse, **chosen)
    for row, (name, members) in enumerate(series.items()):
        steps = {model: step for step, model in members}
        for column, task in enumerate(tasks):
            above, below = axes[2 * row, column], axes[2 * row + 1, column]
            shared, effects = (by_step(table, steps, task) for table in (reuse, tests))
            above.plot(shared["step"], shared["reuse"], color=style.CIRCUIT, marker="o")
            above.plot(shared["step"], shared["reuse_null"], color=style.CIRCUIT, linestyle=":")
            above.set(ylim=(-0.03, 1.03), title=titles[task] if row == 0 else "")
            below.axhline(0, color="0.85", linewidth=0.8, zorder=0)
            below.plot(effects["step"], effects["effect"], color=style.CIRCUIT, marker="o")
            below.fill_between(
                effects["step"],
                effects["effect_low"],
                effects["effect_high"],
                color=style.CIRCUIT,
                alpha=0.2,
                linewidth=0,
            )
            below.plot(effects["step"], effects["effect_random"], color=style.CONTROL, marker="s")
            for ax in (above, below):
                ax.set_xlim(*span(steps.values()))
                if min(steps.values()) > 0 and max(steps.values()) >= 30 * min(steps.values()):
                    ax.set_xscale("log")
            if shared.empty:
                style.empty(above, "left out")
            below.set_xlabel("training step")
        axes[2 * row, 0].set_ylabel(f"{name}\nreuse (share of K)")
        axes[2 * row + 1, 0].set_ylabel(f"{name}\nchange in metric ({unit})")
    handles = [
        Line2D([], [], color=style.CIRCUIT, marker="o"),
        Line2D([], [], color=style.CIRCUIT, linestyle=":"),
        Line2D([], [], color=style.CONTROL, marker="s"),
    ]
    figure.legend(
        handles, ["shared circuit", "by chance", "random circuits of its layers"], loc="outside lower center", ncols=3
    )
    return figure


def by_step(table, steps, task):
    """The rows of a task at the checkpoints of a series, with a column step, in order."""
    rows = table[(table["task"] == task) & table["model"].isin(steps)]
    numbers = [name for name in rows.columns if name.startswith(("reuse", "effect"))]
    return rows.assign(step=rows["model"].map(steps)).sort_values("step").astype(dict.fromkeys(numbers, float))


def span(steps):
    """Ends of an axis of steps, with some room, above 0 where all are."""
    low, high = min(steps), max(steps)
    return (low / 1.2, high * 1.2) if low > 0 else (low - 0.04 * (high - low), high * 1.04)


def agreement(table, models, tasks, titles):
    """Rank correlation of a method's scores with activation patching, an example a dot."""
    figure, axes = pyplot.subplots(figsize=(1.4 + 0.9 * len(tasks), 2.4))
    width = 0.8 / len(models)
    for number, model in enumerate(models):
        for place, task in enumerate(tasks):
            values = pick(table, model=model, task=task)["rank_correlation"].dropna().to_numpy(float)
            center = place + (number - (len(models) - 1) / 2) * width
            spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values)) * width
            color = style.BY_K[number % 6]
            axes.scatter(center + spread, values, s=4, color=color, alpha=0.4, linewidths=0)
            if len(values):
                median = float(np.median(values))
                axes.plot([center - 0.4 * width, center + 0.4 * width], [median] * 2, color="black")
    style.task_ticks(axes, tasks, titles)
    axes.set(ylabel="rank correlation\nwith activation patching", ylim=(min(0, axes.get_ylim()[0]), 1.02))
    handles = [
        Line2D([], [], color=style.BY_K[number % 6], marker="o", linestyle="none") for number in range(len(models))
    ]
    figure.legend(
        [*handles, Line2D([], [], color="black")],
        [*models, "median"],
        loc="outside lower center",
        ncols=len(models) + 1,
    )
    return figure
