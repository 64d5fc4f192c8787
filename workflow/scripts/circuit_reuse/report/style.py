"""One look for all figures: sizes, colours (Okabe & Ito 2008), and how they are saved.

The same thing has the same colour in every figure.
"""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, ScalarFormatter

from circuit_reuse.report import hover, palette

BASELINE, CIRCUIT, CONTROL, NULL, OTHER = (
    palette.GREY_38,
    palette.VERMILION,
    palette.BLUE,
    palette.GREY_38,
    palette.PURPLE,
)
# Controls beside those of CONTROL.
OTHER_CONTROL = palette.GREY_60
# Values of K, from few components to many.
BY_K = [palette.ORANGE, palette.GREEN, palette.SKY, palette.PURPLE, palette.BLACK, palette.YELLOW]
MARKERS = ["o", "s", "^", "D", "v", "P"]
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
# Points; smaller text cannot be read in print.
SMALLEST = 6

matplotlib.rcParams.update(
    {
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.w_pad": 0.06,
        # Equal input gives equal files.
        "svg.hashsalt": "circuit-reuse",
        "svg.fonttype": "path",
    }
)


def grid(rows, columns, width=1.75, height=1.55, **options):
    """A figure with a grid of panels, and its axes as a two-dimensional array."""
    return pyplot.subplots(
        rows, columns, figsize=(0.6 + width * columns, 0.75 + height * rows), squeeze=False, **options
    )


def save(figure, path, formats, dpi):
    """Write a figure in every format beside each other; text too small to be read in print is set larger."""
    path = Path(path)
    powers = ticks_with_powers(figure)
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), SMALLEST))
        # A title, a token or a name that a user chose may hold dollar signs; only ticks are formulas.
        text.set_parse_math(text in powers)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Laying out takes longest: once is enough for all formats.  Text is measured as it will be
    # drawn, or labels at the edge are cut.
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    # A figure of one model and a few tasks can be narrower than its legend.
    width, height = figure.get_size_inches()
    wanted = max((legend.get_window_extent().width / dpi for legend in figure.legends), default=0)
    if wanted + 0.1 > width:
        figure.set_size_inches(wanted + 0.2, height)
        figure.draw_without_rendering()
    # No engine at all: with the one that "none" leaves behind, each format is drawn twice.
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
    texts = hover.named(figure)
    for kind in formats:
        metadata = {{"svg": "Date", "pdf": "CreationDate"}.get(kind, "Software"): None}
        figure.savefig(path.with_suffix(f".{kind}"), dpi=dpi, metadata=metadata)
        if kind == "svg":
            hover.write(path.with_suffix(".svg"), texts)
    pyplot.close(figure)


def ticks_with_powers(figure):
    """The labels of ticks, and what they are multiples of, that matplotlib writes with powers of ten."""
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    axes = [axis for axis in axes if has_powers(axis.get_major_formatter())]
    ticks = [tick for axis in axes for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())]
    return {label for tick in ticks for label in (tick.label1, tick.label2)} | {axis.get_offset_text() for axis in axes}


def has_powers(formatter):
    """Whether a formatter of ticks writes formulas."""
    return isinstance(formatter, LogFormatter) or (
        isinstance(formatter, ScalarFormatter) and formatter.get_useMathText()
    )


def bars(value, low, high):
    """Lengths of error bars below and above, [2, value]; an end that rounding puts on the wrong side has none."""
    value, low, high = (np.atleast_1d(np.asarray(each, dtype=float)) for each in (value, low, high))
    return np.maximum([value - low, high - value], 0)


def task_ticks(axes, tasks, titles, room=0):
    """A tick for each task, with its name below, aslant where one has more letters than there is room for; titles: {task: name}"""
    names = [titles[task] for task in tasks]
    slant = {} if max(map(len, names), default=0) <= room else {"rotation": 30, "ha": "right"}
    axes.set_xticks(range(len(tasks)), names, **slant)


def empty(axes, text):
    """Say in a panel why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, wrap=True)
