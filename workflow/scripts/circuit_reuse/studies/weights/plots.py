"""The figures of the weight study; each function takes tables for people and returns a figure."""

from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D

from circuit_reuse.data.gather import pick
from circuit_reuse.report import palette, style

CONDITIONS = {
    "circuit": ("circuit", style.CIRCUIT, "-"),
    "non_circuit": ("outside, any size", style.CONTROL, "-"),
    "matrix": ("outside, same matrices", palette.BROWN, "-"),
    "quantile": ("outside, equal sizes", palette.GREEN, "-"),
    "touching": ("outside, equal sizes, one end in", palette.YELLOW, "-"),
    "window": ("outside, about its mean size", palette.SKY, "-"),
    "layer": ("outside, same layers", style.OTHER, "-"),
}
ACTIVE = {"active": ("most active nodes", palette.BLACK, "-.")}
GREEDY = {
    "circuit_importance": ("circuit, most important first", style.CIRCUIT, ":"),
    "outside_importance": ("outside, most important first", style.CONTROL, ":"),
}
# A loss below this is drawn at it: a logarithm has no 0.
LEAST = 1e-4
# Inches that a legend of three columns takes.
WIDE = 5.2
BY_MODEL = [palette.BLUE, palette.ORANGE, palette.GREEN, palette.PURPLE, palette.SKY, palette.BLACK]


@dataclass(frozen=True)
class WeightsContext:
    """Names that the figures share.  titles: {task: name};  matched: the control of equal sizes"""

    models: list
    tasks: list
    titles: dict
    matched: str

    def colour(self, model):
        """The colour of a model, the same in every figure."""
        return BY_MODEL[self.models.index(model) % len(BY_MODEL)]

    def pairs(self, axes, *tables, without="left out"):
        """Row, column, model, task, and whether it has its row's y label, of every panel that each table has rows for.

        The others say why they have none.
        """
        deep = len(axes) // len(self.tasks)
        for row, task in enumerate(self.tasks):
            labelled = True
            for column, model in enumerate(self.models):
                if all(len(pick(table, model=model, task=task)) for table in tables):
                    yield row, column, model, task, labelled
                    labelled = False
                    continue
                for ax in axes[deep * row : deep * (row + 1), column]:
                    style.empty(ax, without)
                    ax.set_axis_off()

    def grid(self, width, height, deep=1):
        """So many panels below each other for each model and task, titled."""
        figure, axes = panels(deep * len(self.tasks), len(self.models), width, height)
        for row, column, model, task, _ in self.pairs(axes):
            axes[deep * row, column].set_title(f"{model}\n{self.titles[task]}")
        return figure, axes


def panels(rows, columns, width, height, **options):
    """A grid that is wide enough for its legend, however few its columns are."""
    return style.grid(rows, columns, width=max(width, WIDE / columns), height=height, **options)


def curve(ax, rows, x, colour, line="-", band=True):
    """A mean with the spread over trials."""
    rows = rows.sort_values(x)
    mean = rows["loss"].clip(lower=LEAST)
    ax.plot(rows[x], mean, color=colour, linestyle=line)
    if band:
        # Of skewed losses one deviation below the mean may be less than any trial gave.
        low = (rows["loss"] - rows["loss_std"]).clip(lower=rows["loss_min"].clip(lower=LEAST))
        ax.fill_between(rows[x], low, rows["loss"] + rows["loss_std"], color=colour, alpha=0.2, linewidth=0)


def below(figure, handles, columns=3):
    """One legend under all panels."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def lines(styles):
    """Legend entries of named lines."""
    return [Line2D([], [], color=c, linestyle=s, label=label) for label, c, s in styles]


def weight_ablation_sweep(sweep, random, context):
    """Loss against the number of weights removed from the unpruned model."""
    figure, axes = context.grid(width=2.8, height=2.3)
    there = [name for name in CONDITIONS if name in set(sweep["condition"])]
    for row, column, model, task, labelled in context.pairs(axes, sweep):
        ax, mine = axes[row, column], pick(sweep, model=model, task=task)
        circuit = mine[mine["condition"] == "circuit"]
        band(ax, pick(random, model=model, task=task), circuit)
        for name in there:
            curve(ax, mine[mine["condition"] == name], "n_removed", *CONDITIONS[name][1:])
        for name, (_, colour, line) in (GREEDY | ACTIVE).items():
            if name not in set(mine["condition"]):
                continue
            curve(ax, mine[mine["condition"] == name], "n_removed", colour, line, band=False)
        rest = mine[mine["condition"] == "all_non_circuit"]["loss"].iloc[0]
        clean = circuit[circuit["share"] == 0]["loss"].iloc[0]
        ax.axhline(max(clean, LEAST), color="black", linestyle="--", linewidth=0.8)
        ax.axhline(rest, color=style.BASELINE, linestyle="--", linewidth=0.8)
        ax.axvline(circuit["n_removed"].max(), color="black", linestyle=":", linewidth=0.8)
        ax.set(yscale="log", xlabel="weights removed")
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 4), useMathText=True)
        if labelled:
            ax.set_ylabel("loss (nats)")
    handles = lines([CONDITIONS[name] for name in there]) + lines((GREEDY | ACTIVE).values())
    handles += [
        Line2D([], [], color=palette.GREY_73, linewidth=5, label="random masks (90 %)"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.8, label="nothing removed"),
        Line2D([], [], color=style.BASELINE, linestyle="--", linewidth=0.8, label="all but the circuit removed"),
        Line2D([], [], color="black", linestyle=":", linewidth=0.8, label="size of the circuit"),
    ]
    below(figure, handles)
    return figure


def band(ax, random, circuit):
    """Where the curves of random masks lie, at their own mean numbers of weights."""
    rows = random[random["condition"] == "circuit"]
    quantiles = rows.groupby("share")["loss"].quantile([0.05, 0.95]).unstack().clip(lower=LEAST)
    ax.fill_between(
        rows.groupby("share")["n_removed"].mean(),
        quantiles[0.05],
        quantiles[0.95],
        color=palette.GREY_73,
        alpha=0.5,
        linewidth=0,
    )


def tests(tests, random, differences, context):
    """The circuit's difference from each control among those of random masks."""
    figure, axes = context.grid(width=2.6, height=1.7)
    order = [name for name in CONDITIONS if name in set(tests["control"])]
    for row, column, model, task, labelled in context.pairs(axes, tests):
        ax, mine = axes[row, column], pick(tests, model=model, task=task).set_index("control")
        for place, name in enumerate(order):
            null = differences.get((model, task, name), np.array([]))
            if len(null):
                shift = np.random.default_rng(0).uniform(-0.22, 0.22, len(null))
                ax.plot(null, place + shift, ".", color=style.NULL, markersize=2)
            test = mine.loc[name]
            ax.errorbar(
                test["ranked"],
                place,
                fmt="o",
                color=style.CIRCUIT,
                capsize=2,
                xerr=style.bars(test["ranked"], test["ranked_low"], test["ranked_high"]),
            )
            if np.isfinite(test["q_value"]):
                ax.annotate(
                    f"q = {test['q_value']:.2g}",
                    (test["ranked"], place),
                    (0, 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=6,
                )
        ax.axvline(0, color="black", linewidth=0.6)
        ax.set_yticks(range(len(order)), [CONDITIONS[name][0] for name in order] if labelled else [])
        ax.set(xlabel="area of the circuit less control (nats)", ylim=(len(order) - 0.4, -0.6))
        ax.margins(x=0.12)
    handles = [
        Line2D([], [], color=style.CIRCUIT, marker="o", linestyle="", label="circuit, 95 % interval"),
        Line2D([], [], color=style.NULL, marker=".", linestyle="", label="a random mask, the same"),
    ]
    below(figure, handles, 2)
    return figure


def sizes(sizes, context):
    """Histograms of |w| of the circuit and of what it is compared with."""
    figure, axes = context.grid(width=2.5, height=1.8)
    there = [name for name in CONDITIONS if name in set(sizes["condition"])]
    for row, column, model, task, labelled in context.pairs(axes, sizes):
        ax, mine = axes[row, column], pick(sizes, model=model, task=task)
        for name in there:
            rows = mine[mine["condition"] == name].groupby(["size_from", "size_to"])["n_weights"].sum().reset_index()
            share = rows["n_weights"] / rows["n_weights"].sum()
            _, colour, line = CONDITIONS[name]
            middle = np.sqrt(rows["size_from"].clip(lower=rows["size_to"].min() / 2) * rows["size_to"])
            wide = 1.8 if name == "circuit" else 1.0
            ax.plot(middle, 100 * share, color=colour, linestyle=line, linewidth=wide)
        ax.set(xscale="log", xlabel="|weight|")
        if labelled:
            ax.set_ylabel("weights (%)")
    below(figure, lines([CONDITIONS[name] for name in there]), 2)
    return figure


def pareto_front(pareto_front, circuits, context):
    """Loss of masks of every size, on the prompts they were chosen on and held out."""
    figure, axes = style.grid(len(context.tasks), 2, width=2.8, height=2.1, sharey=True)
    for row, task in enumerate(context.tasks):
        for column, (size, label) in enumerate((("n_nodes", "active nodes"), ("n_weights", "weights of the circuit"))):
            ax, of_task = axes[row, column], circuits[circuits["task"] == task]
            if of_task.empty:
                style.empty(ax, "left out")
                ax.set_axis_off()
            for model in (model for model in context.models if model in set(of_task["model"])):
                mine, chosen = pick(pareto_front, model=model, task=task), pick(circuits, model=model, task=task)
                colour = context.colour(model)
                best = smallest(mine, size)
                ax.plot(best[size], best["loss"].clip(lower=LEAST), color=colour, drawstyle="steps-post")
                ax.plot(
                    best[size],
                    best["loss_held_out"].clip(lower=LEAST),
                    color=colour,
                    linestyle=":",
                    drawstyle="steps-post",
                )
                point = chosen[chosen["chosen"]].iloc[0]
                ax.plot(point[size], max(point["loss"], LEAST), "o", color=colour, markersize=5)
                ax.axhline(point["loss_target"], color=colour, linewidth=0.6, linestyle="--")
            ax.set(xscale="log", yscale="log", xlabel=label, title=context.titles[task])
            if column == 0:
                ax.set_ylabel("loss of the pruned model (nats)")
    if pareto_front.empty:
        style.empty(axes[0, 0], "masks from files:\nno other sizes were tried")
    handles = [
        Line2D([], [], color=context.colour(model), marker="o", markersize=3, label=model) for model in context.models
    ]
    handles += [
        Line2D([], [], color="black", linestyle=":", label="held out"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.6, label="target"),
        Line2D([], [], color="black", marker="o", linestyle="", label="the circuit"),
    ]
    below(figure, handles)
    return figure


def smallest(pareto_front, size):
    """The masks that no smaller one is as good as, on the prompts that sizes are chosen on."""
    rows = pareto_front[pareto_front[size] > 0].sort_values([size, "loss"])
    return rows[rows["loss"] < rows["loss"].cummin().shift(fill_value=np.inf)]
