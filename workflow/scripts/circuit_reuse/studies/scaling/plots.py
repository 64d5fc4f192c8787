"""The figures of the scaling study over heads; each function takes tables and returns a figure.

`heads` are rows of the heads table, held-out split, one replacement, with family, model and
parameters.  Effects are drawn in the units of tau; `context` says how things are called.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from circuit_reuse.report import hover, palette, style
from circuit_reuse.studies.scaling.classes import CATEGORIES
from circuit_reuse.studies.scaling.schemas import SIDES

COLORS = {
    "first_only": palette.ORANGE,
    "second_only": palette.SKY,
    "shared": palette.GREEN,
    "weak": palette.GREY_38,
    "uncertain": palette.GREY_82,
}
FAMILY_COLORS = [palette.VERMILION, palette.BLUE, palette.PURPLE, palette.GREEN, palette.ORANGE, palette.BLACK]


@dataclass(frozen=True)
class ScalingContext:
    """Names and scales that the figures share.

    titles:  (first task, second task);  unit, factor: of effects as they are drawn
    models:  DataFrame of model, family, parameters in drawing order;  tau: in drawn units
    """

    titles: tuple
    unit: str
    factor: float
    models: pd.DataFrame
    tau: float

    def category(self, name):
        """What a class is called in a legend."""
        place = {"first_only": 0, "second_only": 1}.get(name)
        return name if place is None else f"{self.titles[place]} only"

    def families(self):
        """Families in order, with colour and marker."""
        names = list(dict.fromkeys(self.models["family"]))
        return {name: (FAMILY_COLORS[n % 6], style.MARKERS[n % 6]) for n, name in enumerate(names)}


def panels(context, width=1.75, height=1.55, **options):
    """A panel a model: families in rows, sizes in columns; returns figure and {model: axes}."""
    groups = [list(part["model"]) for _, part in context.models.groupby("family", sort=False)]
    columns = min(4, max(map(len, groups)))
    rows = [group[n : n + columns] for group in groups for n in range(0, len(group), columns)]
    # One model a row would leave no room for the legend.
    figure, axes = style.grid(len(rows), columns, max(width, 4.2 / columns), height, **options)
    found = {}
    for line, names in zip(axes, rows, strict=True):
        for ax, name in zip(line, names, strict=False):
            found[name] = ax
            ax.set_title(name)
        for ax in line[len(names) :]:
            ax.set_axis_off()
    # Labels go to the outermost panels that are there.
    lowest = {}
    for row, names in enumerate(rows):
        for column in range(len(names)):
            lowest[column] = axes[row, column]
    return figure, found, [line[0] for line in axes], list(lowest.values())


def class_legend(figure, context, extra=(), marker="o"):
    """One legend of the classes below all panels."""
    handles = [Line2D([], [], color=COLORS[name], marker=marker, linestyle="none", markersize=5) for name in CATEGORIES]
    labels = [context.category(name) for name in CATEGORIES]
    handles += [handle for handle, _ in extra]
    labels += [label for _, label in extra]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))


def layer_histogram(heads, context):
    """How many heads of each class every layer has."""
    figure, found, left, low = panels(context, sharey=True)
    for model, ax in found.items():
        mine = heads[heads["model"] == model]
        counts = pd.crosstab(mine["layer"], mine["category"]).reindex(columns=CATEGORIES, fill_value=0)
        bottom = np.zeros(len(counts))
        for name in CATEGORIES:
            ax.bar(counts.index, counts[name], 0.75, bottom=bottom, color=COLORS[name])
            bottom += counts[name].to_numpy()
        if len(counts) <= 12:
            ax.set_xticks(counts.index)
    for ax in left:
        ax.set_ylabel("heads")
    for ax in low:
        ax.set_xlabel("layer")
    class_legend(figure, context, marker="s")
    return figure


def effect_bounds(rows, side, factor):
    """Effect with its interval in drawn units: middle, [2, head] distances."""
    effect, delta, low, high = (
        rows[f"{name}_{side}{end}"].to_numpy(float)
        for name, end in (("effect", ""), ("delta", ""), ("delta", "_low"), ("delta", "_high"))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(delta != 0, effect / delta, 0) * factor
    return effect * factor, np.abs(np.stack([(delta - low) * scale, (high - delta) * scale]))


def tau_lines(ax, tau):
    """The threshold on both axes."""
    for value in (-tau, tau):
        ax.axhline(value, color="0.6", linewidth=0.6, linestyle=":", zorder=0)
        ax.axvline(value, color="0.6", linewidth=0.6, linestyle=":", zorder=0)


def symmetric_log(ax, tau):
    """Axes that are linear up to the threshold and logarithmic beyond, ticks at powers of ten."""
    ax.set_xscale("symlog", linthresh=tau, linscale=0.7)
    ax.set_yscale("symlog", linthresh=tau, linscale=0.7)
    for axis in (ax.xaxis, ax.yaxis):
        low, high = axis.get_view_interval()
        powers = 10.0 ** np.arange(np.ceil(np.log10(tau) - 1e-9), 7)
        if powers[0] > 3.5 * tau or powers[0] > max(-low, high):
            powers = np.concatenate([[tau], powers])
        ticks = np.concatenate([-powers[::-1], [0.0], powers])
        axis.set_major_locator(FixedLocator(ticks[(ticks >= low) & (ticks <= high)]))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(pyplot.NullLocator())


def effect_labels(left, low, context):
    """Labels of the two effects."""
    for ax in left:
        ax.set_ylabel(f"effect on {context.titles[1]}\n({context.unit})")
    for ax in low:
        ax.set_xlabel(f"effect on {context.titles[0]} ({context.unit})")


# Effects are shares of the metric.
NO_EFFECTS = "the metric of a task\nis not surely above 0"
SUPPRESSING = Line2D([], [], color="black", marker="o", fillstyle="none", linestyle="none", markersize=6)


def delta_scatter(heads, context):
    """Effect of every head on both tasks with its intervals, a panel a model."""
    figure, found, left, low = panels(context, width=2.0, height=1.9, sharex=True, sharey=True)
    for model, ax in found.items():
        mine = heads[heads["model"] == model]
        tau_lines(ax, context.tau)
        (x, x_error), (y, y_error) = (effect_bounds(mine, side, context.factor) for side in SIDES)
        colors = mine["category"].map(COLORS).to_numpy()
        names = [f"L{row.layer}H{row.head}" for row in mine.itertuples()]
        for n in range(len(mine)):
            drawn = ax.errorbar(
                x[n],
                y[n],
                xerr=x_error[:, [n]],
                yerr=y_error[:, [n]],
                color=colors[n],
                marker="o",
                markersize=3,
                elinewidth=0.6,
            )
            effects = (f"{title} {value:.3g}" for title, value in zip(context.titles, (x[n], y[n]), strict=True))
            hover.values(drawn[0], [f"{names[n]}: {', '.join(effects)} {context.unit}"])
        against = (mine["suppressing"] != "none").to_numpy()
        ax.plot(x[against], y[against], "o", color="black", fillstyle="none", markersize=6, markeredgewidth=0.7)
        symmetric_log(ax, context.tau)
        if not np.isfinite(x + y).any():
            style.empty(ax, NO_EFFECTS)
    effect_labels(left, low, context)
    class_legend(figure, context, [(SUPPRESSING, "works against a task")])
    return figure


def phase_space(heads, context):
    """Effects of all heads of all models on both tasks."""
    figure, ax = pyplot.subplots(figsize=(4.2, 3.7))
    tau_lines(ax, context.tau)
    for family, (_, marker) in context.families().items():
        mine = heads[heads["family"] == family]
        for name in reversed(CATEGORIES):
            part = mine[mine["category"] == name]
            ax.scatter(
                part["effect_first"] * context.factor,
                part["effect_second"] * context.factor,
                s=14,
                marker=marker,
                color=COLORS[name],
                alpha=0.85,
                linewidths=0,
            )
    symmetric_log(ax, context.tau)
    effect_labels([ax], [ax], context)
    extra = [
        (Line2D([], [], color="black", marker=marker, linestyle="none"), family)
        for family, (_, marker) in context.families().items()
    ]
    class_legend(figure, context, extra)
    return figure


def shades(count):
    """Colours from small to large models."""
    return pyplot.get_cmap(style.SEQUENTIAL)(np.linspace(0.05, 0.85, max(count, 1)))


def family_grid(heads, context):
    """Effects on both tasks, a panel a family, sizes from dark to bright."""
    groups = dict(list(context.models.groupby("family", sort=False)))
    columns = min(2, len(groups))
    figure, axes = style.grid(-(-len(groups) // columns), columns, width=2.6, height=2.3, sharex=True, sharey=True)
    for ax, (family, part) in zip(axes.flat, groups.items(), strict=False):
        tau_lines(ax, context.tau)
        for color, model in zip(shades(len(part)), part["model"], strict=True):
            mine = heads[heads["model"] == model]
            ax.scatter(
                mine["effect_first"] * context.factor,
                mine["effect_second"] * context.factor,
                s=10,
                color=[color],
                label=model,
                alpha=0.85,
                linewidths=0,
            )
        symmetric_log(ax, context.tau)
        mine = heads[heads["model"].isin(part["model"])]
        if mine[["effect_first", "effect_second"]].isna().any(axis=1).all():
            style.empty(ax, NO_EFFECTS)
        ax.set_title(family)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=1, handletextpad=0.2)
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    effect_labels(axes[:, 0], axes[-1], context)
    return figure
