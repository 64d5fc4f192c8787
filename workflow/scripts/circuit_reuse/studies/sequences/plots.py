"""The figures of the sequence study; each function takes tables for people and returns a figure."""

from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter

from circuit_reuse.data import components
from circuit_reuse.data.gather import pick
from circuit_reuse.report import palette, style

MORE = [palette.PURPLE, palette.VERMILION, palette.BLUE, palette.BLACK, palette.GREY_38, palette.BROWN]
MOST = 24
NO_EDGES = "no edges were asked for\n(sequences.edges.tasks)"


@dataclass(frozen=True)
class SequencesContext:
    """Names and colours that the figures share.

    models, tasks: in drawing order;  others: variants, control tasks and probes
    titles: {task: name};  colours: those of the first tasks;  threshold: of the chosen circuits
    """

    models: list
    tasks: list
    others: list
    titles: dict
    colours: list
    threshold: float
    alpha: float

    def colour(self, task):
        """The colour of a task, the same in every figure."""
        order = [*self.tasks, *self.others]
        return [*self.colours, *MORE][order.index(task) % (len(self.colours) + len(MORE))]

    def title(self, name):
        """The name of a task, or of a circuit made of tasks."""
        for task in sorted(self.titles, key=len, reverse=True):
            if name == task:
                return self.titles[task]
        for sign, symbol, word in ((" | ", " ∪ ", "union"), (" & ", " ∩ ", "intersection")):
            if sign in name:
                parts = name.split(sign)
                if len(parts) > 2 and set(parts) == set(self.tasks):
                    return f"{word} of all"
                return symbol.join(map(self.title, parts))
        head, _, tail = name.partition(" (")
        return f"{self.titles.get(head, head)} ({tail}" if tail else name


def heat(ax, values, rows, columns, limits, cmap=style.SEQUENTIAL, text="{:.0f}", size=6):
    """A heat map with its numbers written in; what is missing stays grey."""
    ax.set_facecolor(palette.GREY_90)
    image = ax.imshow(values, cmap=cmap, vmin=limits[0], vmax=limits[1], aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=90)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values) if text else []:
        if np.isfinite(value):
            shade = image.cmap(image.norm(value))
            dark = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] < 0.5
            written = text.format(value).removesuffix("-0") or "0"
            ax.text(column, row, written, ha="center", va="center", fontsize=size, color="white" if dark else "black")
    return image


def wide(context, rows, columns, unit_x=0.36, unit_y=0.2, left=1.9, **options):
    """A figure with one heat map a model, sized by its cells."""
    width, height = left + unit_x * columns, 1.5 + unit_y * rows
    return pyplot.subplots(
        len(context.models), 1, figsize=(width, height * len(context.models)), squeeze=False, **options
    )


def nothing(figure, text):
    """A figure that says why there is nothing to see."""
    for ax in figure.axes:
        ax.set_axis_off()
    style.empty(figure.axes[0], text)
    return figure


def cross_task(cross, context):
    """What each circuit, kept alone, scores on each task's data; own cells framed, stars by q."""
    data = [task for task in [*context.tasks, *context.others] if task in set(cross["target"])]
    rows = cross[cross["kind"].isin(["task", "union", "intersection", "file"])]
    order = list(dict.fromkeys(rows["circuit"]))
    figure, axes = wide(context, len(order) + 3, len(data), 0.5)
    image = None
    for ax, model in zip(axes[:, 0], context.models, strict=True):
        mine = rows[rows["model"] == model]
        table = mine.pivot(index="circuit", columns="target", values="score").reindex(index=order, columns=data)
        first = mine.drop_duplicates("target").set_index("target")["score_empty"].reindex(data)
        random = cross[(cross["model"] == model) & (cross["circuit"] == cross["target"])]
        random = random.set_index("target")["score_random"].reindex(data).astype(float)
        values = 100 * np.vstack([table.to_numpy(float), random.to_numpy(), first.to_numpy(float)])
        names = [context.title(name) for name in order]
        image = heat(
            ax, values, [*names, "random circuits", "empty circuit"], [context.title(task) for task in data], (0, 120)
        )
        q = mine.pivot(index="circuit", columns="target", values="q_value").reindex(index=order, columns=data)
        for (row, column), value in np.ndenumerate(q.to_numpy(float)):
            if value <= context.alpha:
                ax.text(
                    column + 0.42,
                    row - 0.1,
                    "*",
                    ha="right",
                    va="center",
                    fontsize=7,
                    color="white" if values[row, column] < 70 else "black",
                )
            if order[row] == data[column]:
                ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, color=palette.VERMILION, lw=1.4))
        ax.axhline(len(order) - 0.5, color="white", lw=2)
        ax.set(xlabel="tested on", ylabel="circuit", title=model)
    figure.colorbar(image, ax=axes, label="score, % of the full model", shrink=0.6, extend="both")
    return figure


def overlap(table, context):
    """Jaccard index of the circuits of every two tasks, with the number of components they share."""
    rows = table[table["kind"] == "all"]
    order = [task for task in [*context.tasks, *context.others] if task in {*rows["first"], *rows["second"]}]
    figure, axes = pyplot.subplots(
        1,
        len(context.models),
        figsize=(1.9 + len(context.models) * (0.9 + 0.42 * len(order)), 1.5 + 0.34 * len(order)),
        squeeze=False,
    )
    image = None
    for ax, model in zip(axes[0], context.models, strict=True):
        values, texts = np.full((len(order), len(order)), np.nan), {}
        for row in rows[rows["model"] == model].to_dict("records"):
            if row["first"] in order and row["second"] in order:
                places = sorted((order.index(row["first"]), order.index(row["second"])), reverse=True)
                values[tuple(places)] = row["jaccard"]
                texts[tuple(places)] = (
                    f"{row['jaccard']:.2f}{'*' if row['q_layers'] <= context.alpha else ''}\n{row['n_shared']} / {row['n_shared_null_layers']:.1f}"
                )
        names = [context.title(task) for task in order]
        image = heat(ax, values[1:, :-1], names[1:], names[:-1], (0, 1), text=None)
        ax.set_facecolor("white")
        for (row, column), text in texts.items():
            value = values[row, column]
            ax.text(
                column, row - 1, text, ha="center", va="center", fontsize=6, color="white" if value < 0.55 else "black"
            )
        ax.set_title(model)
    figure.colorbar(image, ax=axes, label="Jaccard index", shrink=0.7)
    return figure


def inclusion(table, context):
    """Share of random orders, and of draws of the examples, that keep each component."""
    rows = table[table["threshold"] == context.threshold]
    tasks = [task for task in [*context.tasks, *context.others] if task in set(rows["task"])]
    lines = [(task, over) for task in tasks for over in ("orders", "draws")]
    figure, axes = wide(context, len(lines), 26, 0.24, 0.2)
    if rows.empty:
        return nothing(figure, "no random orders or draws were asked for")
    image = None
    for ax, model in zip(axes[:, 0], context.models, strict=True):
        mine = rows[rows["model"] == model]
        best = mine.groupby("component")["frequency"].max()
        chosen = sorted(best[best > 0].sort_values(ascending=False, kind="stable").index[:36], key=components.order)
        wide_table = mine.pivot(index=["task", "over"], columns="component", values="frequency")
        values = wide_table.reindex(index=lines, columns=chosen).to_numpy(float)
        names = [f"{context.title(task)}: {over}" for task, over in lines]
        image = heat(ax, 100 * values, names, chosen, (0, 100), size=5)
        left = len(best) - int((best > 0).sum())
        ax.set_title(f"{model} ({left} components are never kept)")
    figure.colorbar(image, ax=axes, label="pruning runs that keep it, %", shrink=0.7)
    return figure


def pareto_front(table, context):
    """Score of the best circuit of each size: chosen on train examples, measured on held-out ones."""
    tasks = [task for task in [*context.tasks, *context.others] if task in set(table["task"])]
    figure, axes = style.grid(1, len(context.models), width=3.2, height=2.2, sharey=True)
    for ax, model in zip(axes[0], context.models, strict=True):
        ax.axhspan(1 - context.threshold, 1 + context.threshold, color=palette.GREY_93, lw=0)
        ax.axhline(1, color=style.BASELINE, lw=0.8)
        for task in tasks:
            mine = pick(table, model=model, task=task).sort_values("n_components")
            main = task in context.tasks
            ax.plot(
                mine["n_components"],
                mine["score"],
                color=context.colour(task),
                marker="o" if main else None,
                ms=2.5,
                lw=1.2 if main else 0.8,
                ls="-" if main else "--",
            )
            if main:
                ends = mine["score_low"], mine["score_high"]
                ax.fill_between(mine["n_components"], *ends, color=context.colour(task), alpha=0.15, lw=0)
        ax.set(xlabel="heads and MLPs of the circuit", title=model)
    axes[0, 0].set_ylabel("held-out score, % of the full model")
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    handles = [
        Line2D([], [], color=context.colour(t), ls="-" if t in context.tasks else "--", label=context.title(t))
        for t in tasks
    ]
    handles.append(Patch(color=palette.GREY_93, label=f"100 ± {100 * context.threshold:g}"))
    figure.legend(handles=handles, loc="outside right center")
    return figure


def importance(table, context):
    """Change of the score when a component goes: from the full model, and from the circuit."""
    own = table if "circuit" not in table else table[table["circuit"].isna()]
    tasks = [task for task in context.tasks if task in set(own["task"])]
    columns = [(task, kind) for kind in ("from_full", "in_circuit_drop") for task in tasks]
    figure, axes = wide(context, MOST, len(columns), 0.5, 0.17)
    limit = max(10.0, 100 * float(own[own["task"].isin(tasks)][["from_full", "in_circuit_drop"]].abs().max().max()))
    image = None
    for ax, model in zip(axes[:, 0], context.models, strict=True):
        mine = own[(own["model"] == model) & own["task"].isin(tasks)]
        size = mine.groupby("component")[["from_full", "in_circuit_drop"]].agg(lambda v: v.abs().max()).max(axis=1)
        chosen = sorted(size.sort_values(ascending=False, kind="stable").index[:MOST], key=components.order)
        values = (
            100
            * np.array(
                [mine[mine["task"] == task].set_index("component")[kind].reindex(chosen) for task, kind in columns],
                dtype=float,
            ).T
        )
        names = [context.title(task) for task, _ in columns]
        image = heat(ax, values, chosen, names, (-limit, limit), style.DIVERGING, "{:+.0f}")
        ax.axvline(len(tasks) - 0.5, color="white", lw=3)
        for place, title in ((0, "out of the full model"), (1, "out of the circuit")):
            ax.text((place + 0.5) * len(tasks) - 0.5, -0.8, title, ha="center", va="bottom", fontsize=7)
        ax.set_title(model, pad=16)
    figure.colorbar(image, ax=axes, label="change of the score, points", shrink=0.6)
    return figure


def edge_cuts(cuts, context):
    """What edge circuits of several sizes score; the chosen one is filled, those of ACDC are diamonds."""
    figure, axes = style.grid(1, len(context.models), width=3.0, height=2.0, sharey=True)
    if cuts.empty:
        return nothing(figure, NO_EDGES)
    for ax, model in zip(axes[0], context.models, strict=True):
        ax.axhline(1, color=style.BASELINE, lw=0.8)
        for task in context.tasks:
            mine = pick(cuts, model=model, task=task).sort_values("n_edges")
            if mine.empty:
                continue
            pruned = mine["rule"] == "acdc"
            for rows, marker, line in ((mine[~pruned], "o", "-"), (mine[pruned], "D", "none")):
                shown = {"color": context.colour(task), "marker": marker, "mfc": "white", "ls": line}
                bars = style.bars(rows["score"], rows["score_low"], rows["score_high"])
                label = context.title(task) if marker == "o" else None
                ax.errorbar(rows["n_edges"], rows["score"], bars, lw=1, elinewidth=0.7, label=label, **shown)
                chosen = rows[rows["chosen"]]
                ax.plot(chosen["n_edges"], chosen["score"], marker, color=context.colour(task), zorder=3)
        ax.set(xlabel="edges kept", title=model)
    axes[0, 0].set_ylabel("held-out score, % of the full model")
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    return figure


def edge_agreement(edges, context):
    """Effect of each edge by path patching against its score by edge attribution."""
    tasks = [task for task in context.tasks if task in set(edges["task"])]
    figure, axes = style.grid(len(context.models), max(1, len(tasks)), width=1.9, height=1.7)
    if not tasks:
        return nothing(figure, NO_EDGES)
    for row, model in enumerate(context.models):
        for column, task in enumerate(tasks):
            ax = axes[row, column]
            mine = pick(edges, model=model, task=task).dropna(subset=["attribution"])
            ax.axhline(0, color=style.BASELINE, lw=0.6)
            ax.axvline(0, color=style.BASELINE, lw=0.6)
            ax.scatter(
                mine["attribution"], 100 * mine["score_change"], s=6, color=context.colour(task), lw=0, alpha=0.8
            )
            ax.set_title(f"{context.title(task)}\n{model}" if len(context.models) > 1 else context.title(task))
            if row == len(context.models) - 1:
                ax.set_xlabel("edge attribution, logits")
            if column == 0:
                ax.set_ylabel("path patching, points")
    return figure


def direct(table, context):
    """Direct contribution of each component to the logit difference."""
    tasks = [task for task in context.tasks if task in set(table["task"])]
    figure, axes = wide(context, MOST, len(tasks), 0.6, 0.17)
    rows = table[table["task"].isin(tasks)]
    limit = max(0.5, float(rows["attribution"].abs().max())) if len(rows) else 1.0
    image = None
    for ax, model in zip(axes[:, 0], context.models, strict=True):
        mine = rows[rows["model"] == model]
        if mine.empty:
            style.empty(ax, "components of this model do not simply add up")
            continue
        size = mine.groupby("component")["attribution"].agg(lambda v: v.abs().max())
        chosen = list(size.sort_values(ascending=False, kind="stable").index[:MOST])
        chosen = sorted(chosen, key=lambda n: (99, 0) if n == "rest" else components.order(n))
        values = mine.pivot(index="component", columns="task", values="attribution").reindex(
            index=chosen, columns=tasks
        )
        names = ["positions, biases" if name == "rest" else name for name in chosen]
        image = heat(
            ax,
            values.to_numpy(float),
            names,
            [context.title(t) for t in tasks],
            (-limit, limit),
            style.DIVERGING,
            "{:+.1f}",
        )
        ax.set_title(model)
    if image is not None:
        figure.colorbar(image, ax=axes, label="logits, answer − distractor", shrink=0.6)
    return figure
