"""Figures of the nodes of a circuit: where they lie, what they do, how masks were learned."""

import numpy as np
from matplotlib.lines import Line2D

from circuit_reuse.data.gather import pick
from circuit_reuse.report import palette, style
from circuit_reuse.studies.weights.plots import LEAST, below, curve, lines

LOCATIONS = ["attn_in", "q", "k", "v", "attn_out", "mlp_in", "mlp_neuron", "mlp_out"]


MATRICES = ["q", "k", "v", "o", "in", "gate", "out"]


def composition(composition, context):
    """Active nodes by layer and place, and weights by layer and matrix."""
    figure, axes = context.grid(width=2.5, height=1.6, deep=2)
    for row, column, model, task, labelled in context.pairs(axes, composition):
        mine = pick(composition, model=model, task=task)
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
                values = by_place["n_active"].fillna(0)
                if kind == "nodes":
                    values = 100 * values / by_place["n_total"]
                shade = style.matplotlib.colormaps[style.SEQUENTIAL](0.15 + 0.7 * number / max(1, len(layers) - 1))
                ax.bar(np.arange(len(there)) + number * width, values, width, color=shade, label=f"layer {layer}")
            ax.set_xticks(np.arange(len(there)) + 0.4 - width / 2, there, rotation=45, ha="right")
            if labelled:
                ax.set_ylabel(label)
    handles, labels = max((ax.get_legend_handles_labels() for ax in axes.flat), key=lambda legend: len(legend[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
    return figure


def interchange(nodes, context):
    """The pruned run with a share of its active nodes as in the unpruned run."""
    figure, axes = context.grid(width=2.4, height=1.9)
    rows = nodes[nodes["condition"] == "interchange"]
    layers = sorted(rows["layer"].dropna().unique())
    shades = {
        layer: style.matplotlib.colormaps[style.SEQUENTIAL](0.15 + 0.7 * n / max(1, len(layers) - 1))
        for n, layer in enumerate(layers)
    }
    for row, column, model, task, labelled in context.pairs(axes, rows):
        ax, mine = axes[row, column], pick(rows, model=model, task=task)
        for layer in layers:
            curve(ax, mine[mine["layer"] == layer], "share", shades[layer], band=False)
        curve(ax, mine[mine["layer"].isna()], "share", "black")
        clean = pick(nodes, model=model, task=task).query("condition == 'clean'")["loss"].iloc[0]
        ax.axhline(max(clean, LEAST), color="black", linestyle="--", linewidth=0.8)
        ax.set(yscale="log", xlabel="share of active nodes unpruned")
        ax.yaxis.set_minor_formatter(style.matplotlib.ticker.NullFormatter())
        if labelled:
            ax.set_ylabel("loss (nats)")
    handles = lines([("all layers", "black", "-"), *((f"layer {int(n)}", shades[n], "-") for n in layers)])
    handles += lines([("unpruned model", "black", "--")])
    below(figure, handles, 4)
    return figure


def node_sweep(nodes, context):
    """Nodes replaced in the unpruned model, and masked nodes left on in the pruned one."""
    figure, axes = context.grid(width=2.6, height=2.0)
    reported = {
        "nodes_circuit": ("circuit's nodes replaced", style.CIRCUIT, "-"),
        "nodes_all": ("any nodes replaced", palette.BLACK, "-"),
        "nodes_outside": ("nodes outside replaced", style.CONTROL, "-"),
        "relaxation": ("pruned: masked nodes left on", palette.GREEN, "--"),
    }
    for row, column, model, task, labelled in context.pairs(axes, nodes):
        ax, mine = axes[row, column], pick(nodes, model=model, task=task)
        for name, (_, colour, line) in reported.items():
            curve(ax, mine[mine["condition"] == name], "share", colour, line)
        ax.axhline(
            max(mine.query("condition == 'clean'")["loss"].iloc[0], LEAST), color="black", linestyle="--", linewidth=0.8
        )
        ax.set(yscale="log", xlabel="share of nodes changed")
        if labelled:
            ax.set_ylabel("loss (nats)")
    below(figure, lines([*reported.values(), ("intact", "black", "--")]), 2)
    return figure


def unexplained(fvu, context):
    """Fraction of variance unexplained, by location and layer."""
    # A row of text for each layer.
    layers = int(fvu["layer"].max()) + 1
    figure, axes = context.grid(width=2.6, height=max(1.7, 0.13 * layers))
    rows = fvu[fvu["location"].notna()]
    for row, column, model, task, labelled in context.pairs(axes, rows):
        ax = axes[row, column]
        values = pick(rows, model=model, task=task).pivot(index="layer", columns="location", values="fvu")
        values = values.reindex(columns=LOCATIONS)
        ax.set_facecolor(palette.GREY_90)
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
        if labelled:
            ax.set_ylabel("layer")
    figure.colorbar(
        image, ax=axes, label="variance unexplained\n(1: no better than the mean)", fraction=0.03, extend="max"
    )
    return figure


def importance(importance, context):
    """Exact importance of active nodes, as many as were run one by one, against integrated gradients."""
    importance = importance.dropna(subset=["importance"])
    figure, axes = context.grid(width=2.3, height=2.0)
    for row, column, model, task, labelled in context.pairs(axes, importance):
        ax, mine = axes[row, column], pick(importance, model=model, task=task)
        attention = mine["location"].isin(LOCATIONS[:5])
        for chosen, colour, marker in ((attention, palette.BLUE, "o"), (~attention, palette.ORANGE, "^")):
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
        ax.margins(0.08)
        # Labels of every decade would overlap.
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(style.matplotlib.ticker.FixedLocator([-1, -0.1, 0, 0.1, 1]))
        ax.set_xlabel("integrated gradients (nats)")
        if labelled:
            ax.set_ylabel("loss added, alone replaced (nats)")
    handles = [
        Line2D([], [], color=c, marker=m, linestyle="", label=label)
        for label, c, m in (("attention", palette.BLUE, "o"), ("MLP", palette.ORANGE, "^"))
    ]
    below(figure, handles, 2)
    return figure


def training(history, context):
    """Active nodes and loss while masks were learned."""
    figure, axes = context.grid(width=2.3, height=1.3, deep=2)
    without = "left out, or a mask from a file:\nnothing was learned here"
    coefficients = sorted(history["coefficient"].unique())
    for row, column, model, task, labelled in context.pairs(axes, history, without=without):
        mine = pick(history, model=model, task=task)
        for offset, value, label in ((0, "n_nodes", "active nodes"), (1, "loss", "loss (nats)")):
            ax = axes[2 * row + offset, column]
            for number, coefficient in enumerate(coefficients):
                rows = mine[mine["coefficient"] == coefficient]
                ax.plot(rows["step"], rows[value], color=style.BY_K[number % len(style.BY_K)])
            if offset:
                ax.set_yscale("log")
            else:
                ax.set_ylim(bottom=0)
            if labelled:
                ax.set_ylabel(label)
            if offset:
                ax.set_xlabel("step")
    handles = [
        Line2D([], [], color=style.BY_K[n % len(style.BY_K)], label=f"{coefficient:g} nats a node")
        for n, coefficient in enumerate(coefficients)
    ]
    if handles:
        below(figure, handles, 3)
    return figure
