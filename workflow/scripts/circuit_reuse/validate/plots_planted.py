"""Figure of the planted circuits: which method finds which."""

import numpy as np

from circuit_reuse.report import style


def planted(summary):
    """A map of AUROC, methods against planted models; below 1 the value is written.

    summary: model, method, auroc, auroc_low, auroc_high
    """
    methods = list(dict.fromkeys(summary["method"]))
    models = list(dict.fromkeys(summary["model"]))
    values = summary.pivot(index="model", columns="method", values="auroc").loc[models, methods]
    figure, axes = style.grid(1, 1, width=3.6, height=0.24 * len(models))
    ax = axes[0, 0]
    image = ax.imshow(values, cmap="viridis", vmin=0.25, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        text = "1" if value == 1 else f"{value:.2f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=6.5, color="black" if value > 0.7 else "white")
    ax.set_xticks(range(len(methods)), methods, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(models)), [name.replace("_", " ") for name in models])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    figure.colorbar(image, ax=ax, label="AUROC (mean over seeds)", shrink=0.8)
    return figure
