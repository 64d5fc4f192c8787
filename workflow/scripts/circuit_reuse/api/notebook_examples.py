"""Models and prompt pairs, for a notebook."""

import logging
import math
import warnings
from os import PathLike
from pathlib import Path

import pandas as pd

from circuit_reuse.api.boundary import (
    COUNT,
    DEVICES,
    METRIC,
    SEED,
    TOKENS,
    VOCABULARY,
    between,
    one_of,
    same_vocabulary,
    task_named,
)
from circuit_reuse.config import checks
from circuit_reuse.data import examples as reading
from circuit_reuse.data import fingerprint, metrics
from circuit_reuse.data.user_tables import GivenRows
from circuit_reuse.engine import models
from circuit_reuse.prompts import rows as sources
from circuit_reuse.prompts import tasks
from circuit_reuse.studies.common import stage_examples

LOG = logging.getLogger(__name__)
# Columns that are numbers, for pandas to see as such.
TYPES = {
    "clean_metric": float,
    "corrupt_metric": float,
    "answer_log_probability": float,
    "correct": "boolean",
    "rank": "Int64",
}
# What the columns of a file of prompts may be (prompts.datasets), as in the schema of the config.
COLUMNS_OF = ("pairs", "mib", "questions")


def load(folder, device="auto", dtype="float32", threads=None):
    """A model from a folder with config.json, tokenizer.json and safetensors weights.

    device:  auto, cpu, cuda, mps, or spread (layers over all GPUs)
    threads: of the processor; one is fastest for models as small as the embedded ones
    returns: models.Model
    raises:  ModelError if the folder cannot be used, in one line that says why;  ValueError for another argument
    """
    one_of("device", device, DEVICES)
    one_of("dtype", dtype, ("float32", "bfloat16", "float16"))
    if threads is not None:
        threads = between("threads", threads, 1, None, whole=True)
    if not place_of(folder).is_dir():
        raise fingerprint.ModelError(
            f"there is no folder {folder}: a model is taken from a folder (a name on the hub is fetched into one by the workflow, docs/sources.md)"
        )
    return models.load(folder, device, dtype, threads)


def examples(model, folder, task, count=64, seed=0, held_out_share=0.5, file=None, metric=METRIC, **options):
    """Prompt pairs of a task, tokenised, with the intact model's metric: a row an example.

    folder:  of the model, for its tokenizer; that of another model can be given if its token ids stand for the same
    task:    a built-in task (docs/tasks.md), or with `file` a name for prompts of one's own
    count:   prompts that are made, or rows of the file that are taken
    file:    prompts of one's own: a CSV, JSONL or Parquet file, a DataFrame, or a list of dicts, with clean, corrupt, answer and distractor (or
             distractors), and if you like id, split, cluster, template, variant.  Answers have their leading space.  Without a column split, rows go
             to train and held_out in turn; rows that are near copies of one another belong in one cluster and one split
    metric:  of clean_metric and corrupt_metric; probability_difference takes all right and all wrong answers of a task that has many
             (greater_than), also in `score` of these examples
    options: of the task's family, such as length=5 for a sequence; or shots, chat, bos, accuracy of any task; with `file`
             format (pairs, mib or questions), counterfactual and longest, as in a config (docs/sources.md)
    returns: a DataFrame; `used` says which rows can be used, `reason` why not, `split` whether train or held_out
    raises:  ValueError for an unknown task or option, prompts that cannot be used, or a folder whose tokenizer is not the model's
    """
    held_out_share = between("held_out_share", held_out_share, 0, 1)
    count, seed = between("count", count, *COUNT, whole=True), between("seed", seed, *SEED, whole=True)
    one_of("metric", metric, metrics.UNITS)
    fingerprint.files(place_of(folder))
    task_named(task, own=file is not None)
    options = options_of(task, file, options)
    about = tasks.TASKS.get(task, tasks.Task("custom", task))
    asked = {name: options.pop(name, getattr(about, name)) for name in tasks.SETTINGS}
    checks.check_settings({name: value for name, value in asked.items() if value is not None}, "examples")
    cfg = {
        "seed": seed,
        "held_out_share": held_out_share,
        "examples": [0, count],
        "task": {"family": about.family, "options": about.options | options, "shots": asked["shots"]},
    }
    prompts = pd.DataFrame(sources.rows(task, cfg, given(file)))
    settings = {"metric": metric, "accuracy": asked["accuracy"], "correct_only": False, "count": "used", "quota": None}
    bos = tasks.BOS.get(asked["bos"], asked["bos"]) or "auto"
    reader, vocabulary = reading.reader(folder, bos, asked["chat"]), models.vocabulary(folder)
    problem = f"folder is {folder}, whose tokenizer is not that of the model; give the folder that it was loaded from"
    same_vocabulary(model, vocabulary, problem)
    found = stage_examples.draw(model, reader, prompts, settings, TOKENS, LOG).astype(TYPES)
    warn(found, prompts)
    texts = prompts.set_index("example")[["clean", "corrupt"]]
    for place, name in enumerate(texts.columns):
        found.insert(3 + place, name, found["example"].map(texts[name]))
    found.attrs[VOCABULARY] = vocabulary
    return found


def place_of(folder):
    """A folder as a path; raises ValueError for what is none."""
    if not isinstance(folder, str | PathLike):
        raise ValueError(f"folder is of type {type(folder).__name__}; it must be the path of a model's folder")
    return Path(folder)


def options_of(task, file, options):
    """Options of a task, checked as those of a config are; numbers of numpy as Python's own.

    raises: ValueError
    """
    options = {name: plain(value) for name, value in options.items()}
    if file is None:
        checks.check_options(tasks.TASKS[task].family, options, f"options of {task}", tasks.SETTINGS)
        return options
    for name in options:
        one_of("option", name, (*tasks.SETTINGS, *tasks.FORMAT))
    options = {name: value for name, value in options.items() if value is not None}
    one_of("format", options.get("format", "pairs"), COLUMNS_OF)
    between("longest", options.get("longest", 1), 1, None, whole=True)
    counterfactual = options.get("counterfactual", "")
    if not isinstance(counterfactual, str):
        raise ValueError(f"counterfactual is {counterfactual!r}; it must be the name of a column")
    if counterfactual and options.get("format") != "mib":
        raise ValueError(f"counterfactual is {counterfactual!r}; it has a meaning only with format='mib'")
    return options


def given(file):
    """A path as it is; a DataFrame or a list of dicts as rows of a table.

    raises: ValueError for anything else, rows that are no dicts, or a column that is there twice
    """
    if file is None or isinstance(file, str | PathLike):
        return file
    rows = records(file) if isinstance(file, pd.DataFrame) else file
    if not isinstance(rows, list | tuple):
        raise ValueError(f"file is of type {type(file).__name__}; it must be a path, a DataFrame or a list of dicts")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(
                f"file is a list whose row {number} is {row!r}; rows must be dicts, with the names of columns"
            )
    return GivenRows({str(name): plain(value) for name, value in row.items()} for row in rows)


def records(frame):
    """Rows of a DataFrame as dicts; levels of its index that have a name are columns, too.

    raises: ValueError for a column that is there twice, as for files
    """
    names = [name for name in frame.index.names if name is not None and name not in frame.columns]
    frame = frame.reset_index(level=names) if names else frame
    frame = frame.set_axis(list(map(str, frame.columns)), axis=1)
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"file is a DataFrame that has the column {twice!r} twice")
    return frame.to_dict("records")


def plain(cell):
    """A cell of a table with lists in the place of arrays and tuples, at any depth; None where it is missing."""
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    if cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, dict):
        return {key: plain(value) for key, value in cell.items()}
    return [plain(value) for value in cell] if isinstance(cell, (list, tuple)) else cell


def warn(found, prompts):
    """Say how many rows cannot be used, that the model does not do the task, and where an answer seems to lack its space."""
    out = found[~found["used"].astype(bool)]
    if len(out):
        text = (
            f"{len(out)} of {len(found)} rows cannot be used; the first, {out['id'].iloc[0]}: {out['reason'].iloc[0]}"
        )
        warnings.warn(text, stacklevel=3)
    used = found[found["used"].astype(bool)]
    right = int(used["correct"].sum())
    if len(used) and right < len(used) / 2:
        text = (
            f"the model answers {right} of {len(used)} usable prompts right: what it does on the others is not the task"
        )
        warnings.warn(text, stacklevel=3)
    double = prompts[prompts["answer"].str.startswith(" ") & prompts["clean"].str.endswith(" ")]
    if len(double):
        warnings.warn(
            f"{len(double)} prompts end in a space, and their answers begin with one: take it off the end of the prompt",
            stacklevel=3,
        )
    bare = prompts[prompts["answer"].str[0].str.isalnum() & prompts["clean"].str[-1].str.isalnum()]
    if len(bare):
        answer = bare["answer"].iloc[0]
        text = f"{len(bare)} answers have no space in front, and their prompts none at the end: did you mean {' ' + answer!r}?"
        warnings.warn(text, stacklevel=3)
