"""The page of findings of the reuse study: its numbers at one K and threshold, and what they do not say."""

from circuit_reuse.data.gather import pick
from circuit_reuse.report import pages
from circuit_reuse.report.numbers import interval, k_label, number, percent, small

LIMITS = (
    "A circuit is what the attribution of single examples has in common: components that matter only together, or only in some examples, are missed.",
    "Effects are those of one replacement; another one asks another question.",
    "q is over all circuits by one method; with few random sets it cannot be small, whatever the effect is.",
    "Random sets of the same layers hold the only MLP of a layer whenever the circuit does, so of circuits with MLPs p speaks of the heads.",
    "Intervals and tests are over clusters of examples that are near copies; they say nothing of other wordings.",
    "That a circuit is not shown to be generic is no proof that it is not: the texts are few.",
)


def text(found, cfg):
    """The page, in Markdown.

    found: the tables that the sentences are drawn from;  cfg: what the study's settings name
    """
    start = (
        "# Findings of the reuse study\n\nWritten by the workflow from its tables; run it again and this page follows the numbers.\n\n"
        f"Circuits of {cfg['method']}, {k_label(cfg['top_k'])}, shared by at least {percent(cfg['threshold'])} of the train examples; effects on held-out examples. "
        "All other K, thresholds and methods are in summary.csv."
    )
    parts = [start, "## The shared circuits\n\n" + circuits(found["summary"], cfg)]
    parts.append("## Own circuit against those of other tasks\n\n" + specificity(found["specificity"], cfg))
    parts.append("## Ordinary text\n\n" + texts(found["generic"], cfg))
    parts.append("## What this page cannot say\n\n" + "\n".join(f"* {each}" for each in LIMITS))
    return "\n\n".join(parts) + "\n"


def chosen(table, cfg):
    """Rows of the method, K and threshold of the figures."""
    return pick(table, method=cfg["method"], top_k=cfg["top_k"], threshold=cfg["threshold"])


def circuits(table, cfg):
    """A row a model and task."""
    header = ["model", "task", "components", "reuse (by chance)", "effect", "random sets of its layers", "p", "q"]
    rows = [
        [
            row["model"],
            cfg["titles"].get(row["task"], row["task"]),
            f"{row['n_components']:.0f}",
            f"{percent(row['reuse'])} ({percent(row['reuse_null'])})",
            interval(row, "effect"),
            number(row["effect_random"]),
            small(row["p_value"]),
            small(row["q_value"]),
        ]
        for row in chosen(table, cfg).to_dict("records")
    ]
    return pages.table(header, rows) if rows else "No circuit was tested."


def specificity(table, cfg):
    """A row an ordered pair of tasks: the own circuit's effect less that of the other's."""
    header = ["model", "on the examples of", "circuit of", "own effect", "its effect", "own - other", "q"]
    rows = [
        [
            row["model"],
            *(cfg["titles"].get(row[side], row[side]) for side in ("target", "source")),
            number(row["own"]),
            number(row["other"]),
            interval(row, "difference"),
            small(row["q_value"]),
        ]
        for row in chosen(table, cfg).to_dict("records")
        if row["component_set"] == "circuit" and row["n_components_own"] and row["n_components_other"]
    ]
    return pages.table(header, rows) if rows else "No pair of circuits was compared."


def texts(table, cfg):
    """A row a model and task: what removing the circuit adds to the loss of ordinary text."""
    header = ["model", "task", "added to the loss (nats per token)", "random sets of its layers", "q"]
    rows = [
        [
            row["model"],
            cfg["titles"].get(row["task"], row["task"]),
            interval(row, "loss_change"),
            number(row["loss_change_random"]),
            small(row["q_value"]),
        ]
        for row in chosen(table, cfg).to_dict("records")
    ]
    return pages.table(header, rows) if rows else "Ordinary text was not asked for."
