"""The figures of tracing, of heroes removed, and of counterparts in other models."""

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D

from circuit_reuse.data.gather import pick
from circuit_reuse.report import palette, style
from circuit_reuse.studies.scaling.plots import COLORS, class_legend

LAYER_PARTS = {"stream": "residual stream", "attention": "attention", "mlp": "MLP"}
HEAD_PARTS = {"z": "output z", "q": "query", "k": "key", "v": "value", "pattern": "pattern"}
MATCHED = {
    "plain": (palette.BLUE, "o", "random heads"),
    "layer": (palette.SKY, "s", "same layers"),
    "norm": (palette.PURPLE, "^", "same output norms"),
}


def heat(ax, values, xlabels, limit, rotate=True):
    """A heat map of shares with layers upwards."""
    image = ax.imshow(values, cmap=style.DIVERGING, vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    ax.set_yticks(range(len(values)) if len(values) <= 6 else [0, len(values) - 1])
    ax.set_xticks(range(len(xlabels)), xlabels, rotation=90 if rotate else 0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def height_of(layers):
    """Height of a heat map in which every layer can be seen, inches."""
    return min(max(0.75, 0.06 * layers), 2.4)


def tracing_layers(tracing, context, tasks):
    """Share of the gap that a layer's part restores at each position, from clean into corrupt."""
    models = list(context.models["model"])
    rows = tracing[(tracing["direction"] == "restore") & tracing["role"].notna() & tracing["head"].isna()]
    height = height_of(rows["layer"].max() + 1)
    figure, axes = style.grid(len(models), len(LAYER_PARTS) * len(tasks), width=1.25, height=height)
    image = None
    for block, (task, title) in enumerate(zip(tasks, context.titles, strict=True)):
        mine = rows[rows["task"] == task]
        size = mine.groupby("role")["share"].apply(lambda v: v.abs().max())
        # What stands before the first difference cannot matter, and is left out.
        order = [role for role in dict.fromkeys(mine["role"]) if size[role] > 1e-3]
        order = sorted(order, key=lambda role: (role == "end", role == "rest", order.index(role)))
        for place, (part, name) in enumerate(LAYER_PARTS.items()):
            for row, model in enumerate(models):
                ax = axes[row, block * len(LAYER_PARTS) + place]
                here = pick(mine, model=model, part=part)
                wide = here.pivot(index="layer", columns="role", values="share").reindex(columns=order)
                last = row == len(models) - 1
                image = heat(
                    ax, wide.to_numpy(float), [r.replace("_", " ") for r in order] if last else [""] * len(order), 1
                )
                if row == 0:
                    ax.set_title(f"{title}\n{name}", fontsize=6.5)
                if block == 0 and place == 0:
                    ax.set_ylabel(f"{model}\nlayer", fontsize=6.5, rotation=0, ha="right", va="center")
                else:
                    ax.set_yticks([])
    figure.colorbar(image, ax=axes, label="share of the gap restored", shrink=0.4, aspect=30)
    return figure


# With scaling.tracing.least above 0.
NOT_TRACED = "no head was traced: no layer's attention\nmoves the metric by scaling.tracing.least"


def nothing(why):
    """A figure that says why it is empty."""
    figure, ax = pyplot.subplots(figsize=(3, 1.5))
    ax.set_axis_off()
    style.empty(ax, why)
    return figure


# Heads that are listed by name rather than shown in a map of all.
FEW = 16


def tracing_heads(tracing, context, tasks, shapes):
    """Share of the gap that each part of each head restores, from clean into corrupt.

    shapes: {model: (layers, heads)}
    """
    models = list(context.models["model"])
    rows = tracing[(tracing["direction"] == "restore") & tracing["role"].isna() & tracing["head"].notna()]
    there = [part for part in HEAD_PARTS if part in set(rows["part"])]
    if not there:
        return nothing(NOT_TRACED)
    traced = rows.drop_duplicates(["model", "layer", "head"]).groupby("model").size()
    if traced.max() <= FEW:
        return tracing_few(rows, context, tasks, models, there, traced)
    height = height_of(max((layers for layers, _ in shapes.values()), default=1))
    figure, axes = style.grid(len(models), len(there) * len(tasks), width=0.95, height=height)
    image = None
    for block, (task, title) in enumerate(zip(tasks, context.titles, strict=True)):
        for place, part in enumerate(there):
            for row, model in enumerate(models):
                ax = axes[row, block * len(there) + place]
                here = pick(rows, task=task, model=model, part=part)
                layers, heads = shapes[model]
                wide = here.pivot(index="layer", columns="head", values="share")
                # Heads that were not traced stay white.
                wide = wide.reindex(index=range(layers), columns=range(heads))
                image = heat(ax, wide.to_numpy(float), [""] * heads, 1)
                ax.set_xticks([])
                if row == 0:
                    ax.set_title(f"{title}\n{HEAD_PARTS[part]}", fontsize=6.5)
                if block == 0 and place == 0:
                    ax.set_ylabel(f"{model}\nlayer", fontsize=6.5, rotation=0, ha="right", va="center")
                else:
                    ax.set_yticks([])
                if row == len(models) - 1:
                    ax.set_xlabel("head", fontsize=6.5)
    figure.colorbar(image, ax=axes, label="share of the gap restored", shrink=0.4, aspect=30)
    return figure


def tracing_few(rows, context, tasks, models, parts, traced):
    """The same where few heads were traced: a row for each of them by name, a column for each part."""
    figure, axes = style.grid(
        len(models), len(tasks), width=0.42 * len(parts) + 0.7, height=0.16 * max(traced.max(), 5) + 0.25, sharex=True
    )
    image = None
    for row, model in enumerate(models):
        for column, (task, title) in enumerate(zip(tasks, context.titles, strict=True)):
            ax, here = axes[row, column], pick(rows, task=task, model=model)
            ax.set_title(title if len(models) == 1 else f"{model}, {title}", fontsize=7)
            if here.empty:
                ax.set_yticks([])
                style.empty(ax, "no head to trace")
                continue
            wide = here.pivot(index=["layer", "head"], columns="part", values="share").reindex(columns=parts)
            image = ax.imshow(wide.to_numpy(float), cmap=style.DIVERGING, vmin=-1, vmax=1, aspect="auto")
            for (y, x), value in np.ndenumerate(100 * wide.to_numpy(float)):
                if np.isfinite(value):
                    # Not -0.
                    text, color = f"{round(value) + 0:g}", "white" if abs(value) > 60 else "black"
                    ax.text(x, y, text, ha="center", va="center", fontsize=style.SMALLEST, color=color)
            ax.set_yticks(range(len(wide)), [f"L{layer:.0f}H{head:.0f}" for layer, head in wide.index], fontsize=6.5)
            ax.set_xticks(
                range(len(parts)), [HEAD_PARTS[part] for part in parts], rotation=30, ha="right", fontsize=6.5
            )
    figure.colorbar(image, ax=axes, label="share of the gap\nrestored (cells: %)", aspect=15)
    return figure


def influence_vs_strength(tracing, heads, influence, context, tasks):
    """Size of the traced influence of each head against its strength on the train split.

    heads: rows of the heads table, train split, with the class on it
    """
    rows = tracing[(tracing["direction"] == "restore") & tracing["role"].isna() & tracing["head"].notna()]
    merged = rows.merge(heads[["model", "layer", "head", "strength", "category"]], on=["model", "layer", "head"])
    there = [part for part in HEAD_PARTS if part in set(rows["part"])]
    if not there:
        return nothing(NOT_TRACED)
    figure, axes = style.grid(len(tasks), len(there), width=1.5, height=1.5, sharex=True, sharey=True)
    for row, (task, title) in enumerate(zip(tasks, context.titles, strict=True)):
        for column, part in enumerate(there):
            ax = axes[row, column]
            mine = pick(merged, task=task, part=part)
            floor = 0.1
            ax.scatter(
                (mine["strength"] * context.factor).clip(lower=floor),
                (100 * mine["share"].abs()).clip(lower=floor),
                s=5,
                color=mine["category"].map(COLORS),
                linewidths=0,
                alpha=0.8,
            )
            ax.set(xscale="log", yscale="log")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter(pyplot.NullFormatter())
            found = pick(influence, model="all", task=task, part=part, direction="restore")
            note = ""
            within = "correlation_within_layers"
            if len(found) and within in found and found[within].notna().all():
                line = found.iloc[0]
                known = f"{within}_low" in found and np.isfinite(line[f"{within}_low"])
                ends = f" [{line[f'{within}_low']:z.2f}, {line[f'{within}_high']:z.2f}]" if known else ""
                note = f"\n{line[within]:z.2f}{ends}"
            ax.set_title(HEAD_PARTS[part] + note, fontsize=7)
            if row == len(tasks) - 1:
                ax.set_xlabel(f"strength ({context.unit})", fontsize=7)
        axes[row, 0].set_ylabel(f"{title}\n|influence| (% of gap)", fontsize=7)
    class_legend(figure, context)
    return figure


def hero_vs_random(tests, context, tasks):
    """Metric and accuracy when heroes are removed, beside random sets, by size."""
    models = list(context.models["model"])
    tests = tests[tests["ranking"] == "all"]
    if tests["effect"].isna().all():
        return nothing("no head is strong on the train split, so there are no heroes to remove")
    figure, axes = style.grid(len(models), 2 * len(tasks), width=1.5, height=1.05)
    sizes = sorted(tests["n_heads"].unique())
    for row, model in enumerate(models):
        for block, (task, title) in enumerate(zip(tasks, context.titles, strict=True)):
            mine = pick(tests, model=model, task=task)
            metric, accuracy = axes[row, 2 * block : 2 * block + 2]
            for n, (matching, (color, marker, _)) in enumerate(MATCHED.items()):
                part = mine[(mine["matching"] == matching) & (mine["n_random"] > 0)]
                x = part["n_heads"].map(sizes.index) + (n - 1) * 0.2
                percent_of(metric, x, part, "effect_random", color, marker, part["metric"])
                percent_of(accuracy, x, part, "accuracy_random", color, marker)
            hero = mine[mine["effect"].notna()].drop_duplicates("n_heads").sort_values("n_heads")
            x = hero["n_heads"].map(sizes.index)
            for ax, column, whole in ((metric, "effect", hero["metric"]), (accuracy, "accuracy_circuit", 1)):
                ax.plot(x, 100 * hero[column] / above_zero(whole), color=style.CIRCUIT, linewidth=0.8)
                percent_of(ax, x, hero, column, style.CIRCUIT, "D", whole)
                ax.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
                ax.set_xlim(-0.5, len(sizes) - 0.5)
            metric.axhline(0, color="black", linewidth=0.5)
            if len(mine):
                accuracy.axhline(100 * mine["accuracy"].iloc[0], color="black", linewidth=0.5)
            accuracy.set_ylim(-5, 105)
            if row == 0:
                metric.set_title(f"{title}: change of metric (%)", fontsize=7)
                accuracy.set_title(f"{title}: accuracy (%)", fontsize=7)
            if row == len(models) - 1:
                metric.set_xlabel("heads removed")
                accuracy.set_xlabel("heads removed")
        axes[row, 0].set_ylabel(model, fontsize=6.5)
    handles = [Line2D([], [], color=style.CIRCUIT, marker="D")]
    handles += [Line2D([], [], color=c, marker=m, linestyle="none") for c, m, _ in MATCHED.values()]
    labels = ["strongest heads, 95 % interval", *(f"{name}, 95 % of sets" for *_, name in MATCHED.values())]
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def percent_of(ax, x, rows, column, color, marker, whole=1):
    """Points of a column with its intervals, in per cent of a whole; none where that is not positive."""
    whole = above_zero(whole)
    interval(ax, x, *(100 * rows[name] / whole for name in (column, f"{column}_low", f"{column}_high")), color, marker)


def above_zero(whole):
    """What shares may be of, nan where it is not positive."""
    return np.where(np.asarray(whole) > 0, whole, np.nan)


def interval(ax, x, y, low, high, color, marker):
    """Points with their intervals."""
    error = style.bars(y, low, high) if len(x) else None
    ax.errorbar(x, y, yerr=error, color=color, marker=marker, markersize=2.5, elinewidth=0.8, linestyle="none")


RULES = {
    "index": "same layer\nand head",
    "strength": "as strong in\nthe other task",
    "other_task": "nearest in\nthe other task",
    "function": "nearest in all",
}


def transfer(table, context, tasks, alpha):
    """Mean fractional rank, in the target, of the counterparts of the strongest heads."""
    models = [m for m in context.models["model"] if m in {*table["source_model"], *table["target_model"]}]
    if len(models) < 2:
        return nothing("fewer than two models")
    side = max(1.3, 0.75 + 0.2 * len(models))
    figure, axes = style.grid(len(tasks), len(RULES), width=side, height=side)
    image = None
    for row, (task, title) in enumerate(zip(tasks, context.titles, strict=True)):
        for column, (rule, name) in enumerate(RULES.items()):
            ax = axes[row, column]
            mine = pick(table, task=task, rule=rule)
            values = np.full((len(models), len(models)), np.nan)
            for line in mine.to_dict("records"):
                place = models.index(line["source_model"]), models.index(line["target_model"])
                values[place] = line["mean_fractional_rank"]
                if line.get("q_rank") is not None and line["q_rank"] <= alpha:
                    ax.text(
                        place[1],
                        place[0],
                        "*",
                        ha="center",
                        va="center",
                        fontsize=9,
                        color="white" if values[place] < 0.25 else "black",
                    )
            # White is a rank in the middle; where there is none the panel is grey.
            ax.set_facecolor("0.85")
            image = ax.imshow(values, cmap="PuOr_r", vmin=0, vmax=1)
            ax.set_xticks(range(len(models)), models if row == len(tasks) - 1 else [], rotation=90)
            ax.set_yticks(range(len(models)), models if column == 0 else [])
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            if row == 0:
                ax.set_title(name)
            if column == 0:
                ax.set_ylabel(f"{title}\nheads of")
            if row == len(tasks) - 1:
                ax.set_xlabel("looked up in")
    figure.colorbar(image, ax=axes, label="mean fractional rank", shrink=0.6)
    return figure
