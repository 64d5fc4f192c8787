"""The figures of the contrast study; each function takes tables for people and returns a figure."""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from circuit_reuse import components
from circuit_reuse.figures import style

KIND = {"head": ("head", "#0072B2"), "mlp": ("MLP", "#D55E00"), "input": ("input", "#606060")}
UNITS = {"none": "activation units", "dimension": "per root of dimensions", "spread": "within-set s.d."}
CONDITIONS = ["real", "padded", "shortened", "beheaded", "unrelated", "shuffled"]
READINGS = {
    "does": ("differs, does something alone", "#D55E00", "o"),
    "open": ("differs, effect open", "#E69F00", "s"),
    "idle": ("differs, does nothing alone", "#0072B2", "^"),
    "silent": ("no difference shown, does something", "#CC79A7", "D"),
    "none": ("no difference shown", "#606060", "x"),
}
SOURCES = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
LINES = {"published": "-", "knapsack": "-", "ratio": ":"}
PAIRS = {"given": "#D55E00", "halves": "#0072B2", "control": "#606060", "recipes": "#009E73"}
KINDS_OF_PAIRS = {
    "given": "asked for",
    "halves": "two halves of the texts",
    "control": "without the difference, or padded",
    "recipes": "two recipes",
}
# A share of the effect below this is drawn at it: a logarithm has no 0.
LEAST = 1e-4
# Bars of one panel, and names written beside points.
MOST, NAMED = 16, 3


@dataclass(frozen=True)
class Look:
    """Names that the figures share.

    titles:  {set: name};  recipes: {name: settings} in their order;  attribution: the method
    """

    models: list
    sets: list
    titles: dict
    recipes: dict
    attribution: str
    budget: float
    alpha: float
    margin: float

    def places(self):
        """(row, model, set) of every row of panels, and its title."""
        found = [(model, name) for model in self.models for name in self.sets]
        return [(row, *each, f"{self.titles[each[1]]}, {each[0]}") for row, each in enumerate(found)]

    def colour(self, source):
        """The colour of a recipe or of attribution, the same in every figure."""
        return SOURCES[[*self.recipes, self.attribution, "file"].index(source) % len(SOURCES)]

    def unit(self, recipe):
        """Label of a recipe's scores."""
        kind = "difference" if self.recipes[recipe]["score"] == "distance" else "mean length of differences"
        return f"{kind}\n({UNITS[self.recipes[recipe]['scale']]})"

    def grid(self, width, height):
        """A panel for every model and set (rows) and recipe (columns), titled."""
        figure, axes = style.grid(len(self.places()), len(self.recipes), width=width, height=height)
        for row, *_, title in self.places():
            for column, recipe in enumerate(self.recipes):
                axes[row, column].set_title(f"{title}\n{recipe}")
        return figure, axes

    def panels(self, frame, axes):
        """(axes, rows of the panel, recipe) of every panel."""
        for row, model, name, _ in self.places():
            for column, recipe in enumerate(self.recipes):
                mine = frame[(frame["model"] == model) & (frame["set"] == name) & (frame["recipe"] == recipe)]
                yield axes[row, column], mine, recipe


def kinds(names):
    """Colours of components by kind."""
    return [KIND[components.kind(name)][1] for name in names]


def legend(figure, handles, columns=3):
    """One legend under all panels."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def dot(label, colour, marker="o", **more):
    """A legend entry."""
    return Line2D([], [], color=colour, marker=marker, linestyle="", label=label, **more)


def component_bars(differences, look):
    """The components that differ most, with intervals and the score without a difference."""
    figure, axes = look.grid(width=2.2, height=2.6)
    real = differences[differences["condition"] == "real"]
    for ax, mine, recipe in look.panels(real, axes):
        mine = mine.dropna(subset=["score"]).sort_values("score", ascending=False).head(MOST)
        place = np.arange(len(mine))
        shown = (mine["q_value"] < look.alpha).to_numpy()
        for y, (score, name, filled) in enumerate(zip(mine["score"], mine["component"], shown, strict=True)):
            colour = KIND[components.kind(name)][1]
            ax.barh(
                y, score, color=to_rgba(colour, 0.85 if filled else 0.15), edgecolor=colour, height=0.72, linewidth=0.7
            )
        errors = np.maximum([mine["score"] - mine["low"], mine["high"] - mine["score"]], 0)
        ax.errorbar(mine["score"], place, xerr=errors, fmt="none", ecolor="black", elinewidth=0.8, capsize=1.5)
        ax.plot(mine["null"], place, "|", color="black", markersize=6, markeredgewidth=1.4)
        ax.set_yticks(place, mine["component"])
        ax.invert_yaxis()
        ax.set_xlabel(look.unit(recipe))
    handles = [Patch(color=colour, label=label) for label, colour in KIND.values()]
    handles += [
        Patch(facecolor="white", edgecolor="black", label=f"q ≥ {look.alpha:g}"),
        Line2D([], [], color="black", marker="|", markersize=6, linestyle="", label="labels flipped (distance)"),
    ]
    legend(figure, handles, 5)
    return figure


def layer_map(differences, circuits, look):
    """Scores by layer and head, those in the circuit framed."""
    heads = 1 + max(components.place(n)[1] or 0 for n in differences["component"] if n.startswith("a"))
    figure, axes = look.grid(width=max(1.9, 0.2 * heads + 0.7), height=1.5)
    real = differences[differences["condition"] == "real"]
    for ax, mine, recipe in look.panels(real, axes):
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
        chosen = circuits[
            (circuits["model"] == mine["model"].iloc[0])
            & (circuits["set"] == mine["set"].iloc[0])
            & (circuits["source"] == recipe)
            & (circuits["condition"] == "real")
            & circuits["main"]
            & (circuits["rule"] == look.recipes[recipe]["rules"][0])
        ]
        for name in chosen["components"].iloc[0].split() if len(chosen) else []:
            layer, head = components.place(name)
            if layer is not None:
                x = heads if head is None else head
                ax.add_patch(
                    Rectangle((x - 0.44, layer - 0.44), 0.88, 0.88, fill=False, edgecolor="#E69F00", linewidth=1.4)
                )
        step = max(1, heads // 6)
        ax.set_xticks([*range(0, heads - 1, step), heads], [*map(str, range(0, heads - 1, step)), "MLP"])
        ax.set_yticks(range(0, layers, max(1, layers // 8)))
        ax.set(xlabel="head", ylabel="layer")
        figure.colorbar(image, ax=ax, label=look.unit(recipe), pad=0.02)
    legend(figure, [Patch(facecolor="none", edgecolor="#E69F00", linewidth=1.4, label="in the circuit")])
    return figure


def lengths(differences, look):
    """Scores of all components when the texts differ in length only, or not at all."""
    figure, axes = look.grid(width=2.5, height=1.9)
    there = [name for name in CONDITIONS if name in set(differences["condition"])]
    for ax, mine, recipe in look.panels(differences, axes):
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
                    color="#666666",
                    transform=ax.get_xaxis_transform(),
                )
                continue
            # Spread by order, so that equal input gives equal figures.
            order = np.argsort(np.argsort(rows["score"].to_numpy()))
            offset = ((order * 7) % 11 - 5) / 11 * 0.6
            shown = (rows["q_value"] < look.alpha).to_numpy()
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
        ax.set_xticks(range(len(there)), there, rotation=25)
        ax.set_xlim(-0.5, len(there) - 0.5)
        ax.margins(y=0.12)
        ax.set_ylabel(look.unit(recipe))
    handles = [dot(label, colour) for label, colour in KIND.values()]
    handles.append(dot(f"q ≥ {look.alpha:g}", "black", markerfacecolor="none"))
    legend(figure, handles, 4)
    return figure


def difference_and_effect(table, look):
    """Each component's difference against what corrupting it alone does to the task."""
    figure, axes = look.grid(width=2.3, height=2.1)
    for ax, mine, recipe in look.panels(table, axes):
        mine = mine[(mine["component"] != "input") & mine["reading"].notna()].dropna(subset=["score"])
        if mine.empty:
            style.empty(ax, "no task with an answer")
            continue
        size = mine["size"].clip(lower=LEAST)
        for key, (_, colour, marker) in READINGS.items():
            rows = mine["reading"] == key
            ax.scatter(mine["score"][rows], size[rows], color=colour, marker=marker, s=16, linewidths=0.8)
        # The largest by either measure, each side of the point that has room.
        idle = mine[mine["reading"] == "idle"].nlargest(1, "score").index
        named = {*mine.nlargest(NAMED, "score").index, *size.nlargest(2).index, *idle}
        middle = (mine["score"].max() + mine["score"].min()) / 2
        for index in sorted(named):
            right = mine["score"][index] < middle
            ax.annotate(
                mine["component"][index],
                (mine["score"][index], size[index]),
                xytext=(3 if right else -3, 3),
                textcoords="offset points",
                fontsize=6,
                ha="left" if right else "right",
            )
        ax.axhline(look.margin, color="black", linestyle="--", linewidth=0.8)
        ax.set(
            yscale="log", xlabel=look.unit(recipe), ylabel="mean size of its own effect\n(share of the whole effect)"
        )
        ax.margins(x=0.1, y=0.12)
    handles = [dot(label, colour, marker) for label, colour, marker in READINGS.values()]
    handles.append(Line2D([], [], color="black", linestyle="--", linewidth=0.8, label="margin: nothing below"))
    legend(figure, handles, 2 if len(look.recipes) < 3 else 3)
    return figure


def behaviour(tests, look):
    """What the tested circuits keep and remove, beside random circuits of their make."""
    names = list(dict.fromkeys(zip(tests["source"], tests["rule"], strict=True))) or [("", "")]
    figure, axes = style.grid(len(look.places()), 2, width=2.6, height=0.5 + 0.19 * len(names), sharey=True)
    titles = {"keep": "keeps alone", "remove": "takes away when removed"}
    for row, model, name, title in look.places():
        mine = tests[(tests["model"] == model) & (tests["set"] == name)]
        for column, side in enumerate(titles):
            ax = axes[row, column]
            ax.set_title(f"{title}\n{titles[side]}")
            if mine.empty:
                style.empty(ax, "no task with an answer")
                continue
            for y, each in enumerate(mine.to_dict("records")):
                ax.plot(
                    [each[f"{side}_random_low"], each[f"{side}_random_high"]],
                    [y, y],
                    color="#bbbbbb",
                    linewidth=5,
                    solid_capstyle="butt",
                )
                ax.plot(each[f"{side}_random"], y, "|", color="black", markersize=7)
                colour = look.colour(each["source"])
                error = np.maximum([[each[side] - each[f"{side}_low"]], [each[f"{side}_high"] - each[side]]], 0)
                filled = each[f"q_{side}"] < look.alpha
                ax.errorbar(
                    each[side],
                    y,
                    xerr=error,
                    fmt="o",
                    color=colour,
                    markerfacecolor=colour if filled else "white",
                    elinewidth=1,
                    capsize=2,
                )
            ax.set_yticks(range(len(mine)), [f"{each['source']}, {each['rule']}" for each in mine.to_dict("records")])
            ax.set_ylim(len(mine) - 0.4, -0.6)
            ax.set_xlabel("share of the effect")
    handles = [
        dot("circuit, 95 % interval", "black"),
        dot(f"q ≥ {look.alpha:g} among random ones", "black", markerfacecolor="white"),
        Line2D([], [], color="#bbbbbb", linewidth=5, label="random circuits of its make (95 %)"),
        Line2D([], [], color="black", marker="|", markersize=7, linestyle="", label="their mean"),
    ]
    legend(figure, handles, 2)
    return figure


def budget_frontier(frontier, totals, look):
    """What circuits of every budget keep, by who chose them; totals: {model: all dimensions}."""
    figure, axes = style.grid(1, len(look.places()), width=3.4, height=2.4)
    for column, model, name, title in look.places():
        ax = axes[0, column]
        mine = frontier[(frontier["model"] == model) & (frontier["set"] == name)]
        ax.set_title(title)
        if mine.empty:
            style.empty(ax, "no task with an answer")
            continue
        random = mine[mine["source"] == "random"].sort_values("dimensions")
        x = random["dimensions"] / totals[model]
        ax.fill_between(x, random["keep_low"], random["keep_high"], color="#bbbbbb", alpha=0.6, linewidth=0)
        for (source, rule), rows in mine[mine["source"] != "random"].groupby(["source", "rule"], sort=False):
            rows = rows.sort_values("dimensions")
            x = rows["dimensions"] / totals[model]
            ax.plot(x, rows["keep"], LINES[rule], color=look.colour(source), marker="o", markersize=2.5)
            ax.fill_between(x, rows["keep_low"], rows["keep_high"], color=look.colour(source), alpha=0.15, linewidth=0)
        ax.axvline(
            look.budget if look.budget < 1 else look.budget / totals[model],
            color="black",
            linestyle="--",
            linewidth=0.8,
        )
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set(xlabel="write budget (share of all dimensions)", ylabel="metric kept\n(0 all corrupted, 1 untouched)")
    there = [(s, r) for s, r in dict.fromkeys(zip(frontier["source"], frontier["rule"], strict=True)) if s != "random"]
    handles = [
        Line2D([], [], color=look.colour(s), linestyle=LINES[r], marker="o", markersize=2.5, label=f"{s}, {r}")
        for s, r in there
    ]
    handles += [
        Patch(color="#bbbbbb", label="10 random ones (range)"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.8, label="budget tested"),
    ]
    legend(figure, handles, 2 if len(look.places()) == 1 else 4)
    return figure


# Components of a panel, those most often in the circuit: as many as can be read.
SHOWN = 28


def inclusion(table, look):
    """How often each component is in the circuit when texts are drawn again, by who chose it."""
    table = table[table["condition"] == "real"]
    chosen = [(s, look.recipes[s]["rules"][0]) for s in look.recipes] + [(look.attribution, "knapsack")]
    chosen = [each for each in chosen if ((table["source"] == each[0]) & (table["rule"] == each[1])).any()]
    most = table.groupby(["model", "set", "source", "rule"]).size().max()
    figure, axes = style.grid(
        len(look.places()), len(chosen), width=max(2.0, 0.095 * min(most, SHOWN)), height=1.5, sharey=True
    )
    for row, model, name, title in look.places():
        for column, (source, rule) in enumerate(chosen):
            ax = axes[row, column]
            ax.set_title(f"{title}\n{source}, {rule}")
            mine = table[
                (table["model"] == model)
                & (table["set"] == name)
                & (table["source"] == source)
                & (table["rule"] == rule)
            ]
            if mine.empty:
                style.empty(ax, "no task with an answer")
                continue
            mine = mine.sort_values("probability", ascending=False, kind="stable").head(SHOWN)
            colours = kinds(mine["component"])
            ax.bar(
                range(len(mine)),
                mine["probability"],
                color=[
                    to_rgba(c, 0.85 if inside else 0.15) for c, inside in zip(colours, mine["selected"], strict=True)
                ],
                edgecolor=colours,
                linewidth=0.6,
            )
            ax.axhline(0.95, color="black", linestyle="--", linewidth=0.7)
            ax.set_xticks(range(len(mine)), mine["component"], rotation=90, fontsize=6)
            ax.set_xlim(-0.7, len(mine) - 0.3)
            if column == 0:
                ax.set_ylabel("share of bootstrap draws\nwhose circuit holds it")
    handles = [Patch(color=colour, label=label) for label, colour in list(KIND.values())[:2]]
    handles += [
        Patch(facecolor="white", edgecolor="black", label="not in the circuit"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.7, label="95 %"),
    ]
    legend(figure, handles, 4)
    return figure


def replicate(table):
    """Jaccard index of every comparison, with what chance gives and the threshold."""
    rows = {name: mine.set_index("statistic") for name, mine in table.groupby("pair", sort=False)}
    figure, axes = style.grid(1, 1, width=4.6, height=0.4 + 0.16 * max(len(rows), 4))
    ax = axes[0, 0]
    for y, mine in enumerate(rows.values()):
        found, chance = mine.loc["jaccard"], mine.loc["jaccard_chance"]
        ax.plot([chance["low"], chance["high"]], [y, y], color="#cccccc", linewidth=5, solid_capstyle="butt")
        colour, known = PAIRS[mine["kind"].iloc[0]], mine["passes"].dropna()
        passes = len(known) and known.astype(bool).all()
        if np.isfinite(found["low"]):
            ax.plot([found["low"], found["high"]], [y, y], color=colour, linewidth=1)
        ax.plot(found["value"], y, "o", color=colour, markerfacecolor=colour if passes else "white", markersize=4.5)
    threshold = table.loc[table["statistic"] == "jaccard", "threshold"].dropna()
    if len(threshold):
        ax.axvline(threshold.iloc[0], color="black", linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(rows)), list(rows), fontsize=6)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set(xlim=(-0.03, 1.03), xlabel="Jaccard index of the two circuits")
    there = [kind for kind in PAIRS if kind in set(table["kind"])]
    handles = [dot(KINDS_OF_PAIRS[kind], PAIRS[kind]) for kind in there]
    handles += [
        dot("passes all thresholds (a control: finds the same)", "black"),
        dot("does not", "black", markerfacecolor="white"),
        Line2D([], [], color="black", linewidth=1, label="95 % of bootstrap draws"),
        Line2D([], [], color="#cccccc", linewidth=5, label="random circuits (95 %)"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.8, label="threshold"),
    ]
    legend(figure, handles, 2)
    return figure


def ranked_lists(table):
    """Two circuits as ranked lists, the same components joined."""
    kind = "given" if (table["kind"] == "given").any() else "recipes"
    names = list(dict.fromkeys(table.loc[table["kind"] == kind, "pair"]))[:3]
    lists = {name: two_lists(table[table["pair"] == name]) for name in names}
    longest = max((len(side) for each in lists.values() for side in each[:2]), default=10)
    figure, axes = style.grid(1, max(len(names), 1), width=2.5, height=0.8 + 0.115 * longest)
    for ax, (name, (first, second, ordered)) in zip(axes[0], lists.items(), strict=False):
        places = [{component: y for y, component in enumerate(side)} for side in (first, second)]
        for component in dict.fromkeys([*first, *second]):
            inside = [component in side for side in places]
            colour = KIND[components.kind(component)][1] if all(inside) else "black"
            weight = "normal" if all(inside) else "bold"
            for x, side, align in ((0, places[0], "right"), (1, places[1], "left")):
                if component in side:
                    ax.text(
                        x + (-0.04 if x == 0 else 0.04),
                        side[component],
                        component,
                        ha=align,
                        va="center",
                        fontsize=6,
                        color=colour,
                        weight=weight,
                    )
            if all(inside):
                ax.plot([0, 1], [places[0][component], places[1][component]], color=colour, linewidth=0.7, alpha=0.7)
        ax.set(xlim=(-0.45, 1.45), ylim=(longest - 0.4, -4.2), xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_visible(False)
        for x, label in ((0, "first"), (1, "second" + ("" if ordered else "\n(order unknown)"))):
            ax.text(x, -1.2, label, ha="center", va="bottom", fontsize=6.5)
        ax.set_title(name)
    handles = [Patch(color=colour, label=label) for label, colour in KIND.values()]
    handles.append(Patch(color="black", label="in one circuit only (bold)"))
    legend(figure, handles, 4 if len(names) > 1 else 2)
    return figure


def two_lists(rows):
    """Members of both circuits, first in front, and whether the second has an order of its own."""
    first = rows[rows["in_first"]].sort_values("rank_first", kind="stable")["component"].tolist()
    mine = rows[rows["in_second"]]
    ordered = mine["rank_second"].notna().any()
    if ordered:
        return first, mine.sort_values("rank_second")["component"].tolist(), True
    inside = set(mine["component"])
    second = [name for name in first if name in inside]
    return first, second + [name for name in mine["component"] if name not in set(first)], False
