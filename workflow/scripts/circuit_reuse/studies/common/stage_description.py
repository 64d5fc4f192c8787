"""The stage that describes a model: what later stages need to know of it without loading it."""

import json
from pathlib import Path

from circuit_reuse.data import examples, fingerprint
from circuit_reuse.engine import models, plain_model


def describe(job):
    """Write shape, fingerprint and size of a model, and how far it is from the plain model.

    raises: ModelError if the model is another one than the config names by its fingerprint, or if the loaded model lacks weights or gives
            other logits than the plain model
    """
    folder = fingerprint.folder_of(job.input.model)
    about, expected = fingerprint.describe(folder), job.cfg.get("fingerprint")
    if expected not in (None, about["fingerprint"]):
        raise fingerprint.ModelError(
            f"{folder} has the fingerprint {about['fingerprint']}, and model_sources.{job.wildcards.model}.fingerprint is {expected}: it is another version of the "
            "model; put the right one there, or change the fingerprint"
        )
    reader = examples.text_reader(folder)
    about |= plain_model.compare(models.of_job(job), folder)
    about |= {"bos": reader.bos if reader.bos is None else reader.tokenizer.id_to_token(reader.bos)}
    Path(job.output.about).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
    job.log.info("%s", about)
