"""Train one embedded model and write it with its card and training curve."""

import job


def main(input, output, params, wildcards, threads, log):
    """One thread, so that the same seed gives the same weights on the same processor."""
    from pathlib import Path

    import torch
    from circuit_reuse.training import card, train

    torch.set_num_threads(1)
    tokenizer = card.read_tokenizer(input.tokenizer)
    model, curve = train.train(tokenizer, wildcards.family, wildcards.size, params.seed)
    folder = Path(output.weights).parent
    card.save(model, curve, wildcards.family, wildcards.size, Path(input.tokenizer).parent, folder)
    log.info("%s", curve[-1])


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
