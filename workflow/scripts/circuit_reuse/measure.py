"""The stage that tokenises prompts and runs the untouched model on the valid pairs."""

import time

import numpy as np
import pandas as pd

from circuit_reuse import batching, effects, models
from circuit_reuse.examples import load_tokenizer, tokenise


def examples(model, folder, prompts, cfg, tokens, log):
    """Rows of the examples table for a shard of prompts.

    cfg: bos, metric, accuracy, correct_only
    """
    tokenizer, bos = load_tokenizer(folder)
    if cfg["bos"] and bos is None:
        log.info("the model has no BOS token, so its prompts begin without one")
    rows = [tokenise(tokenizer, bos if cfg["bos"] else None, row) for row in plain(prompts)]
    frame = pd.DataFrame(rows)
    for column in ("clean_metric", "corrupt_metric", "correct", "rank"):
        frame[column] = None
    valid = frame[frame["valid"]]

    def run(batch):
        short = batch.shortened(model)
        clean = models.logits(model, short.clean, short.prefix)
        corrupt = models.logits(model, short.corrupt, short.prefix)
        result = effects.outcomes(
            clean,
            clean.log_softmax(-1),
            batch.answer,
            batch.distractor,
            cfg["metric"],
            cfg["accuracy"],
        )
        other = models.metric_values(corrupt, batch.answer, batch.distractor, cfg["metric"])
        return result | {"corrupt_metric": other.cpu().numpy()}

    began = time.monotonic()
    for batch, result in batching.patiently(run, valid, tokens, model.device, "examples"):
        index = valid.index[batch.rows]
        frame.loc[index, "clean_metric"] = result["metric"]
        frame.loc[index, "corrupt_metric"] = result["corrupt_metric"]
        frame.loc[index, "correct"] = result["correct"]
        frame.loc[index, "rank"] = result["rank"]
    batching.log_rate(log, len(valid), began)
    leave_out(frame, log)
    accuracy = frame["correct"].dropna().astype(bool).mean()
    log.info("%d of %d pairs are valid; accuracy %.3f", len(valid), len(frame), accuracy)
    frame["used"] = frame["valid"]
    if cfg["correct_only"]:
        frame["used"] &= frame["correct"].fillna(False).astype(bool)
        log.info("%d pairs are valid and answered correctly", frame["used"].sum())
    return frame.replace({np.nan: None}).to_dict("records")


# A metric that corrupting moves by less than this, in its units, is rounding.
SAME = 1e-5


def leave_out(frame, log):
    """Mark pairs as not valid whose metric is no number, or the same for both prompts.

    frame: rows of the examples table with metrics; changed in place
    """
    clean, corrupt = (
        frame[name].astype(float).to_numpy() for name in ("clean_metric", "corrupt_metric")
    )
    valid = frame["valid"].to_numpy(bool)
    broken = valid & ~(np.isfinite(clean) & np.isfinite(corrupt))
    same = valid & ~broken & (np.abs(clean - corrupt) < SAME)
    for rows, reason in (
        (broken, "the metric is not a number: try compute.dtype: float32"),
        (same, "the clean and the corrupt prompt have the same metric"),
    ):
        if rows.any():
            log.info("%d pairs left out, the first %s: %s", rows.sum(), frame["id"][rows].iloc[0], reason)  # fmt: skip
            frame.loc[rows, ["valid", "reason"]] = [False, reason]
    frame.loc[broken, ["clean_metric", "corrupt_metric"]] = None


def plain(prompts):
    """Rows as dicts of plain Python values."""
    for row in prompts.to_dict("records"):
        row["roles"] = [dict(role) for role in row["roles"]]
        yield row
