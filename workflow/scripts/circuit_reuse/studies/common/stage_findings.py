"""The stages that write what a study found in a few sentences, and list what was left out."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse.data import csv_tables, fingerprint, left_out
from circuit_reuse.report import pages
from circuit_reuse.studies.registry import STUDIES

SKIPPED = csv_tables.columns(
    "study model task",
    usable="usable pairs of the split with fewer",
    needed="pairs that it needs",
    reason="why it was left out",
)


def write(job):
    """Write the sentences of one study, and its page of findings, which begins with them."""
    cfg = job.cfg
    pairs, left = cfg["pairs"], skipped(job.input.all_results, cfg)
    csv_tables.write(job.output.skipped, left, SKIPPED)
    columns = STUDIES[cfg["study"]].module("sentences").COLUMNS
    found = {Path(path).stem: read(path, columns[Path(path).stem]) for path in job.input.all_tables}
    sentences = sentences_of(found, cfg)
    sentences = [
        *(sentences if len(left) < len(pairs) else []),
        *(left_sentence(row) for row in left.to_dict("records")),
    ]
    page = details(job.input.details, found, cfg)
    pages.write(job, pages.in_short(page, sentences))
    models = {Path(path).parent.name: json.loads(Path(path).read_text()) for path in job.input.about}
    about = {
        "study": cfg["study"],
        "sentences": sentences,
        "results": len(pairs),
        "left_out": len(left),
        "models": {
            name: {key: each[key] for key in ("fingerprint", "parameters", "layers", "heads")}
            | {"rounding": fingerprint.rounding(each)}
            for name, each in models.items()
        },
    }
    Path(job.output.overview).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    job.log.info("%d sentences", len(sentences))


def details(path, found, cfg):
    """What follows the sentences on the page of findings; path: of what the study's summary wrote, if it does."""
    study = STUDIES[cfg["study"]]
    if study.details == "summary":
        return Path(path).read_text(encoding="utf-8")
    return (
        study.module("findings").text(found, cfg)
        if study.details == "findings"
        else f"# Findings of the {study.name} study\n"
    )


def list_skipped(job):
    """What was left out of all studies, and why, as one table."""
    found = pd.concat([csv_tables.read(path) for path in job.input.skipped], ignore_index=True)
    csv_tables.write(job.output.skipped, found.astype({"usable": "Int64", "needed": "Int64"}), SKIPPED)
    job.log.info("%d pairs of a model and a task are left out", len(found))


def skipped(paths, cfg):
    """What was left out of a study: study, model, task, usable, needed, reason.

    paths: the results of each pair of a model and a task;  cfg: pairs, in the same order
    """
    rows = []
    for path, (model, task) in zip(paths, cfg["pairs"], strict=True):
        problem = left_out.record_of(path)
        if problem:
            rows.append(
                {
                    "study": cfg["study"],
                    "model": model,
                    "task": task,
                    "usable": problem.usable,
                    "needed": problem.needed,
                    "reason": str(problem),
                }
            )
    return pd.DataFrame(rows, columns=list(SKIPPED)).astype({"usable": "Int64", "needed": "Int64"})


def left_sentence(row):
    """What is said of a task that was left out."""
    return f"{row['task']} left out for {row['model']}: {row['reason'].removeprefix(row['task'] + ': ')}."


def read(path, columns):
    """A CSV with all the columns that sentences use, whether it has rows or not."""
    try:
        frame = csv_tables.read(path)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    return frame.assign(**{name: np.nan for name in columns.split() if name not in frame})


def sentences_of(found, cfg):
    """The sentences of a study.

    found: {table: DataFrame};  cfg: study, and what the study's `settings` name
    """
    found = [text for text in STUDIES[cfg["study"]].module("sentences").sentences(found, cfg) if text]
    return found or ["There are no results to summarise: see skipped.csv for what was left out."]
