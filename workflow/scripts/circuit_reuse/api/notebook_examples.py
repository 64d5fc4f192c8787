"""Models and prompt pairs, for a notebook."""

import logging
import warnings
from pathlib import Path

import pandas as pd

from circuit_reuse.api.boundary import METRIC, TOKENS, between, one_of
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


def load(folder, device="auto", dtype="float32", threads=None):
    """A model from a folder with config.json, tokenizer.json and safetensors weights.

    device:  auto, cpu, cuda, mps, or spread (layers over all GPUs)
    threads: of the processor; one is fastest for models as small as the embedded ones
    returns: models.Model
    raises:  ModelError if the folder cannot be used, in one line that says why
    """
    one_of("device", device, ("auto", "cpu", "cuda", "mps", "spread"))
    one_of("dtype", dtype, ("float32", "bfloat16", "float16"))
    if not Path(folder).is_dir():
        raise fingerprint.ModelError(
            f"there is no folder {folder}: a model is taken from a folder (a name on the hub is fetched into one by the workflow, docs/sources.md)"
        )
    return models.load(folder, device, dtype, threads)


def examples(model, folder, task, count=64, seed=0, held_out_share=0.5, file=None, metric=METRIC, **options):
    """Prompt pairs of a task, tokenised, with the intact model's metric: a row an example.

    folder:  of the model, for its tokenizer
    task:    a built-in task (docs/tasks.md), or with `file` a name for prompts of one's own
    count:   prompts that are made, or rows of the file that are taken
    file:    prompts of one's own: a CSV, JSONL or Parquet file, a DataFrame, or a list of dicts, with clean, corrupt, answer and distractor (or
             distractors), and if you like id, split, cluster, template, variant.  Answers have their leading space.  Without a column split, rows go
             to train and held_out in turn; rows that are near copies of one another belong in one cluster and one split
    metric:  of clean_metric and corrupt_metric; probability_difference takes all right and all wrong answers of a task that has many
             (greater_than), also in `score` of these examples
    options: of the task's family, such as length=5 for a sequence; or shots, chat, bos, accuracy of any task
    returns: a DataFrame; `used` says which rows can be used, `reason` why not, `split` whether train or held_out
    raises:  ValueError for an unknown task or option, or prompts that cannot be used
    """
    between("held_out_share", held_out_share, 0, 1)
    between("count", count, 2, 10**7)
    one_of("metric", metric, metrics.UNITS)
    fingerprint.files(folder)
    if file is None:
        one_of("task", task, tasks.TASKS)
        checks.check_options(tasks.TASKS[task].family, options, f"options of {task}", tasks.SETTINGS)
    elif task in tasks.TASKS:
        raise ValueError(f"task is {task!r}, a built-in task; give prompts of your own another name")
    else:
        for name in options:
            one_of("option", name, (*tasks.SETTINGS, *tasks.FORMAT))
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
    reader = reading.reader(folder, bos, asked["chat"])
    found = stage_examples.draw(model, reader, prompts, settings, TOKENS, LOG).astype(TYPES)
    warn(found, prompts)
    texts = prompts.set_index("example")[["clean", "corrupt"]]
    for place, name in enumerate(texts.columns):
        found.insert(3 + place, name, found["example"].map(texts[name]))
    return found


def given(file):
    """A path as it is; a DataFrame or a list of dicts as rows of a table."""
    if isinstance(file, pd.DataFrame):
        rows = file.astype(object).where(file.notna(), None).to_dict("records")
        file = [{name: plain(value) for name, value in row.items()} for row in rows]
    return GivenRows(file) if isinstance(file, list | tuple) else file


def plain(cell):
    """A cell of a table with lists in the place of arrays and tuples, at any depth."""
    if isinstance(cell, dict):
        return {key: plain(value) for key, value in cell.items()}
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    return [plain(value) for value in cell] if isinstance(cell, (list, tuple)) else cell


def warn(found, prompts):
    """Say how many rows cannot be used, and where an answer seems to lack the blank in front of it."""
    out = found[~found["used"].astype(bool)]
    if len(out):
        text = (
            f"{len(out)} of {len(found)} rows cannot be used; the first, {out['id'].iloc[0]}: {out['reason'].iloc[0]}"
        )
        warnings.warn(text, stacklevel=3)
    double = prompts[prompts["answer"].str.startswith(" ") & prompts["clean"].str.endswith(" ")]
    if len(double):
        warnings.warn(
            f"{len(double)} prompts end in a blank, and their answers begin with one: take it off the end of the prompt",
            stacklevel=3,
        )
    bare = prompts[prompts["answer"].str[0].str.isalnum() & prompts["clean"].str[-1].str.isalnum()]
    if len(bare):
        answer = bare["answer"].iloc[0]
        text = f"{len(bare)} answers have no blank in front, and their prompts none at the end: did you mean {' ' + answer!r}?"
        warnings.warn(text, stacklevel=3)
