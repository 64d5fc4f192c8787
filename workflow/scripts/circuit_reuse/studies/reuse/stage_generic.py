"""The stages of generic importance: run ordinary text without each shared circuit, and compare with random sets."""

import math

import pandas as pd

from circuit_reuse.data import examples, fingerprint, gather, tables
from circuit_reuse.data.text_lines import read_lines
from circuit_reuse.engine import models, text_loss
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import schemas
from circuit_reuse.studies.reuse.shared_circuits import chosen_circuits


def run(job):
    """The loss of ordinary text in the intact model, without each task's circuit, and without its random sets.

    Every other text gives the mean outputs that are put in, and losses are those of the others.
    """
    cfg = job.cfg
    asked = {("intact", None): []}
    paths = gather.one_by(job.input.circuits, "task")
    for task, (key, names, _) in chosen_circuits(job.input.circuits, cfg["cross_task"]).items():
        if key == "empty":
            continue
        asked[key, None] = names
        drawn = sharing.random_sets(tables.read(paths[task], schemas.CIRCUITS)).get(sharing.matched(key), [])
        asked |= {(sharing.matched_of(key, task), n): names for n, names in enumerate(drawn[: cfg["random_sets"]])}
    model = models.of_job(job)
    folder = fingerprint.folder_of(job.input.model)
    reader = examples.text_reader(folder)
    longest = min(cfg["longest"], fingerprint.positions(folder) or cfg["longest"])
    lines = read_lines(job.input.texts)[: cfg["count"]]
    lead = [] if reader.bos is None else [reader.bos]
    tokens = [(lead + reader.tokenizer.encode(line, add_special_tokens=False).ids)[:longest] for line in lines]
    long = [(place, text) for place, text in enumerate(tokens) if len(text) > 1]
    reference, tested = long[0::2], long[1::2]
    instead = text_loss.means(model, [text for _, text in reference], job.compute["batch_tokens"])
    texts = [text for _, text in tested]
    found = text_loss.losses(model, texts, list(asked.values()), instead, job.compute["batch_tokens"])
    frames = [
        pd.DataFrame(
            {
                "circuit": circuit,
                "control": control,
                "text": [place for place, _ in tested],
                "n_tokens": [len(text) - 1 for text in texts],
                "loss_guessing": math.log(model.bridge.original_model.config.get_text_config().vocab_size),
                "loss": values,
            }
        )
        for (circuit, control), values in zip(asked, found, strict=True)
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame["control"] = frame["control"].astype("Int32")
    job.write(job.output.runs, schemas.GENERIC_RUNS, frame)
    job.log.info("%d sets of components on %d texts", len(asked), len(texts))
