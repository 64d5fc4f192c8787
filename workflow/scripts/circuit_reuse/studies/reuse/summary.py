"""The tables of the reuse study that people read: CSV, JSON and LaTeX."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse.data import gather, tables
from circuit_reuse.stats import statistics
from circuit_reuse.studies.reuse import schemas

FIRST = (
    "model task method top_k threshold circuit_size reuse reuse_null effect effect_low effect_high control_effect "
    "lift p_mcnemar p_permutation p_rank q_value n_examples split"
).split()


def summarise(job):
    """Every table that the report and a paper need."""
    cfg = job.cfg
    tests = gather.rows(job.input.tests, schemas.TESTS)
    reuse = gather.rows(job.input.reuse, schemas.REUSE).rename(columns={"n_examples": "n_examples_train"})
    table = summary(tests, reuse)
    written = {
        "summary": table,
        "aggregated": aggregated(table, cfg["titles"], cfg["revisions"]),
        "cross": gather.rows(job.input.cross, schemas.CROSS),
        "accuracy": accuracy(gather.rows(job.input.all_examples, tables.EXAMPLES)),
    }
    if job.input.agreement:
        agreement = gather.rows(job.input.agreement, schemas.AGREEMENT)
        written["agreement"] = agreement.groupby(["model", "task", "method"], as_index=False).agg(
            rank_correlation=("rank_correlation", "mean"),
            top_overlap=("top_overlap", "mean"),
            n_examples=("example", "count"),
        )
    job.write_csvs(written)
    Path(job.output.latex).write_text(latex(table, cfg["titles"]))
    for path in job.output.metrics:
        model, task = Path(path).parts[-3:-1]
        mine = table[(table["model"] == model) & (table["task"] == task)]
        mine = mine[mine["method"] == cfg["method"]]
        if not mine.empty:
            write_json(path, metrics(mine, cfg["revisions"][model], cfg["settings"]))
    job.log.info("%d rows", len(table))


def summary(tests, reuse):
    """Tests and reuse side by side, with false discovery rates over the whole study.

    q_value is for p_rank, q_permutation and q_mcnemar for the others.  A circuit that is
    shared at several thresholds is one hypothesis and counts once.
    """
    keys = ["model", "task", "method", "top_k", "threshold"]
    columns = [c for c in reuse.columns if c in keys or c not in tests.columns]
    table = tests.merge(reuse[columns], on=keys, how="left", validate="one_to_one")
    hypothesis = ["model", "task", "method", "circuit"]
    for p_value in ("p_reuse", "p_reuse_other"):
        table = statistics.with_q(table, p_value)
    for p_value, q_value in (("p_rank", "q_value"), ("p_permutation", None), ("p_mcnemar", None)):
        table = statistics.with_q(table, p_value, q_value, once=hypothesis)
    rest = [name for name in table.columns if name not in FIRST]
    return table[[*FIRST, *rest]].sort_values(keys, ignore_index=True)


def aggregated(table, titles, revisions):
    """The table that the reference study calls aggregated_by_task_model_k, in its columns.

    Everything is measured on held-out examples, which it calls val; its train columns, the
    same tests on the examples that the circuits were chosen on, stay empty on purpose.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ablated = table["accuracy"] - table["accuracy_circuit"].astype(float)
        control = table["accuracy"] - table["accuracy_control"].astype(float)
        ratio = (ablated / control).where(control != 0)
    return pd.DataFrame(
        {
            "model_name": table["model"],
            "hf_revision": table["model"].map(revisions),
            "task": table["task"],
            "method": table["method"],
            "num_examples": table["n_examples"] + table["n_examples_train"],
            "baseline_train_accuracy": None,
            "baseline_val_accuracy": table["accuracy"],
            "_metrics_path": table["model"] + "/" + table["task"] + "/metrics.json",
            "top_k": table["top_k"],
            "reuse_threshold": table["threshold"],
            "reuse_percent": table["reuse"],
            "shared_circuit_size": table["circuit_size"],
            "train_knockout_diff": None,
            "val_knockout_diff": ratio,
            "perm_train_p": None,
            "perm_train_obs": None,
            "perm_val_p": table["p_mcnemar"],
            "perm_val_obs": table["accuracy_control_0"] - table["accuracy_circuit"],
            "task_display": table["task"].map(titles),
            "model_display": table["model"],
            "method_display": table["method"],
        }
    )


def metrics(table, revision, cfg):
    """metrics.json of one model and task, in the shape of the reference study (version 3).

    table: its rows of the summary;  returns: a dict without any number that is not finite
    """
    by_k = {}
    for row in table.to_dict("records"):
        shared = {
            "threshold": row["threshold"],
            "shared_circuit": row["circuit"],
            "shared_circuit_size": row["circuit_size"],
            "reuse_percent": row["reuse"],
            "reuse_null_percent": row["reuse_null"],
            "val": {
                name: row[name]
                for name in tuple(
                    (
                        "accuracy_circuit accuracy_control effect effect_low effect_high control_effect lift p_mcnemar "
                        "p_permutation p_rank q_value faithfulness n_controls problem"
                    ).split()
                )
            },
        }
        k = by_k.setdefault(f"{row['top_k']:g}", {"k": row["k"], "thresholds": {}})
        k["thresholds"][f"{row['threshold']:g}"] = shared
    first = table.iloc[0]
    return finite(
        {
            "version": 3,
            "model_name": first["model"],
            "hf_revision": revision,
            "task": first["task"],
            "method": first["method"],
            "num_examples": first["n_examples"] + first["n_examples_train"],
            "baseline_val_accuracy": first["accuracy"],
            "baseline_val_metric": first["metric"],
            "config": cfg,
            "by_k": by_k,
        }
    )


def finite(value):
    """Plain JSON values; what is missing or not finite becomes null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value


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
        values = [p_text(getattr(row, c)) for c in ("p_mcnemar", "p_permutation", "p_rank", "q_value")]
        numbers = [f"{row.top_k:g}", f"{row.threshold:g}", str(row.circuit_size), *values]
        lines.append(" & ".join([*map(escape, names), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def p_text(value):
    """A p-value with two significant digits; a dash where there is no test."""
    if value is None or pd.isna(value):
        return "--"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.1g}" if value >= 0.001 else f"$<${0.001:g}"


def escape(text):
    """Text as LaTeX prints it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in str(text))


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
                "examples": len(part),
                "valid": len(valid),
                "accuracy": valid["correct"].astype(bool).mean(),
                "clean_metric": valid["clean_metric"].mean(),
                "corrupt_metric": valid["corrupt_metric"].mean(),
            }
        )
    return pd.DataFrame(rows)


def write_json(path, value):
    """Strict JSON."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value, indent=1, allow_nan=False, sort_keys=True) + "\n")
