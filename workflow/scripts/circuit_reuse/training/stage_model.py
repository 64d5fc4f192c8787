"""The stage that trains an embedded model and writes it with its card and training curve."""

from pathlib import Path

import torch

from circuit_reuse.training import card, train


def run(job):
    """One thread, so that the same seed gives the same weights on the same processor."""
    torch.set_num_threads(1)
    which = job.wildcards.family, job.wildcards.size
    tokenizer = card.read_tokenizer(job.input.tokenizer)
    model, curve = train.train(tokenizer, *which, job.params.seed)
    card.save(model, curve, *which, Path(job.input.tokenizer).parent, Path(job.output.weights).parent)
    job.log.info("%s", curve[-1])
