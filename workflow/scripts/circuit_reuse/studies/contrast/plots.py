"""The figures of the contrast study; each function takes tables for people and returns a figure."""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from circuit_reuse.data import components
from circuit_reuse.data.gather import pick
from circuit_reuse.report import palette, style

KIND = {"head": ("head", palette.BLUE), "mlp": ("MLP", palette.VERMILION), "input": ("input", palette.GREY_38)}
UNITS = {"none": "activation units", "dimension": "per root of dimensions", "spread": "within-set s.d."}
CONDITIONS = ["real", "padded", "right_truncated", "left_truncated", "unrelated", "shuffled"]
INTERPRETATIONS = {
    "does": ("differs, does something alone", palette.VERMILION, "o"),
    "open": ("differs, effect open", palette.ORANGE, "s"),
    "idle": ("differs, does nothing alone", palette.BLUE, "^"),
    "silent": ("no difference shown, does something", palette.PURPLE, "D"),
    "none": ("no difference shown", palette.GREY_38, "x"),
}
SOURCES = [palette.VERMILION, palette.BLUE, palette.GREEN, palette.PURPLE, palette.ORANGE, palette.SKY]
# A share of the effect below this is drawn at it: a logarithm has no 0.
LEAST = 1e-4
# Bars of one panel, and names written beside points.
MOST, NAMED = 16, 3


@dataclass(frozen=True)
class ContrastContext:
    """Names that the figures share.

    titles:  {set: name};  scorings: {name: settings} in their order;  attribution: the method
    """

    models: list
    sets: list
    titles: dict
    scorings: dict
    attribution: str
    budget: float
    alpha: float
    margin: float

    def places(self):
        """(row, model, set) of every row of panels, and its title."""
        found = [(model, name) for model in self.models for name in self.sets]
        return [(row, *each, f"{self.titles[each[1]]}, {each[0]}") for row, each in enumerate(found)]

    def colour(self, source):
        """The colour of a scoring or of attribution, the same in every figure."""
        return SOURCES[[*self.scorings, self.attribution, "file"].index(source) % len(SOURCES)]

    def unit(self, scoring):
        """Label of a scoring's scores."""
        kind = "difference" if self.scorings[scoring]["score"] == "distance" else "mean length of differences"
        return f"{kind}\n({UNITS[self.scorings[scoring]['scale']]})"

    def grid(self, width, height):
        """A panel for every model and set (rows) and scoring (columns), titled."""
        figure, axes = style.grid(len(self.places()), len(self.scorings), width=width, height=height)
        for row, *_, title in self.places():
            for column, scoring in enumerate(self.scorings):
                axes[row, column].set_title(f"{title}\n{scoring}")
        return figure, axes

    def panels(self, frame, axes):
        """(axes, rows of the panel, scoring) of every panel."""
        for row, model, name, _ in self.places():
            for column, scoring in enumerate(self.scorings):
                yield axes[row, column], pick(frame, model=model, set=name, scoring=scoring), scoring


def kinds(names):
    """Colours of components by kind."""
    return [KIND[components.kind(name)][1] for name in names]


def legend(figure, handles, columns=3):
    """One legend under all panels."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def dot(label, colour, marker="o", **more):
    """A legend entry."""
    return Line2D([], [], color=colour, marker=marker, linestyle="", label=label, **more)


def component_bars(differences, context):
    """The components that differ most, with intervals and the score without a difference."""
    figure, axes = context.grid(width=2.2, height=2.6)
    real = differences[differences["condition"] == "real"]
    for ax, mine, scoring in context.panels(real, axes):
        mine = mine.dropna(subset=["score"]).sort_values("score", ascending=False).head(MOST)
        place = np.arange(len(mine))
        shown = (mine["q_value"] <= context.alpha).to_numpy()
        for y, (score, name, filled) in enumerate(zip(mine["score"], mine["component"], shown, strict=True)):
            colour = KIND[components.kind(name)][1]
            ax.barh(
                y, score, color=to_rgba(colour, 0.85 if filled else 0.15), edgecolor=colour, height=0.72, linewidth=0.7
            )
        errors = style.bars(mine["score"], mine["score_low"], mine["score_high"])
        ax.errorbar(mine["score"], place, xerr=errors, fmt="none", ecolor="black", elinewidth=0.8, capsize=1.5)
        ax.plot(mine["score_null"], place, "|", color="black", markersize=6, markeredgewidth=1.4)
        ax.set_yticks(place, mine["component"])
        ax.invert_yaxis()
        ax.set_xlabel(context.unit(scoring))
    handles = [Patch(color=colour, label=label) for label, colour in KIND.values()]
    handles += [
        Patch(facecolor="white", edgecolor="black", label=f"q > {context.alpha:g}"),
        Line2D([], [], color="black", marker="|", markersize=6, linestyle="", label="labels flipped (distance)"),
    ]
    legend(figure, handles, 5)
    return figure


def layer_map(differences, circuits, context):
    """Scores by layer and head, those in the circuit framed."""
    heads = 1 + max(components.place(n)[1] or 0 for n in differences["component"] if n.startswith("a"))
    figure, axes = context.grid(width=max(2.4, 0.2 * heads + 0.7), height=1.5)
    real = differences[differences["condition"] == "real"]
    for ax, mine, scoring in context.panels(real, axes):
        mine = mine[mine["component"] != "input"].dropna(subset=["score"])
        if mine.empty:
            style.empty(ax, "no scores")
            continue
        layers = 1 + max(components.place(name)[0] for name in mine["component"])
        values = np.full((layers, heads + 1), np.nan)
        for name, score in zip(mine["component"], mine["score"], strict=True):
            layer, head = components.place(name)
            values[layer, heads if head is None else head] = score
        image = ax.imshow(np.maximum(values, 0), cmap=style.SEQUENTIAL, aspect="auto", origin="lower")
        chosen = pick(
            circuits,
            model=mine["model"].iloc[0],
            set=mine["set"].iloc[0],
            scored_by=scoring,
            condition="real",
            main=True,
            rule=context.scorings[scoring]["rules"][0],
        )
        for name in chosen["components"].iloc[0].split() if len(chosen) else []:
            layer, head = components.place(name)
            if layer is not None:
                x = heads if head is None else head
                ax.add_patch(
                    Rectangle((x - 0.44, layer - 0.44), 0.88, 0.88, fill=False, edgecolor=palette.ORANGE, linewidth=1.4)
                )
        step = max(1, heads // 6)
        ax.set_xticks([*range(0, heads - 1, step), heads], [*map(str, range(0, heads - 1, step)), "MLP"])
        ax.set_yticks(range(0, layers, max(1, layers // 8)))
        ax.set(xlabel="head", ylabel="layer")
        figure.colorbar(image, ax=ax, label=context.unit(scoring), pad=0.02)
    legend(figure, [Patch(facecolor="none", edgecolor=palette.ORANGE, linewidth=1.4, label="in the circuit")])
    return figure


def name_points(ax, names, x, y):
    """Write names beside points of a panel with a logarithmic y, those of close points above one another.

    names, x, y: Series of one index
    """
    across = ((x - x.min()) / (np.ptp(x) or 1)).astype(float)
    up = np.log(y.astype(float))
    up = (up - up.min()) / (np.ptp(up) or 1)
    placed = []
    for index in up[names.index].sort_values().index:
        close = sum(abs(across[index] - a) < 0.25 and abs(up[index] - u) < 0.06 for a, u in placed)
        placed.append((across[index], up[index]))
        right = across[index] < 0.5
        ax.annotate(
            names[index],
            (x[index], y[index]),
            xytext=(3 if right else -3, 3 + 7 * close),
            textcoords="offset points",
            fontsize=6,
            ha="left" if right else "right",
        )


def lengths(differences, context):
    """Scores of all components when the texts differ in length only, or not at all."""
    figure, axes = context.grid(width=2.5, height=1.9)
    there = [name for name in CONDITIONS if name in set(differences["condition"])]
    for ax, mine, scoring in context.panels(differences, axes):
        for x, condition in enumerate(there):
            rows = mine[mine["condition"] == condition].dropna(subset=["score"])
            if rows.empty:
                ax.text(
                    x,
                    0.5,
                    "no pairs",
                    rotation=90,
                    ha="center",
                    va="center",
                    fontsize=6,
                    color=palette.GREY_40,
                    transform=ax.get_xaxis_transform(),
                )
                continue
            # Spread by order, so that equal input gives equal figures.
            order = np.argsort(np.argsort(rows["score"].to_numpy()))
            offset = ((order * 7) % 11 - 5) / 11 * 0.6
            shown = (rows["q_value"] <= context.alpha).to_numpy()
            colours = kinds(rows["component"])
            ax.scatter(
                x + offset,
                rows["score"],
                s=11,
                facecolors=[to_rgba(c, 0.8 if s else 0.0) for c, s in zip(colours, shown, strict=True)],
                edgecolors=colours,
                linewidths=0.7,
            )
            top = rows.loc[rows["score"].idxmax()]
            if top["score"] > 0:
                ax.annotate(
                    top["component"],
                    (x, top["score"]),
                    xytext=(0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=6,
                )
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xticks(range(len(there)), there, rotation=25, ha="right", rotation_mode="anchor")
        ax.set_xlim(-0.5, len(there) - 0.5)
        ax.margins(y=0.12)
        ax.set_ylabel(context.unit(scoring))
    handles = [dot(label, colour) for label, colour in KIND.values()]
    handles.append(dot(f"q > {context.alpha:g}", "black", markerfacecolor="none"))
    legend(figure, handles, 4)
    return figure


def difference_and_effect(table, context):
    """Each component's difference against what corrupting it alone does to the task."""
    figure, axes = context.grid(width=2.3, height=2.1)
    for ax, mine, scoring in context.panels(table, axes):
        mine = mine[(mine["component"] != "input") & mine["interpretation"].notna()].dropna(subset=["score"])
        if mine.empty:
            style.empty(ax, "no task with an answer")
            continue
        size = mine["effect_share_absolute"].clip(lower=LEAST)
        for key, (_, colour, marker) in INTERPRETATIONS.items():
            rows = mine["interpretation"] == key
            ax.scatter(mine["score"][rows], size[rows], color=colour, marker=marker, s=16, linewidths=0.8)
        # The largest by either measure, each side of the point that has room.
        idle = mine[mine["interpretation"] == "idle"].nlargest(1, "score").index
        named = {*mine.nlargest(NAMED, "score").index, *size.nlargest(2).index, *idle}
        name_points(ax, mine["component"][sorted(named)], mine["score"], size)
        ax.axhline(context.margin, color="black", linestyle="--", linewidth=0.8)
        ax.set(
            yscale="log",
            xlabel=context.unit(scoring),
            ylabel="mean size of its own effect\n(share of the whole effect)",
        )
        ax.margins(x=0.1, y=0.12)
    handles = [dot(label, colour, marker) for label, colour, marker in INTERPRETATIONS.values()]
    handles.append(Line2D([], [], color="black", linestyle="--", linewidth=0.8, label="margin: nothing below"))
    legend(figure, handles, 2 if len(context.scorings) < 3 else 3)
    return figure
