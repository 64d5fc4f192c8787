"""The stage that says what the tables for people hold: a README beside them."""

from pathlib import Path

from circuit_reuse.studies.registry import STUDIES

TOP = """# Tables

CSV files for people, made from the Parquet files of the run. docs/tables.md describes the columns of the Parquet files, the page of each
study in docs/ those of its CSV files. Numbers have nine digits; an empty cell is missing, never zero. `skipped.csv` lists what was left out
of a study, and why.
"""


def describe(job):
    """results/tables/README.md: the question of each study, and its tables."""
    text = TOP
    for name, study in STUDIES.items():
        text += f"\n## {name}\n\n{study.question}\n\n"
        for output, path in job.cfg["files"][name].items():
            title = study.tables[output][1] or output.replace("_", " ").capitalize()
            text += f"* `{name}/{Path(path).name}`: {title}.\n"
    Path(job.output.readme).write_text(text)
    job.log.info("%d studies", len(STUDIES))
