"""The figures of the reuse study; each function takes tables and returns a figure.

Rows of panels are models, columns are tasks.  All tables are the summary or the named
tables of all models and tasks put together, with the columns model and task.
"""

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from circuit_reuse.data import components
from circuit_reuse.data.gather import pick
from circuit_reuse.report import hover, style
from circuit_reuse.report.numbers import k_label

# Up to so many heads each has a tick, and up to so many kinds of prompt a name.
EVERY, FEW = 12, 4


def thresholds(models, tasks, titles, ylabel):
    """Panels over the reuse threshold, in per cent."""
    figure, axes = panels(models, tasks, titles, "reuse threshold p", ylabel)
    axes[0, 0].xaxis.set_major_formatter(PercentFormatter(1))
    return figure, axes


def panels(models, tasks, titles, xlabel, ylabel, **options):
    """A grid of panels with the models' names on the left and the tasks' on top."""
    figure, axes = style.grid(len(models), len(tasks), sharex=True, sharey=True, **options)
    label_grid(axes, models, tasks, titles, xlabel, ylabel)
    return figure, axes


def each(models, tasks, axes):
    """Every model and task with its panel."""
    for row, model in enumerate(models):
        for column, task in enumerate(tasks):
            yield model, task, axes[row, column]


def lines_by_k(axes, rows, column, low=None, high=None):
    """A line per K against the threshold, with its interval as a band."""
    for number, (k, line) in enumerate(rows.groupby("top_k")):
        line = line.sort_values("threshold")
        color, marker = style.BY_K[number % 6], style.MARKERS[number % 6]
        (drawn,) = axes.plot(line["threshold"], line[column].astype(float), color=color, marker=marker)
        points = line[["threshold", column]].astype(float).dropna().itertuples(index=False)
        hover.values(drawn, [f"{k_label(k)}, p = {100 * x:g} %: {y:.3g}" for x, y in points])
        if low:
            axes.fill_between(
                line["threshold"],
                line[low].astype(float),
                line[high].astype(float),
                color=color,
                alpha=0.2,
                linewidth=0,
            )


def k_legend(figure, table, extra=()):
    """One legend for all panels, below them."""
    values = sorted(table["top_k"].unique())
    handles = [
        Line2D([], [], color=style.BY_K[number % 6], marker=style.MARKERS[number % 6]) for number in range(len(values))
    ]
    labels = [k_label(value) for value in values]
    handles += [handle for handle, _ in extra]
    labels += [label for _, label in extra]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def reuse_vs_threshold(reuse, models, tasks, titles):
    """Reuse at p against p, beside what random circuits and other tasks' circuits share."""
    figure, axes = thresholds(models, tasks, titles, "reuse (share of K)")
    for model, task, ax in each(models, tasks, axes):
        rows = pick(reuse, model=model, task=task)
        lines_by_k(ax, rows, "reuse")
        for number, (_, line) in enumerate(rows.groupby("top_k")):
            line = line.sort_values("threshold")
            color = style.BY_K[number % 6]
            ax.plot(line["threshold"], line["reuse_null"], color=color, linestyle=":")
            if line["reuse_other"].notna().all():
                ax.plot(line["threshold"], line["reuse_other"], color=color, linestyle="--")
        ax.set_ylim(-0.04, 1.04)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    extra = [
        (Line2D([], [], color="black", linestyle="--"), "mixed with another task"),
        (Line2D([], [], color="black", linestyle=":"), "random circuits"),
    ]
    k_legend(figure, reuse, extra)
    return figure


def lift_vs_threshold(tests, models, tasks, titles):
    """Lift against p: accuracy lost beyond what matched random circuits lose."""
    figure, axes = thresholds(models, tasks, titles, "lift")
    for model, task, ax in each(models, tasks, axes):
        rows = pick(tests, model=model, task=task)
        ax.axhline(0, color="black", linewidth=0.6)
        lines_by_k(ax, rows, "lift", "lift_low", "lift_high")
    k_legend(figure, tests)
    return figure


def p_vs_threshold(tests, models, tasks, titles, alpha):
    """-log10 of the p-values against p, with the line of the level."""
    figure, axes = thresholds(models, tasks, titles, "−log₁₀ p-value")
    for model, task, ax in each(models, tasks, axes):
        rows = pick(tests, model=model, task=task)
        for column, style_of_line in (("p_permutation", "-"), ("p_value", "--")):
            for number, (_, line) in enumerate(rows.groupby("top_k")):
                line = line.sort_values("threshold")
                ax.plot(
                    line["threshold"],
                    -np.log10(line[column].astype(float)),
                    color=style.BY_K[number % 6],
                    marker=style.MARKERS[number % 6],
                    linestyle=style_of_line,
                    fillstyle="full" if style_of_line == "-" else "none",
                )
        ax.axhline(-np.log10(alpha), color="black", linewidth=0.6, linestyle=":")
    extra = [
        (Line2D([], [], color="black"), "sign-flip permutation"),
        (Line2D([], [], color="black", linestyle="--"), "rank among random sets"),
        (Line2D([], [], color="black", linewidth=0.6, linestyle=":"), f"p = {alpha:g}"),
    ]
    k_legend(figure, tests, extra)
    return figure


def accuracy_bars(tests, models, tasks, titles):
    """Held-out accuracy of the intact model, with the shared circuit removed, with a control removed."""
    figure, axes = style.grid(1, len(models), width=0.55 * len(tasks) + 1, height=1.8, sharey=True)
    bars = [
        ("accuracy", style.BASELINE, "intact"),
        ("accuracy_circuit", style.CIRCUIT, "shared circuit removed"),
        ("accuracy_control", style.CONTROL, "matched random circuit removed"),
    ]
    for ax, model in zip(axes[0], models, strict=True):
        rows = pick(tests, model=model).set_index("task").reindex(tasks)
        for number, (column, color, label) in enumerate(bars):
            values = rows[column].astype(float)
            ax.bar(np.arange(len(tasks)) + (number - 1) * 0.27, values, 0.27, color=color, label=label)
            low, high = (rows[f"{column}_{end}"].astype(float) for end in ("low", "high"))
            ax.errorbar(
                np.arange(len(tasks)) + (number - 1) * 0.27,
                values,
                yerr=style.bars(values, low, high),
                fmt="none",
                ecolor="black",
                elinewidth=0.7,
            )
        style.task_ticks(ax, tasks, titles)
        ax.set(title=model, ylim=(0, 1.05))
    axes[0, 0].set_ylabel("held-out accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def effect_against_controls(tests, effects, models, tasks, titles, unit):
    """Change in the metric when the shared circuit is removed, in per cent of the gap between clean and corrupt, among that of random circuits.

    tests:   rows at one K and threshold, with q_value
    effects: {(model, task): [disjoint random circuits, random sets of the same layers]}
    """
    figure, axes = style.grid(1, len(models), width=0.62 * len(tasks) + 1, height=1.9, sharey=True)
    for ax, model in zip(axes[0], models, strict=True):
        for place, task in enumerate(tasks):
            rows = pick(tests, model=model, task=task)
            values = effects.get((model, task))
            scale = 100 / rows["gap"].iloc[0] if len(rows) else 1
            problem = ""
            if len(rows) and not rows["gap"].iloc[0] > 0:
                # The model prefers the corrupt prompts: a share of that means nothing.
                problem = "clean ≤ corrupt"
            elif values is None or rows["effect"].isna().all():
                problem = "no test"
            if problem:
                across = ax.get_xaxis_transform()
                ax.text(place, 0.5, problem, rotation=90, ha="center", va="center", fontsize=6, transform=across)
                continue
            among_controls(ax, place, rows.iloc[0], values, scale, titles[task], unit)
        ax.axhline(0, color="black", linewidth=0.6)
        # As much as corrupting the prompt does.
        ax.axhline(-100, color="black", linewidth=0.6, linestyle=":")
        style.task_ticks(ax, tasks, titles, room=9)
        for place in range(1, len(tasks)):
            ax.axvline(place - 0.5, color="0.85", linewidth=0.6, zorder=0)
        ax.set(title=model, xlim=(-0.5, len(tasks) - 0.5))
    # Room for what stands below the points.
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low - 0.28 * (high - low), high)
    axes[0, 0].set_ylabel("change in metric\n(% of clean − corrupt)")
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="none")
        for color, marker in ((style.CIRCUIT, "D"), (style.OTHER_CONTROL, "o"), (style.CONTROL, "o"))
    ]
    labels = [
        "shared circuit, 95 % interval",
        "disjoint random circuits of its size",
        "as many random components in each layer",
    ]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, title="removed:")
    return figure


def among_controls(ax, place, row, values, scale, title, unit):
    """One circuit's effect with its interval beside those of its two kinds of random circuits, with q and n below.

    values: [disjoint random circuits, random sets of the same layers];  scale: per cent of the gap in a unit of the metric
    """
    for offset, color, each_set in zip((-0.28, 0.28), (style.OTHER_CONTROL, style.CONTROL), values, strict=True):
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(each_set))
        ax.scatter(place + offset + spread, scale * each_set, s=4, color=color, alpha=0.5, linewidths=0)
    q = f"q = {row['q_value']:.2g}\n" if np.isfinite(row["q_value"]) else ""
    below = f"{q}n = {row['n_examples']} ({row['n_clusters']})"
    ax.text(place, 0.02, below, ha="center", va="bottom", fontsize=6, transform=ax.get_xaxis_transform())
    error = scale * style.bars(row["effect"], row["effect_low"], row["effect_high"])
    drawn = ax.errorbar(place, scale * row["effect"], yerr=error, fmt="D", color=style.CIRCUIT, capsize=2, markersize=4)
    effect = f"{title}: {with_interval(row, 'effect')} {unit}"
    hover.values(drawn[0], [f"{effect} ({scale * row['effect']:.0f} % of the gap), {row['n_components']} components"])


def with_interval(row, name):
    """A value of a row with its interval, to three digits; without one where there is none."""
    ends = [row[f"{name}_{end}"] for end in ("low", "high")]
    interval = "" if any(map(np.isnan, map(float, ends))) else f" [{ends[0]:.3g}, {ends[1]:.3g}]"
    return f"{row[name]:.3g}{interval}"


def faithfulness_bars(tests, models, tasks, titles):
    """Share of the metric that the shared circuit keeps on its own, beside its controls."""
    figure, axes = style.grid(1, len(models), width=0.55 * len(tasks) + 1, height=1.8, sharey=True)
    for ax, model in zip(axes[0], models, strict=True):
        rows = pick(tests, model=model).set_index("task").reindex(tasks)
        middle = rows["faithfulness"].astype(float)
        error = style.bars(middle, rows["faithfulness_low"], rows["faithfulness_high"])
        places = np.arange(len(tasks))
        ax.bar(places - 0.18, middle, 0.36, color=style.CIRCUIT, label="shared circuit kept")
        ax.errorbar(places - 0.18, middle, yerr=error, fmt="none", ecolor="black", elinewidth=0.7)
        ax.bar(
            places + 0.18,
            rows["faithfulness_control"].astype(float),
            0.36,
            color=style.CONTROL,
            label="matched random circuit kept",
        )
        ax.axhline(1, color="black", linewidth=0.6, linestyle=":")
        ax.axhline(0, color="black", linewidth=0.6)
        style.task_ticks(ax, tasks, titles)
        ax.set_title(model)
    axes[0, 0].set_ylabel("faithfulness (1 = full model)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def score_histograms(scores, models, tasks, titles, unit):
    """Distribution of the scores of all heads over all examples."""
    figure, axes = panels(models, tasks, titles, f"score ({unit})", "scores (count)")
    largest = max(float(np.abs(values).max()) for values in scores.values())
    bins = np.linspace(-largest, largest, 51)
    if all((values >= 0).all() for values in scores.values()):
        bins = np.linspace(0, largest, 51)
    for model, task, ax in each(models, tasks, axes):
        ax.hist(scores[model, task].ravel(), bins=bins, color=style.CONTROL)
        ax.set_yscale("log")
    return figure


def component_map(inclusion, models, tasks, titles, top_k):
    """Share of the example circuits that hold each head, layer by head."""
    figure, axes = style.grid(len(models), len(tasks), width=1.7, height=1.15)
    image = None
    for model, task, ax in each(models, tasks, axes):
        rows = pick(inclusion, model=model, task=task, top_k=top_k)
        places = [components.place(str(name)) for name in rows["component"]]
        layers = 1 + max(layer for layer, _ in places)
        heads = 1 + max((head for _, head in places if head is not None), default=-1)
        wide = any(head is None for _, head in places)
        values = np.full((layers, heads + wide), np.nan)
        for (layer, head), frequency in zip(places, rows["frequency"], strict=True):
            values[layer, heads if head is None else head] = frequency
        image = ax.imshow(values, vmin=0, vmax=1, cmap=style.SEQUENTIAL, aspect="auto", origin="lower")
        ticks = sorted({*range(0, heads, 1 if heads <= EVERY else heads // 4), *([heads] if wide else [])})
        ax.set_xticks(ticks, ["MLP" if wide and tick == heads else tick for tick in ticks])
        ax.set_yticks(range(0, layers, max(1, layers // 4)))
        ax.spines[["top", "right"]].set_visible(True)
    label_grid(axes, models, tasks, titles, "head", "layer")
    figure.colorbar(image, ax=axes, label="share of example circuits", fraction=0.03)
    return figure


def label_grid(axes, models, tasks, titles, xlabel, ylabel):
    """Names of models on the left and of tasks on top of a grid of panels."""
    for row, model in enumerate(models):
        axes[row, 0].set_ylabel(f"{model}\n{ylabel}")
    for column, task in enumerate(tasks):
        axes[0, column].set_title(titles[task])
        if xlabel:
            axes[-1, column].set_xlabel(xlabel)


def similarity(pairs, clusters, models, tasks, titles, top_k):
    """Jaccard index of every two example circuits, examples in clustered order.

    The strip on the left has one colour for each label (ABBA or BABA for IOI), named below if there are few.
    """
    figure, axes = style.grid(len(models), len(tasks), width=1.7, height=1.5)
    image = None
    for model, task, ax in each(models, tasks, axes):
        order = pick(clusters, model=model, task=task, top_k=top_k).sort_values("place")
        position = {example: place for place, example in enumerate(order["example"])}
        matrix = np.eye(len(position))
        rows = pick(pairs, model=model, task=task, top_k=top_k)
        first = rows["first"].map(position).to_numpy()
        second = rows["second"].map(position).to_numpy()
        matrix[first, second] = matrix[second, first] = rows["jaccard"]
        image = ax.imshow(matrix, vmin=0, vmax=1, cmap=style.SEQUENTIAL, interpolation="nearest")
        named, variants = np.unique(order["variant"].to_numpy(str), return_inverse=True)
        strip = ax.inset_axes([-0.09, 0, 0.06, 1])
        strip.imshow(variants[:, None], aspect="auto", cmap="tab10", vmin=0, vmax=9, interpolation="nearest")
        strip.set_axis_off()
        if len(named) > FEW:
            ax.set_xlabel(f"strip: {len(named)} kinds of prompt")
        elif len(named) > 1:
            shades = [Patch(color=pyplot.get_cmap("tab10")(number)) for number in range(len(named))]
            ax.legend(shades, named, loc="upper center", bbox_to_anchor=(0.5, -0.03), ncols=2, handlelength=0.8)
        ends = np.flatnonzero(np.diff(order["cluster"].to_numpy())) + 0.5
        for end in ends:
            ax.axhline(end, color="white", linewidth=0.8)
            ax.axvline(end, color="white", linewidth=0.8)
        ax.set_xticks([])
        ax.set_yticks([])
    label_grid(axes, models, tasks, titles, None, "train examples\n")
    figure.colorbar(image, ax=axes, label="Jaccard index of example circuits", fraction=0.03)
    return figure
