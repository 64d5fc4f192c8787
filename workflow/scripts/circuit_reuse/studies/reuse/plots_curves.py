"""Figures of faithfulness against circuit size; panels are models (rows) and tasks (columns)."""

from matplotlib.lines import Line2D

from circuit_reuse.report import style
from circuit_reuse.studies.reuse.plots import each, panels, pick

LOOK = {
    "absolute": (style.CIRCUIT, "o", "by |score|"),
    "signed": (style.OTHER, "s", "by score, helpful first"),
    "random": (style.CONTROL, "^", "random"),
}


def curves(table, models, tasks, titles, level):
    """Faithfulness against the share of nodes or edges kept, with intervals over examples."""
    figure, axes = panels(models, tasks, titles, f"{level}s kept (%)", "faithfulness", width=1.9, height=1.6)
    for model, task, ax in each(models, tasks, axes):
        ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
        ax.axhline(1, color="0.85", linewidth=0.8, zorder=0)
        ax.set_xscale("log")
        ax.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        # Where clean and corrupt are close the interval is wide; the curve is what one looks for.
        ax.set_ylim(-0.4, 1.9)
        rows = pick(table, model=model, task=task)
        if rows.empty:
            ax.text(0.5, 0.5, "no edge scores", transform=ax.transAxes, ha="center", va="center")
            continue
        for ranking, (color, marker, _) in LOOK.items():
            line = pick(rows, ranking=ranking).sort_values("share_kept").astype({"faithfulness": float})
            share = 100 * line["share_kept"]
            ax.plot(share, line["faithfulness"], color=color, marker=marker)
            low, high = (line[f"faithfulness_{end}"].astype(float) for end in ("low", "high"))
            ax.fill_between(share, low, high, color=color, alpha=0.2, linewidth=0)
        cmd, cpr = (rows[name].dropna() for name in ("cmd", "cpr"))
        if len(cmd) and len(cpr):
            ax.text(
                0.03,
                0.97,
                f"CMD {cmd.iloc[0]:.2f}\nCPR {cpr.iloc[0]:.2f}",
                transform=ax.transAxes,
                va="top",
                fontsize=6.5,
            )
    handles = [Line2D([], [], color=color, marker=marker) for color, marker, _ in LOOK.values()]
    labels = [label for *_, label in LOOK.values()]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
