"""The figure of the calibration study: false positives, power and coverage.

The tables are those of circuit_reuse.validate.
"""

import numpy as np
from matplotlib import pyplot

from circuit_reuse.data import csv_tables
from circuit_reuse.report import palette, style
from circuit_reuse.validate import nulls as tests
from circuit_reuse.validate.coverage import SLACK

# The tests and intervals in the order of the legends, of which each has its own marker.
COLORS = [*style.BY_K[:5], style.CIRCUIT, style.CONTROL]
MARKERS = [*style.MARKERS, "X"]
BAND = palette.GREY_87
# Verdict, its marker and its colour.
LOOKS = [
    ("calibrated", "o", style.CONTROL),
    ("conservative", "s", style.BY_K[1]),
    ("anti-conservative", "D", style.CIRCUIT),
]


def draw(job):
    """A figure of each table of the calibration study."""
    figures = job.cfg["figures"]
    for function in (false_positives, power, coverage):
        stem = next(path for path in job.output.figures if f"/{function.__name__}." in path)
        figure = function(csv_tables.read(getattr(job.input, function.__name__)))
        style.save(figure, stem, figures["formats"], figures["dpi"])


def false_positives(nulls, level=0.05):
    """Share of true nulls rejected, a row per test and setting, with the band that is fine.

    What a test must not be used for comes last; shares off the scale are written at its end.
    """
    rows = nulls[nulls["level"] == level]
    rows = rows.assign(warning=rows["setting"].str.startswith(tests.WARNING))
    rows = rows.sort_values(["warning", "test"], kind="stable").reset_index(drop=True)
    fine = rows[~rows["warning"]]
    end = max(0.1, 1.05 * fine["share_high"].max())
    figure, axes = pyplot.subplots(figsize=(6.9, 0.9 + 0.155 * len(rows)))
    axes.axvspan(*tests.BAND, color=BAND, linewidth=0)
    axes.axvline(level, color="black", linewidth=0.6, linestyle=":")
    for place, row in enumerate(rows.itertuples()):
        _, marker, color = LOOKS[look(row.verdict)]
        if row.share > end:
            axes.plot(0.985 * end, place, marker=">", color=color)
            axes.text(0.965 * end, place, f"{row.share:.2f}", ha="right", va="center", fontsize=6.5)
            continue
        error = [[max(row.share - row.share_low, 0)], [max(row.share_high - row.share, 0)]]
        axes.errorbar(row.share, place, xerr=error, fmt=marker, color=color, elinewidth=0.9)
    labels = [f"{row.test}:  {row.setting}, n = {row.n_examples}" for row in rows.itertuples()]
    axes.set_yticks(range(len(rows)), labels, fontsize=6.5)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(-0.003, end))
    axes.set_xlabel(f"true nulls rejected at {level:g} (share)")
    for place in np.flatnonzero(rows["test"].to_numpy()[1:] != rows["test"].to_numpy()[:-1]):
        axes.axhline(place + 0.5, color=BAND, linewidth=0.6)
    if len(fine) < len(rows):
        axes.axhline(len(fine) - 0.5, color="black", linewidth=0.8)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=BAND, linewidth=0)]
    handles += [pyplot.Line2D([], [], color=c, marker=m, linestyle="none") for _, m, c in LOOKS]
    words = [f"{tests.BAND[0]:g} to {tests.BAND[1]:g}", *(word for word, _, _ in LOOKS)]
    figure.legend(handles, words, loc="outside lower center", ncols=4)
    return figure


def look(verdict):
    """Which of LOOKS a verdict has: the first word decides."""
    return [word for word, _, _ in LOOKS].index(verdict.split(":")[0])


def power(table, level=0.05):
    """Share rejected against the size of the effect, a panel per number of examples."""
    counts = sorted(table["n_examples"].unique())
    figure, axes = style.grid(1, len(counts), width=2.9, height=1.8, sharex=True, sharey=True)
    for ax, n in zip(axes[0], counts, strict=True):
        for number, (test, rows) in enumerate(table[table["n_examples"] == n].groupby("test", sort=False)):
            line(ax, rows, "size", number, test)
        ax.axhline(level, color="black", linewidth=0.6, linestyle=":")
        ax.set(title=f"n = {n} examples", ylim=(-0.03, 1.03))
        ax.set_xlabel("effect (standard deviations)")
    axes[0, 0].set_ylabel(f"rejected at {level:g} (share)")
    legend(figure, axes[0, 0], 6)
    return figure


def coverage(table):
    """Share of intervals that hold the truth against n, a panel per kind of interval."""
    # Kinds of data of the same name look the same in all panels.
    intervals, settings = (list(dict.fromkeys(table[name])) for name in ("interval", "setting"))
    figure, axes = style.grid(1, len(intervals), width=1.5, height=1.7, sharex=True, sharey=True)
    level = table["level"].iloc[0]
    for ax, interval in zip(axes[0], intervals, strict=True):
        ax.axhspan(level - SLACK, level + SLACK, color=BAND, linewidth=0)
        ax.axhline(level, color="black", linewidth=0.6, linestyle=":")
        rows = table[table["interval"] == interval]
        for setting, part in rows.groupby("setting", sort=False):
            line(ax, part, "n_examples", settings.index(setting), setting)
        counts = sorted(rows["n_examples"].unique())
        ax.set_xscale("log", base=2)
        ax.set_xticks(counts, counts)
        ax.minorticks_off()
        ax.set(title=interval, xlabel="n (examples)")
    lowest = min(0.9, table["share_low"].min() - 0.005)
    axes[0, 0].set(ylabel=f"hold the truth (share),\nnominal {level:g}", ylim=(lowest, 1.003))
    seen = {}
    for ax in axes[0]:
        handles, labels = ax.get_legend_handles_labels()
        seen |= {name: one for name, one in zip(labels, handles, strict=True) if name not in seen}
    figure.legend(list(seen.values()), list(seen), loc="outside lower center", ncols=len(seen))
    return figure


def line(axes, rows, column, number, label):
    """A line with its interval as error bars."""
    rows = rows.sort_values(column)
    share = rows["share"].to_numpy(float)
    error = [share - rows["share_low"].to_numpy(float), rows["share_high"].to_numpy(float) - share]
    axes.errorbar(
        rows[column],
        share,
        yerr=np.maximum(error, 0),
        color=COLORS[number % len(COLORS)],
        marker=MARKERS[number % len(MARKERS)],
        elinewidth=0.6,
        label=label,
    )


def legend(figure, axes, columns):
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
