"""Claims of published studies beside what the tables of a run say.

A claim names the table and the rows that answer it, the number that is read from them, and what it must be, with a tolerance
that was set beforehand.  resources/papers/<study>.yaml has those of each paper.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

# What a comparison in a claim may say, such as "<= 0.05".
COMPARISONS = {"<=": np.less_equal, ">=": np.greater_equal, "<": np.less, ">": np.greater}
OVER = {"second_lowest": lambda values: np.sort(values)[min(1, len(values) - 1)]}
OVER |= {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max, "sum": np.sum}
# agrees, differs: by the whole interval where there is one; undecided: the interval holds both; other models: a number of certain
# models was published, and none of them was run.
VERDICTS = ("agrees", "differs", "undecided", "other models", "not run")
KEYS = {
    "id",
    "claim",
    "where",
    "published",
    "table",
    "rows",
    "value",
    "over",
    "when",
    "unless",
    "divide_by",
    "less",
    "match",
    "expect",
    "place",
    "models",
    "instead",
    "needs",
    "note",
}


class ClaimError(ValueError):
    """A file of claims that cannot be used."""


def read(path):
    """The file of a paper: {title, source, cost, checks: tables of published numbers, reads: more tables, claims: list of dicts}.

    raises: ClaimError for a claim that lacks something, has an unknown key, or stands twice
    """
    about = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    seen = set()
    for each in about["claims"]:
        name = f"{path}: claim {each.get('id')!r}"
        if missing := {"id", "claim", "where", "published", "table", "value", "expect"} - set(each):
            raise ClaimError(f"{name} lacks {', '.join(sorted(missing))}")
        if unknown := set(each) - KEYS:
            raise ClaimError(f"{name} has the unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(KEYS))}")
        if each["id"] in seen:
            raise ClaimError(f"{name} stands twice")
        seen.add(each["id"])
    return about


def chosen(table, rows):
    """The rows of a table with given values.

    rows: {column or expression: a value, a list of values, null for a missing one, or a comparison such as "<= 0.05"}
    """
    for name, wanted in (rows or {}).items():
        compared = re.fullmatch(r"(<=|>=|<|>)\s*(\S+)", wanted) if isinstance(wanted, str) else None
        if compared:
            values = table[name] if name in table else table.eval(name, engine="python")
            table = table[COMPARISONS[compared[1]](values.astype(float), float(compared[2]))]
        else:
            wanted = wanted if isinstance(wanted, list) else [wanted]
            table = table[table[name].isin(wanted) | (table[name].isna() & (None in wanted))]
    return table


def stand_ins(claim, table):
    """The rows of models whose number was not published, of one of them where a claim says which rows those are."""
    rows = chosen(table, claim.get("instead", claim.get("rows")))
    rows = rows[~rows["model"].isin(claim["models"])]
    return rows[rows["model"] == rows["model"].iloc[0]] if "instead" in claim and len(rows) else rows


def answer(claim, table):
    """(value, low, high, rows used) of a claim from its table; None for the value where no row answers it.

    value:  an expression of columns (pandas.eval), of the rows;  over: how several rows are one number
    when:   instead of an expression's value the share of rows in which a comparison holds: {column or expression: comparison}
    models: whose number was published;  instead: the rows that stand in where only other models were run
    divide_by, less: rows by whose value each is divided, or whose value is taken from each, matched by the columns `match`
    low, high: the ends of the interval, of a single row of one column that has them
    """
    # A table leaves a column out where nothing could be computed for it.
    named = re.findall(
        r"[a-z_]\w*",
        " ".join([claim["value"], *claim.get("rows", {}), *claim.get("when", {}), *claim.get("unless", {})]),
    )
    table = table.assign(**{name: np.nan for name in named if name not in table})
    rows = chosen(table, claim.get("rows"))
    if claim.get("models"):
        # Where none of the paper's models was run, others answer, and the row says so.
        own = rows[rows["model"].isin(claim["models"])]
        rows = own if len(own) else stand_ins(claim, table)
    if "when" in claim:
        rows = rows[complete(rows, claim["when"])]
        return (len(chosen(rows, claim["when"])) / len(rows) if len(rows) else None), None, None, rows
    values = rows.eval(claim["value"], engine="python") if len(rows) else pd.Series(dtype=float)
    beside = claim.get("divide_by") or claim.get("less")
    if beside and len(rows):
        others = chosen(table, beside).set_index(claim["match"])
        theirs = others.eval(claim["value"], engine="python").groupby(level=claim["match"]).first()
        theirs = theirs.reindex(pd.MultiIndex.from_frame(rows[claim["match"]])).to_numpy(float)
        own = values.to_numpy(float)
        # A quotient of nothing is left out below.
        with np.errstate(divide="ignore", invalid="ignore"):
            values = pd.Series(own / theirs if "divide_by" in claim else own - theirs, rows.index)
    known = values.notna() if values.dtype == object else np.isfinite(values.astype(float))
    rows, values = rows[known], values[known]
    if not len(rows):
        return None, None, None, rows
    if len(rows) == 1:
        row, low = rows.iloc[0], f"{claim['value']}_low"
        whole = low in rows and not beside
        ends = (float(row[low]), float(row[f"{claim['value']}_high"])) if whole else (None, None)
        value = values.iloc[0]
        return (value if isinstance(value, str) else float(value)), *ends, rows
    return float(OVER[claim.get("over", "mean")](values.astype(float))), None, None, rows


def complete(rows, comparisons):
    """Rows in which all that is compared has a value, [row] bool."""
    values = [rows[name] if name in rows else rows.eval(name, engine="python") for name in comparisons]
    return pd.concat(values, axis=1).notna().all(axis=1) if len(rows) else np.zeros(0, dtype=bool)


def undecided(claim, rows):
    """Whether too few rows are evidence against a claim on the share of rows `when` for it to differ: unless, comparisons as of `when`."""
    if "unless" not in claim or not len(rows):
        return False
    return len(chosen(rows, claim["unless"])) / len(rows) <= 1 - claim["expect"]["at_least"]


def place_of(claim, table, used):
    """How many rows of a ranking are before the one that answers a claim, and one; None where it is not one row.

    claim: place, {number: of the claim, from: lowest or highest, of: rows that are ranked}, of its model and without the input,
           which no score was published of
    """
    if len(used) != 1:
        return None
    ranked = chosen(table, claim["place"].get("of"))
    ranked = ranked[ranked["model"] == used["model"].iloc[0]]
    if "component" in ranked:
        ranked = ranked[ranked["component"] != "input"]
    values, own = (rows.eval(claim["value"], engine="python").astype(float) for rows in (ranked, used))
    before = values < own.iloc[0] if claim["place"]["from"] == "lowest" else values > own.iloc[0]
    return 1 + int(before.sum())


def holds(expect, value):
    """Whether a value is as a claim expects: {near, within}, {at_least}, {at_most}, {between}, or {equals}."""
    if "equals" in expect:
        return str(value) == str(expect["equals"])
    low, high = limits(expect)
    return low <= value <= high


def limits(expect):
    """The least and the largest value that a claim allows: {near, within}, {at_least}, {at_most} or {between}."""
    if "near" in expect:
        return expect["near"] - expect["within"] - 1e-12, expect["near"] + expect["within"] + 1e-12
    return expect.get("between", (expect.get("at_least", -np.inf), expect.get("at_most", np.inf)))


def verdict(expect, value, low=None, high=None):
    """One of VERDICTS for a value and its interval."""
    if value is None:
        return "not run"
    if low is None or not np.isfinite([low, high]).all() or "equals" in expect:
        return "agrees" if holds(expect, value) else "differs"
    if holds(expect, low) and holds(expect, high):
        return "agrees"
    least, most = limits(expect)
    return "undecided" if low <= most and high >= least else "differs"


def expectation(expect):
    """What is expected, in words."""
    if "equals" in expect:
        return str(expect["equals"])
    if "near" in expect:
        return f"{expect['near']:g} ± {expect['within']:g}"
    if "between" in expect:
        return f"{expect['between'][0]:g} to {expect['between'][1]:g}"
    return f"at least {expect['at_least']:g}" if "at_least" in expect else f"at most {expect['at_most']:g}"


def unmet(needs, config):
    """What of {dotted key of the config: value} a run was not asked for, as text; empty if all was."""
    found = []
    for key, wanted in needs.items():
        value = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value != wanted:
            found.append(f"{key}: {wanted}")
    return ", ".join(found)


def rows_of(about, tables, config=None):
    """Rows of the claims table of a paper.

    about:  of `read`;  tables: {name: DataFrame} of those that are there, named as in the claims
    config: what `needs` of a claim is looked up in: settings without which a number cannot be compared with the published one
    """
    found = []
    for claim in about["claims"]:
        row = {
            "claim": claim["id"],
            "text": claim["claim"],
            "where": claim["where"],
            "published": str(claim["published"]),
        }
        row |= {"expected": expectation(claim["expect"]), "table": claim["table"]}
        table = tables.get(claim["table"])
        value, low, high, used = (None, None, None, None) if table is None else answer(claim, table)
        models = sorted(set(used["model"])) if used is not None and "model" in used else []
        other = claim.get("models") and models and not set(models) & set(claim["models"])
        # The number of another model is not compared, whatever its settings.
        other_settings = "" if other else unmet(claim.get("needs", {}), config or {})
        if other_settings:
            value, low, high, models = None, None, None, []
        why = claim.get("note", "")
        if other_settings:
            why = f"needs {other_settings}"
        elif table is None:
            why = f"{claim['table']} was not made; {about['cost']}"
        elif value is None:
            why = f"no row of {claim['table']} answers it"
        if other:
            why = f"published of {', '.join(claim['models'])}, here of other models; {why}".rstrip("; ")
        row |= {
            "ours": value if value is None else written(value),
            "low": low,
            "high": high,
            "models": " ".join(models),
        }
        decided = "other models" if other else verdict(claim["expect"], value, low, high)
        if decided == "differs" and undecided(claim, used):
            decided = "undecided"
        if "place" in claim and decided not in ("other models", "not run"):
            place = place_of(claim, table, used)
            if place != claim["place"]["number"]:
                decided, why = "differs", f"place {place} from the {claim['place']['from']}; {why}".rstrip("; ")
        found.append(row | {"verdict": decided, "why": why})
    for name in about.get("checks", ()):
        found += from_check(name, tables.get(name), about["cost"])
    return found


def from_check(name, table, cost):
    """Rows for a table of published numbers that were recomputed; what had nothing published is no claim."""
    if table is None:
        return [
            {
                "claim": name,
                "text": "published numbers",
                "table": name,
                "verdict": "not run",
                "why": f"{name} was not made; {cost}",
            }
        ]
    rows = []
    for row in table[table["published"].notna()].to_dict("records"):
        recomputed = row["recomputed"] if pd.notna(row["recomputed"]) else None
        agrees = None if pd.isna(row["agrees"]) else str(row["agrees"]) == "True"
        model = row.get("model") if pd.notna(row.get("model")) else ""
        # A number of a model, with no agreement to decide, is that of another model.
        undecided = "not run" if recomputed is None else "other models" if model else "undecided"
        found = {True: "agrees", False: "differs", None: undecided}[agrees]
        why = row["why"] if isinstance(row["why"], str) else ""
        rows.append(
            {
                "claim": row["item"],
                "text": row["item"],
                "where": "published tables and lists",
                "published": str(row["published"]),
                "expected": str(row["published"]),
                "table": name,
                "ours": recomputed if recomputed is None else written(recomputed),
                "models": model,
                "verdict": found,
                "why": why,
            }
        )
    return rows


def written(value):
    """A number or a text as it stands in the table."""
    return f"{value:.4g}" if isinstance(value, (int, float, np.number)) else str(value)
