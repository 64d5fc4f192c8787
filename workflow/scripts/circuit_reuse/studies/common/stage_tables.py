"""The stage that says what the tables for people hold: a README beside them."""

from pathlib import Path

from circuit_reuse.studies.registry import STUDIES

TOP = """# Tables

CSV files for people, made from the Parquet files of the run. Shares, thresholds and scores that are a share of the metric are fractions, never per cent; `<value>_low` and `<value>_high`
are the ends of a 95 per cent interval; `p_value` has its false discovery rate in `q_value`. Numbers have six digits; an empty cell is
missing, never zero. docs/tables.md describes every column. `skipped.csv` lists what was left out of a study, and why.
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
