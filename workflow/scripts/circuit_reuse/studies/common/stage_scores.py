"""The stages that score every component: on the valid examples of a shard, and exactly on a few examples."""

import time

import numpy as np
import pandas as pd

from circuit_reuse.data import tables
from circuit_reuse.engine import batching, models
from circuit_reuse.studies.common import scoring


def score(job):
    """Per-example scores by one method."""
    examples = tables.read(job.input.examples, tables.EXAMPLES)
    tokens = job.compute["batch_tokens"]
    found = scores(models.of_job(job), examples, job.wildcards.method, job.cfg, tokens, job.log)
    job.write(job.output.scores, tables.SCORES, found)


def patch(job):
    """Activation patching of the first used examples, as many of each split, for the agreement of methods."""
    chosen = first_used(tables.read(job.input.examples, tables.EXAMPLES), job.cfg["examples"])
    found = scores(models.of_job(job), chosen, "patching", job.cfg, job.compute["batch_tokens"], job.log)
    job.write(job.output.exact, tables.SCORES, found)


def scores(model, examples, method, cfg, tokens, log):
    """A DataFrame of the scores table for the valid examples of a shard.

    cfg:    metric, and steps for methods that integrate
    raises: ValueError that names the example with a score that is not a number
    """
    valid = examples[examples["valid"]].reset_index(drop=True)
    names = model.space.names
    result = np.empty((len(valid), len(names)), dtype=np.float32)

    def run(batch):
        found = scoring.score(model, batch, method, cfg["metric"], cfg.get("steps"), tokens)
        return found.cpu().numpy()

    began = time.monotonic()
    for batch, found in batching.run_in_batches(run, valid, tokens, model.device, method):
        bad = ~np.isfinite(found)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(
                f"the {method} score of {names[column]} on example {valid['id'][batch.rows[row]]!r} "
                "is not a number; try compute.dtype: float32"
            )
        result[batch.rows] = found
    batching.log_rate(log, len(valid), began)
    return pd.DataFrame(
        {
            "example": np.repeat(valid["example"].to_numpy(), len(names)),
            "component": pd.Categorical(names * len(valid), categories=names),
            "score": result.ravel(),
        }
    )


def first_used(table, count):
    """The first used examples of a table, as far as possible as many of each split."""
    used = table[table["used"]]
    place = used.groupby("split").cumcount()
    return used.loc[place.sort_values(kind="stable").index[:count]].sort_index()
