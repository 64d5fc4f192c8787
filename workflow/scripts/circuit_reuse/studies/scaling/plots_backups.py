"""The figure of heads that take over when others are gone."""

import numpy as np
from matplotlib.lines import Line2D

from circuit_reuse.data import metrics
from circuit_reuse.data.gather import pick
from circuit_reuse.report import style
from circuit_reuse.studies.scaling.plots_runs import nothing

# State in the scan, its colour and its marker.
LOOKS = {"strong": (style.OTHER, "o"), "absent": (style.CONTROL, "s"), "unclear": ("0.6", "^")}
NAMED = 4


def backups(table, context, tasks, metric):
    """Effect of each head without the heroes against its effect alone; backups are ringed, the strongest named."""
    if table.empty:
        # A table without rows may lack the columns that rows are chosen by.
        return nothing("no head is strong on the train split, so there are no heroes to remove")
    models = list(context.models["model"])
    figure, axes = style.grid(len(models), len(tasks), width=2.4, height=2.0, sharex=False, sharey=False)
    unit = metrics.UNITS[metric]
    for row, model in enumerate(models):
        for column, (task, title) in enumerate(zip(tasks, context.titles, strict=True)):
            ax, mine = axes[row, column], pick(table, model=model, task=task)
            ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
            ax.axvline(0, color="0.85", linewidth=0.8, zorder=0)
            if row == 0:
                ax.set_title(title)
            if row == len(models) - 1:
                ax.set_xlabel(f"effect alone ({unit})")
            if column == 0:
                ax.set_ylabel(f"{model}\nwithout the heroes ({unit})")
            if mine.empty:
                ax.text(0.5, 0.5, "no heroes", transform=ax.transAxes, ha="center", va="center")
                continue
            ends = [mine[["delta_alone", "delta_given"]].min().min(), mine[["delta_alone", "delta_given"]].max().max()]
            ax.plot(ends, ends, color="black", linewidth=0.6, linestyle=":", zorder=0)
            for state, (color, marker) in LOOKS.items():
                part = mine[mine["state"] == state]
                ax.plot(part["delta_alone"], part["delta_given"], marker, color=color, markersize=3, alpha=0.8)
            found = mine[mine["backup"].astype(bool)].sort_values("difference")
            ax.plot(
                found["delta_alone"], found["delta_given"], "o", markersize=6, fillstyle="none", color=style.CIRCUIT
            )
            for place, each in enumerate(found.head(NAMED).itertuples()):
                where = (each.delta_alone, each.delta_given)
                ax.annotate(
                    each.component,
                    where,
                    xytext=(5, -2 - 3 * place),
                    textcoords="offset points",
                    fontsize=style.SMALLEST,
                )
            margin = 0.06 * np.ptp(ends)
            ax.set(xlim=(ends[0] - margin, ends[1] + margin), ylim=(ends[0] - margin, ends[1] + margin))
    handles = [Line2D([], [], color=color, marker=marker, linestyle="none") for color, marker in LOOKS.values()]
    labels = [f"{state} in the scan" for state in LOOKS]
    handles += [Line2D([], [], color=style.CIRCUIT, marker="o", fillstyle="none", linestyle="none", markersize=6)]
    handles += [Line2D([], [], color="black", linestyle=":", linewidth=0.6)]
    figure.legend(handles, [*labels, "backup (q)", "the same"], loc="outside lower center", ncols=3)
    return figure
