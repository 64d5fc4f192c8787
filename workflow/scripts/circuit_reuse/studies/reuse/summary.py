"""The tables of the reuse study that people read: CSV, JSON and LaTeX."""

from pathlib import Path

import pandas as pd

from circuit_reuse.data import gather, tables
from circuit_reuse.report.latex import escape, p_cell
from circuit_reuse.stats import statistics
from circuit_reuse.studies.reuse import families, layers, optimal, published_tables, schemas

FIRST = (
    "model task method top_k threshold n_components reuse reuse_null effect effect_low effect_high effect_control "
    "lift p_mcnemar p_permutation p_value q_value n_examples split"
).split()


def summarise(job):
    """Every table that the report and a paper need."""
    cfg = job.cfg
    tests = gather.rows(job.input.tests, schemas.TESTS)
    reuse = gather.rows(job.input.reuse, schemas.REUSE).rename(columns={"n_examples": "n_examples_train"})
    table = summary(tests, reuse)
    written = {
        "summary": table,
        "aggregated": published_tables.aggregated(table, cfg["titles"], cfg["revisions"]),
        "cross": gather.rows(job.input.cross, schemas.CROSS),
        "specificity": families.specificity(job.input.specificity),
        "layers": pd.DataFrame(layers.rows(gather.rows(job.input.inclusion, schemas.INCLUSION))),
        "overlap": families.overlap(job.input.overlap),
        "stability": gather.rows(job.input.stability, schemas.STABILITY),
        "generic": generic(gather.rows(job.input.generic, schemas.GENERIC, empty=("model", "method"))),
        "accuracy": accuracy(gather.rows(job.input.all_examples, tables.EXAMPLES)),
    }
    if job.input.optimal:
        written["optimal"] = optimal_table(job.input.optimal, cfg)
    if job.input.fine:
        fine = gather.rows(job.input.fine, schemas.FINE_GRAINED)
        fine = statistics.with_q(fine, "p_value", within=("level",))
        # A set that is shared at several thresholds is removed once, and is one hypothesis.
        hypothesis = ["model", "task", "level", "shared_set"]
        written["fine_grained"] = statistics.with_q(fine, "p_effect", within=("level",), once=hypothesis)
        written["fine_grained_shared"] = gather.rows(job.input.fine_shared, schemas.FINE_GRAINED_SHARED)
    if job.input.agreement:
        agreement = gather.rows(job.input.agreement, schemas.AGREEMENT)
        written["agreement"] = agreement.groupby(["model", "task", "method"], as_index=False).agg(
            rank_correlation=("rank_correlation", "mean"),
            top_overlap=("top_overlap", "mean"),
            n_examples=("example", "count"),
        )
    job.write_csvs(written, schemas.CSVS)
    Path(job.output.latex).write_text(latex(table, cfg["titles"]))
    for path in job.output.metrics:
        model, task = Path(path).parts[-3:-1]
        mine = gather.pick(table, model=model, task=task, method=cfg["method"])
        if not mine.empty:
            published_tables.write_json(path, published_tables.metrics(mine, cfg["revisions"][model], cfg["settings"]))
    job.log.info("%d rows", len(table))


def summary(tests, reuse):
    """Tests and reuse side by side, with false discovery rates over all that is tested by one method."""
    keys = ["model", "task", "method", "top_k", "threshold"]
    columns = [c for c in reuse.columns if c in keys or c not in tests.columns]
    table = tests.merge(reuse[columns], on=keys, how="left", validate="one_to_one")
    for p_value in ("p_reuse", "p_reuse_other"):
        table = statistics.with_q(table, p_value, within=("method",))
    table = families.tests(table)
    for p_value in ("p_uniform", "p_norm", "p_permutation", "p_mcnemar"):
        table = statistics.with_q(table, p_value, within=("method",), once=families.HYPOTHESIS)
    rest = [name for name in table.columns if name not in FIRST]
    return table[[*FIRST, *rest]].sort_values(keys, ignore_index=True)


def optimal_table(paths, cfg):
    """optimal.csv of all models, tasks and methods, a family for each method."""
    rows = []
    for (model, task, method), path in gather.one_by(paths, "model", "task", "method").items():
        stream = (cfg["settings"]["seed"], model, task, method)
        row = optimal.row_of(tables.read(path, schemas.OPTIMAL_RUNS), cfg["settings"], stream)
        rows.append({"model": model, "task": task, "method": method} | row)
    return statistics.with_q(pd.DataFrame(rows), "p_value", within=("method",))


def generic(table):
    """Generic importance with a family for each question: does text need the circuit, does the task need it more?

    Two tasks may have the same circuit, but each has random sets of its own, so that each is a test.
    """
    table = statistics.with_q(table, "p_value", within=("method",))
    return statistics.with_q(table, "p_left", within=("method",))


def latex(table, titles):
    """A compact table of p-values that compiles with booktabs."""
    lines = [
        r"\begin{tabular}{lllrrrrrrr}",
        r"\toprule",
        r"Model & Task & Method & $K$ & $p$ (\%) & size & $p_{\mathrm{McNemar}}$ & "
        r"$p_{\mathrm{perm}}$ & $p_{\mathrm{rank}}$ & $q$ \\",
        r"\midrule",
    ]
    before = None
    for row in table.itertuples():
        here = (row.model, row.task, row.method)
        names = [row.model, titles[row.task], row.method] if here != before else ["", "", ""]
        if before is not None and here[:2] != before[:2]:
            lines.append(r"\addlinespace")
        before = here
        values = [p_cell(getattr(row, c)) for c in ("p_mcnemar", "p_permutation", "p_value", "q_value")]
        numbers = [f"{row.top_k:g}", f"{100 * row.threshold:g}", str(row.n_components), *values]
        lines.append(" & ".join([*map(escape, names), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def accuracy(examples):
    """Held-out and train accuracy of the intact model, and how many pairs are valid."""
    rows = []
    for (model, task, split), part in examples.groupby(["model", "task", "split"]):
        valid = part[part["valid"]]
        rows.append(
            {
                "model": model,
                "task": task,
                "split": split,
                "n_examples": len(part),
                "n_valid": len(valid),
                "accuracy": valid["correct"].astype(bool).mean(),
                "clean_metric": valid["clean_metric"].mean(),
                "corrupt_metric": valid["corrupt_metric"].mean(),
            }
        )
    return pd.DataFrame(rows)
