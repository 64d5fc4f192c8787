"""The figures of what heads do, of the logit lens, and of behaviour against length."""

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from circuit_reuse.data import components
from circuit_reuse.data.gather import pick
from circuit_reuse.report import style
from circuit_reuse.studies.sequences.plots import MOST, heat, wide
from circuit_reuse.studies.sequences.schemas import seen

# Of each task the neurons and the writers that are shown.
NEURONS, WRITERS = 8, 10
MOTIFS = {
    "previous_token": "previous token",
    "duplicate_token": "duplicate token",
    "induction": "induction",
    "same_type": "element to earlier ones",
    "last_to_items": "end to elements",
    "last_to_last": "end to last element",
}


def ov_scores(table, context):
    """Share of tokens whose next, same or previous element a head raises among its top tokens."""
    rows = seen(table)
    rows = rows[rows["position"].isna()]
    tasks = [task for task in context.tasks if task in set(rows["task"])]
    columns = [(task, score) for task in tasks for score in ("next", "copy", "previous")]
    figure, axes = wide(context, MOST, len(columns), 0.36, 0.17)
    image = None
    for ax, model in zip(axes[:, 0], context.models, strict=True):
        mine = rows[rows["model"] == model]
        best = mine.groupby("component")["share"].max().sort_values(ascending=False, kind="stable")
        chosen = sorted(best.index[:MOST], key=components.order)
        values = np.array(
            [
                pick(mine, task=task, kind=score).set_index("component")["share"].reindex(chosen)
                for task, score in columns
            ],
            dtype=float,
        ).T
        image = heat(ax, 100 * values, chosen, [score for _, score in columns], (0, 100))
        for place, task in enumerate(tasks):
            ax.text(3 * place + 1, -0.8, context.title(task), ha="center", va="bottom", fontsize=7)
            ax.axvline(3 * place - 0.5, color="white", lw=3)
        ax.set_title(model, pad=16)
    figure.colorbar(image, ax=axes, label="tokens hit, %", shrink=0.6)
    return figure


def motifs(table, context):
    """Mean attention that each head gives to what a motif names; the bottom row is even attention."""
    rows = table[table["task"].isin([*context.tasks, "random tokens"])]
    mean = rows.groupby(["model", "component", "motif"])[["attention", "attention_null"]].mean().reset_index()
    names = [name for name in MOTIFS if name in set(mean["motif"])]
    figure, axes = wide(context, MOST + 1, len(names), 0.45, 0.17)
    image = None
    for ax, model in zip(axes[:, 0], context.models, strict=True):
        mine = mean[mean["model"] == model]
        best = mine.assign(over=mine["attention"] - mine["attention_null"]).groupby("component")["over"].max()
        chosen = sorted(best.sort_values(ascending=False, kind="stable").index[:MOST], key=components.order)
        values = mine.pivot(index="component", columns="motif", values="attention").reindex(index=chosen, columns=names)
        even = mine.groupby("motif")["attention_null"].mean().reindex(names)
        both = np.vstack([values.to_numpy(float), even.to_numpy(float)])
        image = heat(ax, 100 * both, [*chosen, "even attention"], [MOTIFS[n] for n in names], (0, 100))
        ax.axhline(len(chosen) - 0.5, color="white", lw=2)
        ax.set_title(model)
    figure.colorbar(image, ax=axes, label="attention, %", shrink=0.6)
    return figure


def neuron_inputs(table, neurons, context):
    """What heads and MLPs add to the neurons that matter most: clean less corrupt, before the activation function."""
    tasks = [task for task in context.tasks if task in set(table["task"])]
    shape = len(context.models), max(len(tasks), 1)
    figure, axes = pyplot.subplots(*shape, figsize=(2.6 * shape[1] + 0.8, 2.7 * shape[0]), squeeze=False)
    limit = max(0.05, float(table["difference"].abs().max())) if len(table) else 1.0
    image = None
    for (row, column), ax in np.ndenumerate(axes):
        model, task = context.models[row], tasks[column] if tasks else ""
        mine = pick(table, model=model, task=task)
        if mine.empty:
            style.empty(ax, "no neurons of their own, or parts that do not add up")
            continue
        own = pick(neurons, model=model, task=task).dropna(subset=["patched"])
        own = own.sort_values("patched", key=abs, ascending=False, kind="stable").head(NEURONS)
        labels = [f"{unit.component}.{int(unit.neuron)} ({unit.patched:+.2f})" for unit in own.itertuples()]
        units = list(zip(own["component"], own["neuron"], strict=True))
        wide_table = mine.pivot(index=["component", "neuron"], columns="writer", values="difference").reindex(units)
        largest = wide_table.abs().max().sort_values(ascending=False, kind="stable").index[:WRITERS]
        shown = wide_table[sorted(largest, key=components.order)]
        image = heat(ax, shown.to_numpy(float), labels, list(shown), (-limit, limit), style.DIVERGING, None)
        ax.set_title(f"{context.title(task)}\n{model}" if len(context.models) > 1 else context.title(task))
    if image is not None:
        figure.colorbar(image, ax=axes, label="added before activation, clean − corrupt", shrink=0.7)
    return figure


def grouped(pattern):
    """A pattern by role: elements, the end and the beginning by themselves, all else together.

    pattern: rows of the attention table of one head;  returns: labels, [query, key] array
    """
    size = int(pattern["query"].max()) + 1
    full = np.zeros((size, size))
    full[pattern["query"], pattern["key"]] = pattern["attention"]
    labels = pattern.drop_duplicates("key").sort_values("key")["key_label"].tolist()
    names = []
    for place, label in enumerate(labels):
        known = label.startswith("item ") or place in (0, size - 1)
        names.append("start" if place == 0 else "end" if place == size - 1 else label if known else "other")
    order = [name for name in dict.fromkeys(names) if name not in ("other", "end")]
    order = [*order, *(["other"] if "other" in names else []), "end"]
    member = np.array([[name == each for name in names] for each in order], dtype=float)
    # Attention to a group is a sum over its keys, a mean over its queries.
    return order, (member / member.sum(1, keepdims=True)) @ full @ member.T


def attention(patterns, importance, context, shown):
    """Attention by role of the heads that matter most in each task.

    patterns: rows of the attention tables with model and task
    """
    own = importance if "circuit" not in importance else importance[importance["circuit"].isna()]
    heads = own[own["component"].str.contains("h")]
    tasks = [task for task in context.tasks if task in set(patterns["task"])]
    lines = [(model, task) for model in context.models for task in tasks]
    figure, axes = style.grid(len(lines), shown, width=1.6, height=1.6)
    image = None
    for row, (model, task) in enumerate(lines):
        mine = pick(heads, model=model, task=task)
        order = mine.assign(size=mine["from_full"].abs()).sort_values("size", ascending=False, kind="stable")
        for column, record in enumerate(order.head(shown).to_dict("records")):
            ax = axes[row, column]
            labels, values = grouped(pick(patterns, model=model, task=task, component=record["component"]))
            image = heat(
                ax,
                100 * values,
                labels if column == 0 else [""] * len(labels),
                labels if row == len(lines) - 1 else [""] * len(labels),
                (0, 100),
                size=4.5,
            )
            ax.set_title(f"{record['component']} ({100 * record['from_full']:+.0f} points)", fontsize=7)
            if column == 0:
                ax.set_ylabel(f"{context.title(task)}\n{model}\nquery", fontsize=6.5)
    figure.supxlabel("key", fontsize=8)
    figure.colorbar(image, ax=axes, label="attention, %", shrink=0.5)
    return figure


def lens(table, context):
    """Probability of the answer, and of the distractor (of a sequence the last element shown), read from the stream after each layer."""
    tasks = [task for task in context.tasks if task in set(table["task"])]
    kinds = {"probability": "the answer", "probability_shown": "the distractor"}
    figure, axes = style.grid(len(kinds), len(context.models), width=2.6, height=1.5, sharex="col", sharey=True)
    for column, model in enumerate(context.models):
        for row, (name, title) in enumerate(kinds.items()):
            ax = axes[row, column]
            for task in tasks:
                for norm, dash in ((True, "-"), (False, ":")):
                    mine = pick(table, model=model, task=task, norm=norm).sort_values("layer")
                    ax.plot(mine["layer"], mine[name], dash, color=context.colour(task), marker="o", ms=2.5)
            ax.set_ylim(-0.03, 1.03)
            layers = sorted(table[table["model"] == model]["layer"].unique())
            step = -(-len(layers) // 6)
            ticks = layers[::step]
            ax.set_xticks(ticks, ["emb." if n == -1 else str(n) for n in ticks])
            if row == 0:
                ax.set_title(model)
            if column == 0:
                ax.set_ylabel(f"probability of\n{title}")
        axes[-1, column].set_xlabel("stream after layer")
    handles = [Line2D([], [], color=context.colour(task), label=context.title(task)) for task in tasks]
    handles += [
        Line2D([], [], color="k", ls="-", label="with the final norm"),
        Line2D([], [], color="k", ls=":", label="without it"),
    ]
    figure.legend(handles=handles, loc="outside right center")
    return figure


# What is drawn against length, with the ends of its band.
ENDS = (("probability", "probability_low", "probability_high"), ("rank", "rank_quartile_1", "rank_quartile_3"))


def lengths(table, context):
    """Probability and rank of the answer against the number of elements shown."""
    tasks = [task for task in [*context.tasks, *context.others] if task in set(table["task"])]
    figure, axes = style.grid(2, len(context.models), width=2.8, height=1.5, sharex="col", sharey="row")
    for column, model in enumerate(context.models):
        for task in tasks:
            mine = pick(table, model=model, task=task).sort_values("length")
            dash = "-" if task in context.tasks else "--"
            for row, (name, low, high) in enumerate(ENDS):
                ax = axes[row, column]
                ax.plot(
                    mine["length"],
                    mine[name],
                    dash,
                    color=context.colour(task),
                    marker="o",
                    ms=2.5,
                    label=context.title(task),
                )
                ax.fill_between(mine["length"], mine[low], mine[high], color=context.colour(task), alpha=0.15, lw=0)
        axes[0, column].set_title(model)
        axes[0, column].set_ylim(-0.03, 1.03)
        axes[1, column].set_yscale("log")
        axes[1, column].set_ylim(0.8, max(10, axes[1, column].get_ylim()[1]))
        axes[1, column].yaxis.set_major_formatter("{x:g}")
        axes[1, column].yaxis.set_minor_formatter(NullFormatter())
        axes[1, column].set_xlabel("elements shown")
        axes[1, column].set_xticks(sorted(table["length"].unique()))
    axes[0, 0].set_ylabel("probability of\nthe answer")
    axes[1, 0].set_ylabel("median rank of\nthe answer")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    return figure
