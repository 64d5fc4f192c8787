"""Figures of specificity: a task's own components and those of other tasks, removed from the same examples."""

import numpy as np
from matplotlib.lines import Line2D

from circuit_reuse.data.gather import pick
from circuit_reuse.report import hover, style
from circuit_reuse.studies.reuse.plots import each, label_grid, with_interval

PARTS = {
    "core": (style.BASELINE, "s", "what both circuits hold"),
    "own": (style.CIRCUIT, "D", "the task's own rest"),
    "other": (style.OTHER, "o", "the other task's rest"),
}
RANDOM = (style.CONTROL, "|", "random sets of the same layers, mean")


def cross_task(cross, models, tasks, titles):
    """Drop in accuracy on each task when the circuit of each task is removed."""
    figure, axes = style.grid(1, len(models), width=0.62 * len(tasks) + 0.9, height=0.42 * len(tasks) + 0.7)
    image = None
    for ax, model in zip(axes[0], models, strict=True):
        rows = pick(cross, model=model)
        drop = rows.pivot(index="source", columns="target", values="accuracy_drop").reindex(index=tasks, columns=tasks)
        control = rows.pivot(index="source", columns="target", values="accuracy_drop_control").reindex(
            index=tasks, columns=tasks
        )
        values = 100 * drop.to_numpy(float)
        image = ax.imshow(values, cmap=style.DIVERGING, vmin=-100, vmax=100)
        for row in range(len(tasks)):
            for column in range(len(tasks)):
                value, other = values[row, column], 100 * control.to_numpy(float)[row, column]
                text = "–" if np.isnan(value) else f"{value:.0f}\n({other:.0f})"
                color = "white" if abs(value) > 60 else "black"
                ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color=color)
        style.task_ticks(ax, tasks, titles)
        ax.set_yticks(range(len(tasks)), [titles[task] for task in tasks])
        ax.set(title=model, xlabel="tested on")
        ax.spines[["top", "right"]].set_visible(True)
    axes[0, 0].set_ylabel("circuit of")
    label = "accuracy drop (points),\ncontrols in brackets"
    figure.colorbar(image, ax=axes, label=label, fraction=0.03)
    return figure


def circuits(table, models, tasks, titles, unit, alpha):
    """Effect on each task (columns) of removing each task's shared circuit (rows of a panel)."""
    figure, axes = panels_of_tasks(models, tasks, titles, unit, "circuit of", len(tasks))
    for model, target, ax in each(models, tasks, axes):
        rows = pick(table, model=model, target=target, component_set="circuit").set_index("source")
        for place, source in enumerate(tasks):
            if source == target and len(rows):
                point(ax, place, rows.iloc[0], "own", style.CIRCUIT, "D")
            elif source in rows.index:
                point(ax, place, rows.loc[source], "other", style.OTHER, "o")
                mark(ax, place, rows.loc[source], alpha)
        ax.set_yticks(range(len(tasks)), [titles[task] for task in tasks])
    legend(figure, [(style.CIRCUIT, "D", "own circuit"), (style.OTHER, "o", "another task's circuit"), RANDOM], alpha)
    return figure


def parts(table, models, tasks, titles, unit, alpha):
    """Effect on each task (columns) of what its circuit and another's share, and of what each holds alone."""
    figure, axes = panels_of_tasks(models, tasks, titles, unit, "the other task", 1.4 * len(tasks))
    for model, target, ax in each(models, tasks, axes):
        others = [task for task in tasks if task != target]
        for place, source in enumerate(others):
            rows = pick(table, model=model, target=target, source=source).set_index("component_set")
            if not {"core", "residual"} <= set(rows.index):
                continue
            point(ax, place - 0.25, rows.loc["core"], "other", *PARTS["core"][:2])
            point(ax, place, rows.loc["residual"], "own", *PARTS["own"][:2])
            point(ax, place + 0.25, rows.loc["residual"], "other", *PARTS["other"][:2])
            mark(ax, place, rows.loc["residual"], alpha)
        ax.set_yticks(range(len(others)), [titles[task] for task in others])
        ax.set_ylim(max(len(others), 1) - 0.5, -0.5)
        if not others:
            style.empty(ax, "one task only")
    legend(figure, [*PARTS.values(), RANDOM], alpha)
    return figure


def generic(table, models, tasks, titles, unit):
    """Effect on the task against the loss of ordinary text, of the shared circuit and of random sets of its layers."""
    figure, axes = style.grid(len(models), len(tasks), width=1.6, height=1.5, sharex=False, sharey=False)
    for model, task, ax in each(models, tasks, axes):
        rows = pick(table, model=model, task=task)
        ax.axhline(0, color="black", linewidth=0.6)
        ax.axvline(0, color="black", linewidth=0.6)
        if not len(rows):
            style.empty(ax, "no circuit")
            continue
        random = rows["control"].notna()
        ax.plot(rows["loss_change"][random], rows["effect"][random], "o", color=style.CONTROL, alpha=0.5, markersize=3)
        ax.plot(rows["loss_change"][~random], rows["effect"][~random], "D", color=style.CIRCUIT, markersize=5)
    label_grid(axes, models, tasks, titles, "change in loss of text\n(nats per token)", f"effect ({unit})")
    looks = [
        ("D", style.CIRCUIT, "shared circuit removed"),
        ("o", style.CONTROL, "random sets of the same layers removed"),
    ]
    handles = [Line2D([], [], color=color, marker=marker, linestyle="none") for marker, color, _ in looks]
    figure.legend(handles, [text for *_, text in looks], loc="outside lower center", ncols=2)
    return figure


def panels_of_tasks(models, tasks, titles, unit, ylabel, rows):
    """Panels whose vertical axis has tasks, named on the left of each, as own names differ."""
    figure, axes = style.grid(len(models), len(tasks), width=1.9, height=0.5 + 0.2 * rows, sharex=False)
    label_grid(axes, models, tasks, {task: f"on {titles[task]}" for task in tasks}, f"effect ({unit})", ylabel)
    for ax in axes.flat:
        ax.axvline(0, color="black", linewidth=0.6)
        ax.set_ylim(len(tasks) - 0.5, -0.5)
    return figure, axes


def point(ax, place, row, side, color, marker):
    """One set's effect with its interval, and the mean over its random sets."""
    if not row[f"n_components_{side}"]:
        ax.text(0, place, " none", va="center", fontsize=style.SMALLEST, color=color)
        return
    # One example has no interval.
    error = np.nan_to_num(style.bars(row[side], row[f"{side}_low"], row[f"{side}_high"]))
    drawn = ax.errorbar(row[side], place, xerr=error, fmt=marker, color=color, markersize=4, capsize=1.5)
    hover.values(drawn[0], [f"{with_interval(row, side)}, {row[f'n_components_{side}']} components"])
    if row[f"n_random_{side}"]:
        ax.plot(row[f"{side}_random"], place, RANDOM[1], color=RANDOM[0], markersize=7)


def mark(ax, place, row, alpha):
    """A mark where the paired difference of both sets has q of at most alpha and an interval without 0, and one hurts: which hurts more."""
    if not row["q_value"] <= alpha:
        return
    own, other = row["own_high"] < 0, row["other_high"] < 0
    sign = "*" if row["difference_high"] < 0 and own else "°" if row["difference_low"] > 0 and other else ""
    ax.text(1.0, place, sign, transform=ax.get_yaxis_transform(), va="center", ha="left", fontsize=9)


def legend(figure, looks, alpha):
    """What the marks mean, below the panels."""
    handles = [Line2D([], [], color=color, marker=marker, linestyle="none") for color, marker, _ in looks]
    labels = [*(text for _, _, text in looks), f"* hurts less than the own, ° more (paired, q ≤ {alpha:g})"]
    figure.legend([*handles, Line2D([], [], linestyle="none")], labels, loc="outside lower center", ncols=2)
