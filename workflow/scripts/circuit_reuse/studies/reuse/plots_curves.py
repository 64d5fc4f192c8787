"""More figures of the reuse study: faithfulness by size, reuse at three levels and over training, agreement with patching.

Panels are models (rows) and tasks (columns).
"""

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D

from circuit_reuse.report import style
from circuit_reuse.studies.reuse.plots import each, panels, pick, thresholds

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
}


def fine_grained(table, reuse, models, tasks, titles, top_k):
    """Reuse against the threshold of components, of edges, and of components at positions; dotted, by chance.

    table, reuse: the fine_grained and the reuse table;  top_k: of the components
    """
    figure, axes = thresholds(models, tasks, titles, "reuse (share of K)")
    components = reuse[reuse["top_k"] == top_k].assign(level="component")
    for model, task, ax in each(models, tasks, axes):
        for level, (color, marker, _) in LEVELS.items():
            rows = pick(components if level == "component" else table, model=model, task=task, level=level)
            rows = rows.sort_values("threshold")
            ax.plot(rows["threshold"], rows["reuse"], color=color, marker=marker)
            ax.plot(rows["threshold"], rows["reuse_null"], color=color, linestyle=":")
        ax.set_ylim(-0.03, 1.03)
    sizes = {
        "component": components["k"],
        **{level: table[table["level"] == level]["k"] for level in ("edge", "position")},
    }
    shown = [level for level in LEVELS if len(sizes[level])]
    handles = [Line2D([], [], color=LEVELS[level][0], marker=LEVELS[level][1]) for level in shown]
    labels = [f"{LEVELS[level][2]}, K = {', '.join(map(str, sorted(set(sizes[level]))))}" for level in shown]
    handles.append(Line2D([], [], color="black", linestyle=":"))
    figure.legend(handles, [*labels, "by chance"], loc="outside lower center", ncols=2)
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
    """Rank correlation of a method's scores with exact patching, an example a dot."""
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
    axes.set_xticks(range(len(tasks)), [titles[task] for task in tasks], rotation=30, ha="right")
    axes.set(ylabel="rank correlation\nwith exact patching", ylim=(min(0, axes.get_ylim()[0]), 1.02))
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
