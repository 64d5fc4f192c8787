"""The stage that sets the claims of a paper beside the tables of the run: a table and a page."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd

from circuit_reuse.data import csv_tables, left_out
from circuit_reuse.papers import claims, schemas
from circuit_reuse.report import pages
from circuit_reuse.studies.sequences import published_check


def check(job):
    """The claims table of a paper and its page."""
    about = claims.read(job.input.claims)
    folder = Path(job.output.table).parents[1]
    names = {each["table"] for each in about["claims"]} | {*about.get("checks", ()), *about.get("reads", ())}
    tables = {name: csv_tables.read(folder / name) for name in sorted(names) if usable(folder / name)}
    if job.input.published:
        name = "sequences/published_check.csv"
        circuits, numbers = (json.loads(Path(path).read_text()) for path in job.input.published)
        files = {"cross": "cross_task", "importance": "importance", "ov": "ov_scores"}
        run = {key: tables.get(f"sequences/{file}.csv") for key, file in files.items()}
        tables[name] = published_check.of_other_models(tables[name], circuits["circuits"], numbers, run)
    found = pd.DataFrame(claims.rows_of(about, tables, job.cfg["config"]), columns=list(schemas.CLAIMS))
    csv_tables.write(job.output.table, found, schemas.CLAIMS)
    figures = {title: f"{path}.{job.cfg['format']}" for title, path in job.cfg["figures"].items()}
    pages.write(job, page(about, found, figures))
    job.log.info("%s", ", ".join(f"{number} {verdict}" for verdict, number in Counter(found["verdict"]).items()))


def usable(path):
    """Whether a table is there and holds more than why it was left out."""
    return path.is_file() and path.stat().st_size > 0 and left_out.record_of(path) is None


def page(about, found, figures):
    """The page, in Markdown: what was published beside what came out, figures, and what is missing.

    figures: {title: path from the page}
    """
    counts = Counter(found["verdict"])
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in claims.VERDICTS if counts[verdict])
    lines = [f"# {about['title']}", "", about["source"], "", f"{len(found)} claims: {verdicts}.", ""]
    rows = []
    for row in found.astype(object).where(found.notna(), None).to_dict("records"):
        ours = row["ours"] or "-"
        if row["low"] is not None:
            ours += f" [{row['low']:.4g}, {row['high']:.4g}]"
        if row["models"]:
            ours += f" ({row['models']})"
        cells = (row["text"], row["where"], row["published"], row["expected"], ours, row["verdict"], row["why"])
        rows.append([str(cell or "").replace("|", "/") for cell in cells])
    lines += [
        pages.table(["claim", "where", "published", "expected", "ours", "verdict", "why"], rows),
        "",
        "Agrees and differs are by the whole interval where there is one; undecided: the interval holds both.",
        "",
    ]
    for title, path in figures.items():
        lines += [f"![{title}]({path})", ""]
    return "\n".join(lines)
