"""The figures of the scaling study over heads; each function takes tables and returns a figure.

`heads` are rows of the heads table, held-out split, one replacement, with family, model and
parameters.  Effects are drawn in the units of tau; `look` says how things are called.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from circuit_reuse.figures import style
from circuit_reuse.scaling.classes import CATEGORIES
from circuit_reuse.scaling.fits import fit
from circuit_reuse.scaling.schemas import SIDES

COLORS = {
    "first_only": "#E69F00",
    "second_only": "#56B4E9",
    "shared": "#009E73",
    "weak": "#606060",
    "uncertain": "#D0D0D0",
}
FAMILY_COLORS = ["#D55E00", "#0072B2", "#CC79A7", "#009E73", "#E69F00", "#000000"]


@dataclass(frozen=True)
class Look:
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


def panels(look, width=1.75, height=1.55, **options):
    """A panel a model: families in rows, sizes in columns; returns figure and {model: axes}."""
    groups = [list(part["model"]) for _, part in look.models.groupby("family", sort=False)]
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


def class_legend(figure, look, extra=(), marker="o"):
    """One legend of the classes below all panels."""
    handles = [Line2D([], [], color=COLORS[name], marker=marker, linestyle="none", markersize=5) for name in CATEGORIES]
    labels = [look.category(name) for name in CATEGORIES]
    handles += [handle for handle, _ in extra]
    labels += [label for _, label in extra]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))


def layer_histogram(heads, look):
    """How many heads of each class every layer has."""
    figure, found, left, low = panels(look, sharey=True)
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
    class_legend(figure, look, marker="s")
    return figure


def effect_bounds(rows, side, factor):
    """Effect with its interval in drawn units: middle, [2, head] distances."""
    effect, delta, low, high = (
        rows[f"{name}_{side}"].to_numpy(float) for name in ("effect", "delta", "delta_low", "delta_high")
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


def effect_labels(left, low, look):
    """Labels of the two effects."""
    for ax in left:
        ax.set_ylabel(f"effect on {look.titles[1]}\n({look.unit})")
    for ax in low:
        ax.set_xlabel(f"effect on {look.titles[0]} ({look.unit})")


SUPPRESSING = Line2D([], [], color="black", marker="o", fillstyle="none", linestyle="none", markersize=6)


def delta_scatter(heads, look):
    """Effect of every head on both tasks with its intervals, a panel a model."""
    figure, found, left, low = panels(look, width=2.0, height=1.9, sharex=True, sharey=True)
    for model, ax in found.items():
        mine = heads[heads["model"] == model]
        tau_lines(ax, look.tau)
        (x, x_error), (y, y_error) = (effect_bounds(mine, side, look.factor) for side in SIDES)
        colors = mine["category"].map(COLORS).to_numpy()
        for n in range(len(mine)):
            ax.errorbar(
                x[n],
                y[n],
                xerr=x_error[:, [n]],
                yerr=y_error[:, [n]],
                color=colors[n],
                marker="o",
                markersize=3,
                elinewidth=0.6,
            )
        against = (mine["suppressing"] != "none").to_numpy()
        ax.plot(x[against], y[against], "o", color="black", fillstyle="none", markersize=6, markeredgewidth=0.7)
        symmetric_log(ax, look.tau)
    effect_labels(left, low, look)
    class_legend(figure, look, [(SUPPRESSING, "works against a task")])
    return figure


def phase_space(heads, look):
    """Effects of all heads of all models on both tasks."""
    figure, ax = pyplot.subplots(figsize=(4.2, 3.7))
    tau_lines(ax, look.tau)
    for family, (_, marker) in look.families().items():
        mine = heads[heads["family"] == family]
        for name in reversed(CATEGORIES):
            part = mine[mine["category"] == name]
            ax.scatter(
                part["effect_first"] * look.factor,
                part["effect_second"] * look.factor,
                s=14,
                marker=marker,
                color=COLORS[name],
                alpha=0.85,
                linewidths=0,
            )
    symmetric_log(ax, look.tau)
    effect_labels([ax], [ax], look)
    extra = [
        (Line2D([], [], color="black", marker=marker, linestyle="none"), family)
        for family, (_, marker) in look.families().items()
    ]
    class_legend(figure, look, extra)
    return figure


def shades(count):
    """Colours from small to large models."""
    return pyplot.get_cmap(style.SEQUENTIAL)(np.linspace(0.05, 0.85, max(count, 1)))


def family_grid(heads, look):
    """Effects on both tasks, a panel a family, sizes from dark to bright."""
    groups = dict(list(look.models.groupby("family", sort=False)))
    columns = min(2, len(groups))
    figure, axes = style.grid(-(-len(groups) // columns), columns, width=2.6, height=2.3, sharex=True, sharey=True)
    for ax, (family, part) in zip(axes.flat, groups.items(), strict=False):
        tau_lines(ax, look.tau)
        for color, model in zip(shades(len(part)), part["model"], strict=True):
            mine = heads[heads["model"] == model]
            ax.scatter(
                mine["effect_first"] * look.factor,
                mine["effect_second"] * look.factor,
                s=10,
                color=[color],
                label=model,
                alpha=0.85,
                linewidths=0,
            )
        symmetric_log(ax, look.tau)
        ax.set_title(family)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=1, handletextpad=0.2)
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    effect_labels(axes[:, 0], axes[-1], look)
    return figure


def dodge(n):
    """A factor that moves the points of family n aside, so that they do not hide each other."""
    return 1 + 0.03 * ((n + 1) // 2) * (-1) ** n


def line_by_family(ax, models, look, column, low=None, high=None, limits=None):
    """Points of a family over size with intervals, and the line with its band where there is one."""
    notes = []
    for n, (family, (color, marker)) in enumerate(look.families().items()):
        part = models[models["family"] == family].sort_values("parameters")
        at = part["parameters"] * dodge(n)
        able = part[part["able"].astype(bool) & part[column].notna()]
        values = part[column].astype(float)
        error = None
        if low:
            error = np.abs(np.stack([values - part[low].astype(float), part[high].astype(float) - values]))
        ax.errorbar(at, values, yerr=error, color=color, marker=marker, linestyle="none", elinewidth=0.8, capsize=2)
        hollow = part[~part["able"].astype(bool)]
        ax.plot(at[hollow.index], hollow[column].astype(float), marker, color="white", markeredgecolor=color, zorder=3)
        line, problem = fit(able["parameters"], able[column].astype(float))
        if line is None:
            notes.append(f"{family}: {problem.split(':')[0]}, no fit")
            continue
        sizes = np.geomspace(able["parameters"].min(), able["parameters"].max(), 60)
        middle, lower, upper = line.band(sizes)
        ax.plot(sizes, middle, color=color, linewidth=1)
        ax.fill_between(
            sizes, *np.clip([lower, upper], *(limits or (-np.inf, np.inf))), color=color, alpha=0.12, linewidth=0
        )
    size_axis(ax, models["parameters"])
    if notes:
        ax.text(0.02, 0.02, "\n".join(notes), transform=ax.transAxes, fontsize=6, va="bottom")


def size_axis(ax, sizes):
    """A logarithmic axis of parameters with few plain ticks, and room on both sides."""
    ax.set_xscale("log")
    low, high = min(sizes) / 1.6, max(sizes) * 1.6
    ax.set_xlim(low, high)
    ticks = np.array([step * 10.0**power for power in range(3, 13) for step in (1, 2, 5)])
    ax.xaxis.set_major_locator(FixedLocator(ticks[(ticks >= low) & (ticks <= high)]))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value / 1e9:g}B" if value >= 1e9 else f"{value / 1e6:g}M")
    ax.xaxis.set_minor_locator(pyplot.NullLocator())
    ax.set_xlabel("parameters")


def family_handles(look):
    """Handles and labels of the families."""
    families = look.families()
    handles = [Line2D([], [], color=c, marker=m, linestyle="none") for c, m in families.values()]
    return handles, list(families)


def correlation_vs_scale(models, look):
    """Correlation of the two effects over heads, and after the published selection with its null."""
    figure, axes = style.grid(1, 2, width=2.6, height=2.1, sharex=True, sharey=True)
    measured, selected = axes[0]
    for ax in axes[0]:
        ax.axhline(0, color="black", linewidth=0.6, linestyle="--")
        ax.set_ylim(-1.08, 1.08)
    line_by_family(measured, models, look, "corrected", "corrected_low", "corrected_high", (-1, 1))
    for n, (family, (color, marker)) in enumerate(look.families().items()):
        part = models[models["family"] == family]
        rest = part["without_strongest"].astype(float)
        measured.plot(part["parameters"] * dodge(n), rest, marker, color=color, fillstyle="none")
    measured.set_title("all heads, noise taken off;\nhollow: without the strongest")
    measured.set_ylabel(f"correlation of effects on\n{look.titles[0]} and {look.titles[1]}")
    for n, (family, (color, marker)) in enumerate(look.families().items()):
        part = models[models["family"] == family]
        at = part["parameters"] * dodge(n)
        low, high, middle = (part[f"selected_null{end}"].astype(float) for end in ("_low", "_high", ""))
        selected.vlines(at, low, high, color="0.8", linewidth=5)
        selected.plot(at, middle, "_", color="0.4", markersize=7)
        selected.plot(at, part["selected"].astype(float), marker, color=color, fillstyle="none")
    selected.set_title("strongest of each task only,\nothers filled with 0")
    size_axis(selected, models["parameters"])
    handles, labels = family_handles(look)
    handles += [
        Line2D([], [], color="black", marker="o", fillstyle="none", linestyle="none"),
        Line2D([], [], color="0.8", linewidth=5),
    ]
    figure.legend(handles, [*labels, "see titles", "95 % of its null"], loc="outside lower center", ncols=4)
    return figure


def strong_head_scaling(models, look):
    """Number and share of strong heads against size."""
    figure, axes = style.grid(1, 2, width=2.6, height=2.0, sharex=True)
    parts = models.assign(
        share=100 * models["strong"] / models["heads"],
        share_low=100 * models["strong_low"] / models["heads"],
        share_high=100 * models["strong_high"] / models["heads"],
    )
    line_by_family(axes[0, 0], parts, look, "strong", "strong_low", "strong_high", (0, np.inf))
    line_by_family(axes[0, 1], parts, look, "share", "share_low", "share_high", (0, 100))
    axes[0, 0].set(ylabel="strong heads", ylim=(0, None))
    # The band of few sizes is wide; the axis follows the points.
    axes[0, 0].set_ylim(0, 1.5 * parts["strong_high"].max() + 1)
    axes[0, 1].set(ylabel="strong heads (% of all)", ylim=(0, 105))
    handles, labels = family_handles(look)
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def strength_distribution(heads, look):
    """Share of heads above each strength, by family and size."""
    groups = dict(list(look.models.groupby("family", sort=False)))
    figure, axes = style.grid(1, len(groups), width=2.4, height=2.0, sharex=True, sharey=True)
    for ax, (family, part) in zip(axes[0], groups.items(), strict=True):
        for color, model in zip(shades(len(part)), part["model"], strict=True):
            values = np.sort(heads[heads["model"] == model]["strength"].dropna().to_numpy(float))
            above = 100 * np.arange(len(values), 0, -1) / max(len(values), 1)
            ax.step(values * look.factor, above, where="pre", color=color, label=model)
        ax.axvline(look.tau, color="0.6", linestyle=":", linewidth=0.8)
        ax.set_xscale("symlog", linthresh=look.tau / 5)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(pyplot.NullLocator())
        ax.set_xlim(left=0)
        ax.set(title=family, xlabel=f"strength, both tasks ({look.unit})", ylim=(0, 105))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=1)
    axes[0, 0].set_ylabel("heads at least as strong (%)")
    return figure


def class_depth(depths, heads, look, alpha):
    """Mean depth of the heads of each class, beside that of all heads."""
    models = list(look.models["model"])
    figure, ax = pyplot.subplots(figsize=(4.4, 0.9 + 0.42 * len(models)))
    shown = [name for name in CATEGORIES if name != "uncertain"]
    for place, model in enumerate(models):
        every = heads[heads["model"] == model]["depth"].mean()
        ax.vlines(every, place - 0.4, place + 0.4, color="0.7", linewidth=1)
        for offset, name in zip(np.linspace(-0.27, 0.27, len(shown)), shown, strict=True):
            row = depths[(depths["model"] == model) & (depths["category"] == name)]
            if row.empty or not row["heads"].iloc[0]:
                continue
            row = row.iloc[0]
            clear = row["q_depth"] <= alpha
            low, high = (float(row[f"depth_{end}"]) for end in ("low", "high"))
            if np.isfinite(low) and np.isfinite(high):
                ax.hlines(place + offset, low, high, color=COLORS[name], linewidth=1)
            ax.plot(
                row["depth"],
                place + offset,
                "o",
                color=COLORS[name],
                fillstyle="full" if clear else "none",
                markersize=4,
            )
    ax.set_yticks(range(len(models)), models)
    ax.invert_yaxis()
    ax.set(xlabel="mean depth (layer / layers)", xlim=(-0.03, 1))
    handles = [Line2D([], [], color=COLORS[name], marker="o", linestyle="none") for name in shown]
    handles += [
        Line2D([], [], color="0.7"),
        Line2D([], [], color="black", marker="o", fillstyle="none", linestyle="none"),
    ]
    labels = [look.category(name) for name in shown]
    figure.legend(handles, [*labels, "all heads", f"hollow: q > {alpha:g}"], loc="outside lower center", ncols=3)
    return figure


def tau_sweep(sweep, look):
    """Heads of each class against the threshold."""
    figure, found, left, low = panels(look, sharex=True)
    for model, ax in found.items():
        mine = sweep[sweep["model"] == model]
        for name in CATEGORIES:
            part = mine[mine["category"] == name].sort_values("tau")
            taus = part["tau"] * look.factor
            ax.plot(taus, part["heads"], color=COLORS[name], marker=".")
            if name != "uncertain":
                ax.plot(taus, part["heads_effect"], color=COLORS[name], linestyle=":", linewidth=0.9)
        ax.axvline(look.tau, color="0.6", linewidth=0.6)
        ax.set_xscale("log")
        ticks = np.array(sorted(mine["tau"].unique())) * look.factor
        ax.set_xticks(ticks[:: max(1, len(ticks) // 3)])
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(pyplot.NullLocator())
        ax.set_ylim(0, None)
    for ax in left:
        ax.set_ylabel("heads")
    for ax in low:
        ax.set_xlabel(f"threshold tau ({look.unit})")
    extra = [(Line2D([], [], color="black", linestyle=":"), "by effect alone")]
    class_legend(figure, look, extra)
    return figure
