"""Figures of circuits under a budget, and of comparisons between circuits."""

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from circuit_reuse.data import components
from circuit_reuse.data.gather import pick
from circuit_reuse.report import palette, style
from circuit_reuse.studies.contrast.plots import KIND, dot, kinds, legend

LINES = {"published": "-", "knapsack": "-", "ratio": ":"}


PAIRS = {"given": palette.VERMILION, "halves": palette.BLUE, "control": palette.GREY_38, "scorings": palette.GREEN}


KINDS_OF_PAIRS = {
    "given": "asked for",
    "halves": "two halves of the texts",
    "control": "without the difference, or padded",
    "scorings": "two scorings",
}


def behaviour(tests, context):
    """What the tested circuits keep and remove, beside size-matched random circuits."""
    names = list(dict.fromkeys(zip(tests["scored_by"], tests["rule"], strict=True))) or [("", "")]
    figure, axes = style.grid(len(context.places()), 2, width=2.6, height=0.5 + 0.19 * len(names), sharey=True)
    titles = {"faithfulness": "keeps alone", "effect_share": "costs when removed"}
    for row, model, name, title in context.places():
        mine = pick(tests, model=model, set=name)
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
                    color=palette.GREY_73,
                    linewidth=5,
                    solid_capstyle="butt",
                )
                ax.plot(each[f"{side}_random"], y, "|", color="black", markersize=7)
                colour = context.colour(each["scored_by"])
                error = style.bars(each[side], each[f"{side}_low"], each[f"{side}_high"])
                filled = each[f"q_{side}"] <= context.alpha
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
            ax.set_yticks(
                range(len(mine)), [f"{each['scored_by']}, {each['rule']}" for each in mine.to_dict("records")]
            )
            ax.set_ylim(len(mine) - 0.4, -0.6)
            ax.set_xlabel("share of the effect")
    handles = [
        dot("circuit, 95 % interval", "black"),
        dot(f"q > {context.alpha:g} among random ones", "black", markerfacecolor="white"),
        Line2D([], [], color=palette.GREY_73, linewidth=5, label="size-matched random circuits (95 %)"),
        Line2D([], [], color="black", marker="|", markersize=7, linestyle="", label="their mean"),
    ]
    legend(figure, handles, 2)
    return figure


def budget_sweep(budget_sweep, totals, context):
    """What circuits of every budget keep, by who chose them; totals: {model: all dimensions}."""
    figure, axes = style.grid(1, len(context.places()), width=3.4, height=2.4)
    for column, model, name, title in context.places():
        ax = axes[0, column]
        mine = pick(budget_sweep, model=model, set=name)
        ax.set_title(title)
        if mine.empty:
            style.empty(ax, "no task with an answer")
            continue
        random = mine[mine["scored_by"] == "random"].sort_values("dimensions")
        x = random["dimensions"] / totals[model]
        ax.fill_between(
            x, random["faithfulness_low"], random["faithfulness_high"], color=palette.GREY_73, alpha=0.6, linewidth=0
        )
        for (source, rule), rows in mine[mine["scored_by"] != "random"].groupby(["scored_by", "rule"], sort=False):
            rows = rows.sort_values("dimensions")
            x = rows["dimensions"] / totals[model]
            ax.plot(x, rows["faithfulness"], LINES[rule], color=context.colour(source), marker="o", markersize=2.5)
            ax.fill_between(
                x,
                rows["faithfulness_low"],
                rows["faithfulness_high"],
                color=context.colour(source),
                alpha=0.15,
                linewidth=0,
            )
        ax.axvline(
            context.budget if context.budget < 1 else context.budget / totals[model],
            color="black",
            linestyle="--",
            linewidth=0.8,
        )
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set(xlabel="write budget (share of all dimensions)", ylabel="metric kept\n(0 all corrupted, 1 intact)")
    there = [
        (s, r)
        for s, r in dict.fromkeys(zip(budget_sweep["scored_by"], budget_sweep["rule"], strict=True))
        if s != "random"
    ]
    handles = [
        Line2D([], [], color=context.colour(s), linestyle=LINES[r], marker="o", markersize=2.5, label=f"{s}, {r}")
        for s, r in there
    ]
    handles += [
        Patch(color=palette.GREY_73, label=f"{budget_sweep['n_random'].max():.0f} random circuits (range)"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.8, label="budget tested"),
    ]
    legend(figure, handles, 2 if len(context.places()) == 1 else 4)
    return figure


# Components of a panel, those most often in the circuit: as many as can be read.
SHOWN = 28


def inclusion(table, context):
    """How often each component is in the circuit when texts are drawn again, by who chose it."""
    table = table[table["condition"] == "real"]
    chosen = [(s, context.scorings[s]["rules"][0]) for s in context.scorings] + [(context.attribution, "knapsack")]
    chosen = [(source, rule) for source, rule in chosen if len(pick(table, scored_by=source, rule=rule))]
    most = table.groupby(["model", "set", "scored_by", "rule"]).size().max()
    figure, axes = style.grid(
        len(context.places()), len(chosen), width=max(2.0, 0.095 * min(most, SHOWN)), height=1.5, sharey=True
    )
    for row, model, name, title in context.places():
        for column, (source, rule) in enumerate(chosen):
            ax = axes[row, column]
            ax.set_title(f"{title}\n{source}, {rule}")
            mine = pick(table, model=model, set=name, scored_by=source, rule=rule)
            if mine.empty:
                style.empty(ax, "no task with an answer")
                continue
            mine = mine.sort_values("frequency", ascending=False, kind="stable").head(SHOWN)
            colours = kinds(mine["component"])
            ax.bar(
                range(len(mine)),
                mine["frequency"],
                color=[
                    to_rgba(c, 0.85 if inside else 0.15) for c, inside in zip(colours, mine["in_circuit"], strict=True)
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
        found, chance = mine.loc["jaccard"], mine.loc["jaccard_null"]
        ax.plot(
            [chance["value_low"], chance["value_high"]],
            [y, y],
            color=palette.GREY_80,
            linewidth=5,
            solid_capstyle="butt",
        )
        colour, known = PAIRS[mine["kind"].iloc[0]], mine["passes"].dropna()
        passes = len(known) and known.astype(bool).all()
        if np.isfinite(found["value_low"]):
            ax.plot([found["value_low"], found["value_high"]], [y, y], color=colour, linewidth=1)
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
        Line2D([], [], color=palette.GREY_80, linewidth=5, label="random circuits (95 %)"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.8, label="threshold"),
    ]
    legend(figure, handles, 2)
    return figure


def ranked_lists(table):
    """Two circuits as ranked lists, the same components joined."""
    kind = "given" if (table["kind"] == "given").any() else "scorings"
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
