"""Figures of what changes with the size of a model, and of strengths, depths and thresholds."""

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from circuit_reuse.data.gather import pick
from circuit_reuse.report import style
from circuit_reuse.studies.scaling.classes import CATEGORIES
from circuit_reuse.studies.scaling.fits import fit
from circuit_reuse.studies.scaling.plots import COLORS, class_legend, panels, shades


def dodge(n):
    """A factor that moves the points of family n aside, so that they do not hide each other."""
    return 1 + 0.03 * ((n + 1) // 2) * (-1) ** n


def line_by_family(ax, models, context, column, low=None, high=None, limits=None):
    """Points of a family over size with intervals, and the line with its band where there is one."""
    notes = []
    for n, (family, (color, marker)) in enumerate(context.families().items()):
        part = models[models["family"] == family].sort_values("parameters")
        at = part["parameters"] * dodge(n)
        able = part[part["able"].astype(bool) & part[column].notna()]
        values = part[column].astype(float)
        error = None
        if low:
            error = style.bars(values, part[low], part[high])
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


def family_handles(context):
    """Handles and labels of the families."""
    families = context.families()
    handles = [Line2D([], [], color=c, marker=m, linestyle="none") for c, m in families.values()]
    return handles, list(families)


def correlation_vs_scale(models, context):
    """Correlation of the two effects over heads, and after the published selection with its null."""
    figure, axes = style.grid(1, 2, width=2.6, height=2.1, sharex=True, sharey=True)
    measured, selected = axes[0]
    for ax in axes[0]:
        ax.axhline(0, color="black", linewidth=0.6, linestyle="--")
        ax.set_ylim(-1.08, 1.08)
    line_by_family(measured, models, context, "corrected", "corrected_low", "corrected_high", (-1, 1))
    for n, (family, (color, marker)) in enumerate(context.families().items()):
        part = models[models["family"] == family]
        rest = part["without_strongest"].astype(float)
        measured.plot(part["parameters"] * dodge(n), rest, marker, color=color, fillstyle="none")
    measured.set_title("all heads,\ncorrected for attenuation")
    measured.set_ylabel(f"correlation of effects on\n{context.titles[0]} and {context.titles[1]}")
    for n, (family, (color, marker)) in enumerate(context.families().items()):
        part = models[models["family"] == family]
        at = part["parameters"] * dodge(n)
        low, high, middle = (part[f"selected_null{end}"].astype(float) for end in ("_low", "_high", ""))
        selected.vlines(at, low, high, color="0.8", linewidth=5)
        selected.plot(at, middle, "_", color="0.4", markersize=7)
        selected.plot(at, part["selected"].astype(float), marker, color=color)
    selected.set_title("strongest of each task only,\nothers filled with 0")
    size_axis(selected, models["parameters"])
    handles, labels = family_handles(context)
    handles += [
        Line2D([], [], color="black", marker="o", fillstyle="none", linestyle="none"),
        Line2D([], [], color="0.8", linewidth=5),
        Line2D([], [], color="0.4", marker="_", markersize=7, linestyle="none"),
    ]
    labels += ["without the strongest head", "95 % of the null", "mean of the null"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def strong_head_scaling(models, context):
    """Number and share of strong heads against size."""
    figure, axes = style.grid(1, 2, width=2.6, height=2.0, sharex=True)
    parts = models.assign(
        share=100 * models["n_strong"] / models["n_heads"],
        share_low=100 * models["n_strong_low"] / models["n_heads"],
        share_high=100 * models["n_strong_high"] / models["n_heads"],
    )
    line_by_family(axes[0, 0], parts, context, "n_strong", "n_strong_low", "n_strong_high", (0, np.inf))
    line_by_family(axes[0, 1], parts, context, "share", "share_low", "share_high", (0, 100))
    axes[0, 0].set(ylabel="strong heads", ylim=(0, None))
    # The band of few sizes is wide; the axis follows the points.
    axes[0, 0].set_ylim(0, 1.5 * parts["n_strong_high"].fillna(0).max() + 1)
    axes[0, 1].set(ylabel="strong heads (% of all)", ylim=(0, 105))
    handles, labels = family_handles(context)
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def strength_distribution(heads, context):
    """Share of heads above each strength, by family and size."""
    groups = dict(list(context.models.groupby("family", sort=False)))
    figure, axes = style.grid(1, len(groups), width=2.4, height=2.0, sharex=True, sharey=True)
    for ax, (family, part) in zip(axes[0], groups.items(), strict=True):
        for color, model in zip(shades(len(part)), part["model"], strict=True):
            values = np.sort(heads[heads["model"] == model]["strength"].dropna().to_numpy(float))
            above = 100 * np.arange(len(values), 0, -1) / max(len(values), 1)
            ax.step(values * context.factor, above, where="pre", color=color, label=model)
        ax.axvline(context.tau, color="0.6", linestyle=":", linewidth=0.8)
        ax.set_xscale("symlog", linthresh=context.tau / 5)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(pyplot.NullLocator())
        ax.set_xlim(left=0)
        ax.set(title=family, xlabel=f"strength, both tasks ({context.unit})", ylim=(0, 105))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=1)
    axes[0, 0].set_ylabel("heads at least as strong (%)")
    return figure


def class_depth(depths, heads, context, alpha):
    """Mean depth of the heads of each class, beside that of all heads."""
    models = list(context.models["model"])
    figure, ax = pyplot.subplots(figsize=(4.4, 0.9 + 0.42 * len(models)))
    shown = [name for name in CATEGORIES if name != "uncertain"]
    for place, model in enumerate(models):
        every = heads[heads["model"] == model]["depth"].mean()
        ax.vlines(every, place - 0.4, place + 0.4, color="0.7", linewidth=1)
        for offset, name in zip(np.linspace(-0.27, 0.27, len(shown)), shown, strict=True):
            row = pick(depths, model=model, category=name)
            if row.empty or not row["n_heads"].iloc[0]:
                continue
            row = row.iloc[0]
            clear = row["q_value"] <= alpha
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
    labels = [context.category(name) for name in shown]
    figure.legend(handles, [*labels, "all heads", f"hollow: q > {alpha:g}"], loc="outside lower center", ncols=3)
    return figure


def tau_sweep(sweep, context):
    """Heads of each class against the threshold."""
    figure, found, left, low = panels(context, sharex=True)
    for model, ax in found.items():
        mine = sweep[sweep["model"] == model]
        for name in CATEGORIES:
            part = mine[mine["category"] == name].sort_values("tau")
            taus = part["tau"] * context.factor
            ax.plot(taus, part["n_heads"], color=COLORS[name], marker=".")
            if name != "uncertain":
                ax.plot(taus, part["n_heads_effect"], color=COLORS[name], linestyle=":", linewidth=0.9)
        ax.axvline(context.tau, color="0.6", linewidth=0.6)
        ax.set_xscale("log")
        ticks = np.array(sorted(mine["tau"].unique())) * context.factor
        ax.set_xticks(ticks[:: max(1, len(ticks) // 3)])
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(pyplot.NullLocator())
        ax.set_ylim(0, None)
    for ax in left:
        ax.set_ylabel("heads")
    for ax in low:
        ax.set_xlabel(f"threshold tau ({context.unit})")
    extra = [(Line2D([], [], color="black", linestyle=":"), "by effect alone")]
    class_legend(figure, context, extra)
    return figure
