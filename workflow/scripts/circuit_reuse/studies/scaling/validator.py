"""Is a joint table of head effects sound?  The published one, or a user's own.

A finding names what is wrong, where, and which conclusions it touches.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse.data import csv_tables, fingerprint
from circuit_reuse.studies.scaling import schemas
from circuit_reuse.studies.scaling.columns import TableError, rows_of, tasks_of

KINDS = {
    "outside": "rows of heads that the model does not have",
    "identical": "pairs of models with the same scan",
    "imputed": "cells that are exactly 0: imputed (or rounded), not measured",
    "missing": "heads of the model without a row",
    "repeated": "rows of a head that has one already",
    "not finite": "cells that are empty or not a number",
    "one-sided": "values of one sign only, as a list of the most negative gives",
    "unknown shape": "models whose layers and heads are not known, so not checked",
}
# What the published table is known to hold (reference analysis of its release).
KNOWN_OF_PUBLISHED = {"outside": 24, "identical": 6, "imputed": 352}
TOUCHES = {
    "outside": "Counts, depths, correlation and heroes of the model include heads that do not exist.",
    "identical": "Nothing that compares these models in this task holds: one scan stands for several.",
    "imputed": "Classes of one task only, and the correlation, rest on values nobody measured.",
    "missing": "Shares, strength distribution and correlation are those of a selection of heads.",
    "repeated": "The head counts twice in every number.",
    "not finite": "The head has no class, and drops out of the correlation.",
    "one-sided": "Suppressing heads were dropped, or the list was cut at the strongest.",
    "unknown shape": "Neither heads outside the model nor missing ones can be estimated.",
}
COLUMNS = ["kind", "model", "task", "count", "what", "touches"]


def run(job):
    """Findings as a table and as a page."""
    table = pd.DataFrame(rows_of(job.input.table))
    shapes = csv_tables.read(job.input.shapes).set_index("model").to_dict("index")
    for name, path in zip(job.cfg["names"], job.input.models, strict=True):
        try:
            space = fingerprint.shape(Path(path).parent)
        except fingerprint.ModelError as problem:
            # The config names it, this table may not.
            job.log.warning("the shape of %s is not known: %s", name, problem)
            continue
        shapes[name] = {"layers": space.layers, "heads": space.heads}
    found = validate(table, shapes)
    csv_tables.write(job.output.findings, found, schemas.CSVS["validation"])
    Path(job.output.page).write_text(text(job.wildcards.table, found))
    job.log.info("%d findings", len(found))


def outside(table, shapes):
    """Which rows name a head that the model does not have, [row] bool."""
    layers = table["model"].map({m: s["layers"] for m, s in shapes.items()})
    heads = table["model"].map({m: s["heads"] for m, s in shapes.items()})
    negative = (table["layer"] < 0) | (table["head"] < 0)
    return ((table["layer"] >= layers) | (table["head"] >= heads) | negative).to_numpy(bool)


def validate(table, shapes):
    """All findings of a joint table.

    table:   columns family, model, layer, head and two of delta_<task>; rows of one replacement
    shapes:  {model: {"layers", "heads"}}, as far as known
    returns: a DataFrame with the columns kind, model, task, count, what, touches
    raises:  TableError for a table with other columns
    """
    deltas = tasks_of(table.columns)
    if table.empty:
        raise TableError("the table has no rows")
    found = []
    # Two families may have a model of one name.
    families = table.groupby("model")["family"].transform("nunique") if "family" in table else pd.Series(1, table.index)
    whole = table["family"].astype(str) + "/" + table["model"].astype(str) if "family" in table else table["model"]
    table = table.assign(model=table["model"].where(families < 2, whole))
    for model, mine in table.groupby("model", sort=False):
        found += of_model(model, mine, shapes, deltas)
    found += identical(table, deltas)
    rows = [[kind, model, task, count, what, TOUCHES[kind]] for kind, model, task, count, what in found]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"task": object})


def of_model(model, mine, shapes, deltas):
    """Findings of one model's rows."""
    repeated = int(mine.duplicated(["layer", "head"]).sum())
    if repeated:
        yield "repeated", model, None, repeated, named(mine[mine.duplicated(["layer", "head"])])
    if model not in shapes:
        yield "unknown shape", model, None, 1, "give its layers and heads in the table or a model of that name"
    else:
        shape = shapes[model]
        away = outside(mine, shapes)
        total = shape["layers"] * shape["heads"]
        if away.any():
            yield (
                "outside",
                model,
                None,
                int(away.sum()),
                f"it has {shape['layers']} layers of {shape['heads']} heads; {named(mine[away])}",
            )
        there = mine[~away].drop_duplicates(["layer", "head"])
        if len(there) < total:
            yield "missing", model, None, total - len(there), f"{len(there)} of {total} heads have a row"
    for delta in deltas:
        task, values = delta.removeprefix("delta_"), mine[delta].to_numpy(float)
        known = values[np.isfinite(values)]
        if len(known) < len(values):
            yield "not finite", model, task, len(values) - len(known), named(mine[~np.isfinite(values)])
        zeros = int((known == 0).sum())
        if zeros:
            yield "imputed", model, task, zeros, imputed(mine, delta, deltas)
        measured = known[known != 0]
        if len(measured) > 5 and ((measured < 0).all() or (measured > 0).all()):
            end = np.abs(measured).min()
            yield "one-sided", model, task, len(measured), f"all have one sign; the weakest is {end:.3g}"


def imputed(mine, delta, deltas, tau=0.05):
    """How many labels of the other task alone stand on a zero of this one."""
    other = next(name for name in deltas if name != delta)
    zero = mine[delta] == 0
    alone = (mine[other].abs() >= tau) & (mine[delta].abs() < tau)
    label = other.removeprefix("delta_")
    return (
        f"{int(zero.sum())} of {len(mine)}; {int((alone & zero).sum())} of {int(alone.sum())} heads "
        f"that are {label} only at |delta| >= {tau:g} rest on one"
    )


def identical(table, deltas):
    """Pairs of models that share a task's whole scan: the same values at the same heads."""
    for delta in deltas:
        scans = {}
        for model, mine in table.groupby("model", sort=False):
            measured = mine[mine[delta].notna() & (mine[delta] != 0)]
            scans[model] = dict(
                zip(zip(measured["layer"], measured["head"], strict=True), measured[delta], strict=True)
            )
        for first, second in combinations(scans, 2):
            shared = scans[first].keys() & scans[second].keys()
            equal = sum(scans[first][place] == scans[second][place] for place in shared)
            # Two separate runs of different models agree to the last digit by chance nowhere.
            if equal >= 3 and equal >= 0.9 * len(shared):
                yield (
                    "identical",
                    f"{first}, {second}",
                    delta.removeprefix("delta_"),
                    equal,
                    f"{equal} of {len(shared)} common values are equal to the last digit",
                )


def named(rows, most=6):
    """The first heads by name."""
    names = [f"L{int(layer)}H{int(head)}" for layer, head in zip(rows["layer"], rows["head"], strict=True)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def text(name, found):
    """The findings as a page for people."""
    lines = [f"# Validation of {name}", ""]
    if found.empty:
        return "\n".join([*lines, "Nothing was found: every head of every model, measured, once.", ""])
    for kind, title in KINDS.items():
        mine = found[found["kind"] == kind]
        if mine.empty:
            continue
        count = len(mine) if kind == "identical" else int(mine["count"].sum())
        lines += [f"## {count} {title}", "", TOUCHES[kind], ""]
        for line in mine.to_dict("records"):
            where = line["model"] + (f", {line['task']}" if isinstance(line["task"], str) else "")
            lines.append(f"* {where}: {line['what']}")
        lines.append("")
    return "\n".join(lines)
