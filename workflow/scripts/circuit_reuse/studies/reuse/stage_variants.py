"""The stage that scores the train examples otherwise: with more integration steps, and against another corruption."""

import numpy as np
import pandas as pd

from circuit_reuse.data import jobs, tables
from circuit_reuse.engine import models
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.stats import circuits
from circuit_reuse.studies.common import stage_scores
from circuit_reuse.studies.reuse import schemas


def score(job):
    """Scores of the train examples by every variant that is asked for."""
    cfg, tokens = job.cfg, job.compute["batch_tokens"]
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    train = jobs.used(examples, "train").reset_index(drop=True)
    asked = []
    if METHODS[cfg["method"]].steps:
        asked += [(f"{steps} steps", train, steps) for steps in cfg["variant_steps"]]
    if cfg["corruption"]:
        rng = circuits.generator(cfg["seed"], job.wildcards.model, job.wildcards.task, "corruption")
        other = against_others(train, rng)
        job.log.info("%d of %d examples have another clean prompt of their length", len(other), len(train))
        asked.append(("other prompts", other, cfg.get("steps")))
    model, parts = models.of_job(job), []
    for name, rows, steps in asked:
        if len(rows):
            settings = {"metric": cfg["metric"], "steps": steps}
            found = stage_scores.scores(model, rows, cfg["method"], settings, tokens, job.log)
            parts.append(found.assign(variant=name))
    frame = pd.concat(parts) if parts else pd.DataFrame(columns=schemas.VARIANTS.names)
    job.write(job.output.variants, schemas.VARIANTS, frame)


def against_others(examples, rng):
    """Examples whose corrupt prompt is the clean prompt of another one, of the same length and with another answer.

    What a component does is then measured against any other prompt of the task instead of a minimal edit of its own.
    """
    rows = []
    for place, row in enumerate(examples.to_dict("records")):
        fits = (examples["length"] == row["length"]) & (examples["answer"] != row["answer"])
        fits = [other for other in np.flatnonzero(fits) if other != place]
        if fits:
            other = examples["clean_tokens"].iloc[int(rng.choice(fits))]
            pairs = enumerate(zip(row["clean_tokens"], other, strict=True))
            rows.append(row | {"corrupt_tokens": other, "positions": [n for n, (a, b) in pairs if a != b]})
    return pd.DataFrame(rows, columns=examples.columns)
