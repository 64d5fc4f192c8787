"""Train the tokenizer of the embedded models."""

import job


def main(input, output, params, wildcards, threads, log):
    """Every word of the tasks becomes one token."""
    from pathlib import Path

    from circuit_reuse.training import corpus, tokenizer

    words, years = corpus.vocabulary()
    trained = tokenizer.train(words, years)
    tokenizer.save(trained, Path(output.tokenizer).parent)
    log.info("%d words, %d tokens", len(words), trained.get_vocab_size())


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
