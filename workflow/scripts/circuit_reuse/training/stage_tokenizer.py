"""The stage that trains the tokenizer of the embedded models."""

from pathlib import Path

from circuit_reuse.training import corpus, tokenizer


def train(job):
    """Every word of the tasks becomes one token."""
    words, years = corpus.vocabulary()
    trained = tokenizer.train(words, years)
    tokenizer.save(trained, Path(job.output.tokenizer).parent)
    job.log.info("%d words, %d tokens", len(words), trained.get_vocab_size())
