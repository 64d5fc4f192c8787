"""The figures of the weight study; each function takes tables for people and returns a figure."""

from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D

from circuit_reuse.figures import style

CONDITIONS = {
    "circuit": ("circuit", style.CIRCUIT, "-"),
    "non_circuit": ("outside, any size", style.CONTROL, "-"),
    "matrix": ("outside, same matrices", "#8C6D31", "-"),
    "quantile": ("outside, equal sizes", "#009E73", "-"),
    "touching": ("outside, equal sizes, one end in", "#F0E442", "-"),
    "window": ("outside, about its mean size", "#56B4E9", "-"),
    "layer": ("outside, same layers", style.OTHER, "-"),
}
ACTIVE = {"active": ("most active nodes", "#000000", "-.")}
GREEDY = {
    "circuit_importance": ("circuit, most important first", style.CIRCUIT, ":"),
    "outside_importance": ("outside, most important first", style.CONTROL, ":"),
}
LOCATIONS = ["attn_in", "q", "k", "v", "attn_out", "mlp_in", "mlp_neuron", "mlp_out"]
MATRICES = ["q", "k", "v", "o", "in", "gate", "out"]
# A loss below this is drawn at it: a logarithm has no 0.
LEAST = 1e-4
# Inches that a legend of three columns takes.
WIDE = 5.2
BY_MODEL = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000"]


@dataclass(frozen=True)
class Look:
    """Names that the figures share.  titles: {task: name};  matched: the control of equal sizes"""

    models: list
    tasks: list
    titles: dict
    matched: str

    def colour(self, model):
        """The colour of a model, the same in every figure."""
        return BY_MODEL[self.models.index(model) % len(BY_MODEL)]

    def pairs(self):
        """Row, column, model and task of every panel: a row a task."""
        return [
            (row, column, model, task)
            for row, task in enumerate(self.tasks)
            for column, model in enumerate(self.models)
        ]

    def grid(self, width, height):
        """A panel for each model and task, titled."""
        figure, axes = panels(len(self.tasks), len(self.models), width, height)
        for row, column, model, task in self.pairs():
            axes[row, column].set_title(f"{model}\n{self.titles[task]}")
        return figure, axes


def panels(rows, columns, width, height, **options):
    """A grid that is wide enough for its legend, however few its columns are."""
    return style.grid(rows, columns, width=max(width, WIDE / columns), height=height, **options)


def of(frame, model, task):
    """The rows of a model and task."""
    return frame[(frame["model"] == model) & (frame["task"] == task)]


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


def weight_ablation_sweep(sweep, random, look):
    """Loss against the number of weights removed from the unpruned model."""
    figure, axes = look.grid(width=2.8, height=2.3)
    there = [name for name in CONDITIONS if name in set(sweep["condition"])]
    for row, column, model, task in look.pairs():
        ax, mine = axes[row, column], of(sweep, model, task)
        circuit = mine[mine["condition"] == "circuit"]
        band(ax, of(random, model, task), circuit)
        for name in there:
            curve(ax, mine[mine["condition"] == name], "count", *CONDITIONS[name][1:])
        for name, (_, colour, line) in (GREEDY | ACTIVE).items():
            if name not in set(mine["condition"]):
                continue
            curve(ax, mine[mine["condition"] == name], "count", colour, line, band=False)
        rest = mine[mine["condition"] == "all_non_circuit"]["loss"].iloc[0]
        clean = circuit[circuit["share"] == 0]["loss"].iloc[0]
        ax.axhline(max(clean, LEAST), color="black", linestyle="--", linewidth=0.8)
        ax.axhline(rest, color=style.BASELINE, linestyle="--", linewidth=0.8)
        ax.axvline(circuit["count"].max(), color="black", linestyle=":", linewidth=0.8)
        ax.set(yscale="log", xlabel="weights removed")
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 4), useMathText=True)
        if column == 0:
            ax.set_ylabel("loss (nats)")
    handles = lines([CONDITIONS[name] for name in there]) + lines((GREEDY | ACTIVE).values())
    handles += [
        Line2D([], [], color="#bbbbbb", linewidth=5, label="random masks (90 %)"),
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
        rows.groupby("share")["count"].mean(), quantiles[0.05], quantiles[0.95], color="#bbbbbb", alpha=0.5, linewidth=0
    )


def tests(tests, random, differences, look):
    """The circuit's difference from each control among those of random masks."""
    figure, axes = look.grid(width=2.6, height=1.7)
    order = [name for name in (*CONDITIONS, "random_circuit") if name in set(tests["control"])]
    order = [name for name in order if name != "random_circuit"]
    for row, column, model, task in look.pairs():
        ax, mine = axes[row, column], of(tests, model, task).set_index("control")
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
                xerr=[[test["ranked"] - test["ranked_low"]], [test["ranked_high"] - test["ranked"]]],
            )
            if np.isfinite(test["q_circuit"]):
                ax.annotate(
                    f"q = {test['q_circuit']:.2g}",
                    (test["ranked"], place),
                    (0, 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=6,
                )
        ax.axvline(0, color="black", linewidth=0.6)
        ax.set_yticks(range(len(order)), [CONDITIONS[name][0] for name in order] if column == 0 else [])
        ax.set(xlabel="area of the circuit less control (nats)", ylim=(len(order) - 0.4, -0.6))
        ax.margins(x=0.12)
    handles = [
        Line2D([], [], color=style.CIRCUIT, marker="o", linestyle="", label="circuit, 95 % interval"),
        Line2D([], [], color=style.NULL, marker=".", linestyle="", label="a random mask, the same"),
    ]
    below(figure, handles, 2)
    return figure


def sizes(sizes, look):
    """Histograms of |w| of the circuit and of what it is compared with."""
    figure, axes = look.grid(width=2.5, height=1.8)
    there = [name for name in CONDITIONS if name in set(sizes["condition"])]
    for row, column, model, task in look.pairs():
        ax, mine = axes[row, column], of(sizes, model, task)
        for name in there:
            rows = mine[mine["condition"] == name].groupby(["low", "high"])["count"].sum().reset_index()
            share = rows["count"] / rows["count"].sum()
            _, colour, line = CONDITIONS[name]
            middle = np.sqrt(rows["low"].clip(lower=rows["high"].min() / 2) * rows["high"])
            wide = 1.8 if name == "circuit" else 1.0
            ax.plot(middle, 100 * share, color=colour, linestyle=line, linewidth=wide)
        ax.set(xscale="log", xlabel="|weight|")
        if column == 0:
            ax.set_ylabel("weights (%)")
    below(figure, lines([CONDITIONS[name] for name in there]), 2)
    return figure


def frontier(frontier, circuits, look):
    """Loss of masks of every size, on the prompts they were chosen on and held out."""
    figure, axes = style.grid(len(look.tasks), 2, width=2.8, height=2.1, sharey=True)
    for row, task in enumerate(look.tasks):
        for column, (size, label) in enumerate((("nodes", "active nodes"), ("weights", "weights of the circuit"))):
            ax = axes[row, column]
            for model in look.models:
                mine, chosen = of(frontier, model, task), of(circuits, model, task)
                colour = look.colour(model)
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
                ax.axhline(point["target"], color=colour, linewidth=0.6, linestyle="--")
            ax.set(xscale="log", yscale="log", xlabel=label, title=look.titles[task])
            if column == 0:
                ax.set_ylabel("loss of the pruned model (nats)")
    if frontier.empty:
        style.empty(axes[0, 0], "masks from files:\nno other sizes were tried")
    handles = [Line2D([], [], color=look.colour(model), marker="o", markersize=3, label=model) for model in look.models]
    handles += [
        Line2D([], [], color="black", linestyle=":", label="held out"),
        Line2D([], [], color="black", linestyle="--", linewidth=0.6, label="target"),
        Line2D([], [], color="black", marker="o", linestyle="", label="the circuit"),
    ]
    below(figure, handles)
    return figure


def smallest(frontier, size):
    """The masks that no smaller one is as good as, on the prompts that sizes are chosen on."""
    rows = frontier[frontier[size] > 0].sort_values([size, "loss"])
    return rows[rows["loss"] < rows["loss"].cummin().shift(fill_value=np.inf)]


def composition(composition, look):
    """Active nodes by layer and place, and weights by layer and matrix."""
    figure, axes = panels(2 * len(look.tasks), len(look.models), width=2.5, height=1.6)
    for row, column, model, task in look.pairs():
        mine = of(composition, model, task)
        for offset, kind, places, label in (
            (0, "nodes", LOCATIONS, "active nodes (%)"),
            (1, "weights", MATRICES, "weights"),
        ):
            ax, rows = axes[2 * row + offset, column], mine[mine["kind"] == kind]
            there = [place for place in places if place in set(rows["place"])]
            layers = sorted(rows["layer"].unique())
            width = 0.8 / max(1, len(layers))
            for number, layer in enumerate(layers):
                by_place = rows[rows["layer"] == layer].set_index("place").reindex(there)
                values = by_place["active"].fillna(0)
                if kind == "nodes":
                    values = 100 * values / by_place["total"]
                shade = style.matplotlib.colormaps[style.SEQUENTIAL](0.15 + 0.7 * number / max(1, len(layers) - 1))
                ax.bar(np.arange(len(there)) + number * width, values, width, color=shade, label=f"layer {layer}")
            ax.set_xticks(np.arange(len(there)) + 0.4 - width / 2, there, rotation=45, ha="right")
            ax.set_title(f"{model}\n{look.titles[task]}" if offset == 0 else "")
            if column == 0:
                ax.set_ylabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
    return figure


def interchange(nodes, look):
    """The pruned run with a share of its active nodes as in the unpruned run."""
    figure, axes = look.grid(width=2.4, height=1.9)
    rows = nodes[nodes["condition"] == "interchange"]
    layers = sorted(rows["layer"].dropna().unique())
    shades = {
        layer: style.matplotlib.colormaps[style.SEQUENTIAL](0.15 + 0.7 * n / max(1, len(layers) - 1))
        for n, layer in enumerate(layers)
    }
    for row, column, model, task in look.pairs():
        ax, mine = axes[row, column], of(rows, model, task)
        for layer in layers:
            curve(ax, mine[mine["layer"] == layer], "share", shades[layer], band=False)
        curve(ax, mine[mine["layer"].isna()], "share", "black")
        clean = of(nodes, model, task).query("condition == 'clean'")["loss"].iloc[0]
        ax.axhline(max(clean, LEAST), color="black", linestyle="--", linewidth=0.8)
        ax.set(yscale="log", xlabel="share of active nodes unpruned")
        ax.yaxis.set_minor_formatter(style.matplotlib.ticker.NullFormatter())
        if column == 0:
            ax.set_ylabel("loss (nats)")
    handles = lines([("all layers", "black", "-"), *((f"layer {int(n)}", shades[n], "-") for n in layers)])
    handles += lines([("unpruned model", "black", "--")])
    below(figure, handles, 4)
    return figure


def node_sweep(nodes, look):
    """Nodes replaced in the unpruned model, and masked nodes left on in the pruned one."""
    figure, axes = look.grid(width=2.6, height=2.0)
    told = {
        "nodes_circuit": ("circuit's nodes replaced", style.CIRCUIT, "-"),
        "nodes_all": ("any nodes replaced", "#000000", "-"),
        "nodes_outside": ("nodes outside replaced", style.CONTROL, "-"),
        "relaxation": ("pruned: masked nodes left on", "#009E73", "--"),
    }
    for row, column, model, task in look.pairs():
        ax, mine = axes[row, column], of(nodes, model, task)
        for name, (_, colour, line) in told.items():
            curve(ax, mine[mine["condition"] == name], "share", colour, line)
        ax.axhline(
            max(mine.query("condition == 'clean'")["loss"].iloc[0], LEAST), color="black", linestyle="--", linewidth=0.8
        )
        ax.set(yscale="log", xlabel="share of nodes changed")
        if column == 0:
            ax.set_ylabel("loss (nats)")
    below(figure, lines([*told.values(), ("untouched", "black", "--")]), 2)
    return figure


def unexplained(fvu, look):
    """Fraction of variance unexplained, by location and layer."""
    # A row of text for each layer.
    layers = int(fvu["layer"].max()) + 1
    figure, axes = look.grid(width=2.6, height=max(1.7, 0.13 * layers))
    rows = fvu[fvu["location"].notna()]
    for row, column, model, task in look.pairs():
        ax = axes[row, column]
        values = of(rows, model, task).pivot(index="layer", columns="location", values="fvu")
        values = values.reindex(columns=LOCATIONS)
        ax.set_facecolor("#e6e6e6")
        image = ax.imshow(values, cmap=style.SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
        for (y, x), value in np.ndenumerate(values.to_numpy()):
            if np.isfinite(value):
                ax.text(
                    x,
                    y,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if value < 0.5 else "black",
                )
        ax.set_xticks(range(len(LOCATIONS)), LOCATIONS, rotation=45, ha="right")
        ax.set_yticks(range(len(values)), [int(layer) for layer in values.index])
        ax.spines[:].set_visible(False)
        if column == 0:
            ax.set_ylabel("layer")
    figure.colorbar(
        image, ax=axes, label="variance unexplained\n(1: no better than the mean)", fraction=0.03, extend="max"
    )
    return figure


def importance(importance, look):
    """Exact importance of active nodes, as many as were run one by one, against integrated gradients."""
    importance = importance.dropna(subset=["importance"])
    figure, axes = look.grid(width=2.3, height=2.0)
    for row, column, model, task in look.pairs():
        ax, mine = axes[row, column], of(importance, model, task)
        attention = mine["location"].isin(LOCATIONS[:5])
        for chosen, colour, marker in ((attention, "#0072B2", "o"), (~attention, "#E69F00", "^")):
            ax.plot(
                mine[chosen]["attribution"], mine[chosen]["importance"], marker, color=colour, markersize=2.5, alpha=0.6
            )
        rank = mine[["attribution", "importance"]].corr("spearman").iloc[0, 1]
        ax.text(
            0.03, 0.97, f"rank correlation {rank:.2f} (n = {len(mine)})", transform=ax.transAxes, va="top", fontsize=6
        )
        ax.axhline(0, color="black", linewidth=0.5)
        ax.axvline(0, color="black", linewidth=0.5)
        ax.set_xscale("symlog", linthresh=1e-3)
        ax.set_yscale("symlog", linthresh=1e-3)
        # Labels of every decade would overlap.
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(style.matplotlib.ticker.FixedLocator([-1, -0.01, 0, 0.01, 1]))
        ax.set_xlabel("integrated gradients (nats)")
        if column == 0:
            ax.set_ylabel("loss added, alone replaced (nats)")
    handles = [
        Line2D([], [], color=c, marker=m, linestyle="", label=label)
        for label, c, m in (("attention", "#0072B2", "o"), ("MLP", "#E69F00", "^"))
    ]
    below(figure, handles, 2)
    return figure


def training(history, look):
    """Active nodes and loss while masks were learned."""
    figure, axes = panels(2 * len(look.tasks), len(look.models), width=2.3, height=1.3)
    prices = sorted(history["coefficient"].unique())
    for row, column, model, task in look.pairs():
        mine = of(history, model, task)
        for offset, value, label in ((0, "active", "active nodes"), (1, "loss", "loss (nats)")):
            ax = axes[2 * row + offset, column]
            if mine.empty:
                style.empty(ax, "mask from a file: nothing was learned here" if offset == 0 else "")
                ax.set_axis_off()
                continue
            for number, price in enumerate(prices):
                rows = mine[mine["coefficient"] == price]
                ax.plot(rows["step"], rows[value], color=style.BY_K[number % len(style.BY_K)])
            if offset:
                ax.set_yscale("log")
            else:
                ax.set_ylim(bottom=0)
            ax.set_title(f"{model}\n{look.titles[task]}" if offset == 0 else "")
            if column == 0:
                ax.set_ylabel(label)
            if offset:
                ax.set_xlabel("step")
    handles = [
        Line2D([], [], color=style.BY_K[n % len(style.BY_K)], label=f"{price:g} nats a node")
        for n, price in enumerate(prices)
    ]
    if handles:
        below(figure, handles, 3)
    return figure
