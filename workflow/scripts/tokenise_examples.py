"""Tokenise the prompts of one shard, check every pair, and run the model on the valid ones."""

import job


def main(input, output, params, wildcards, threads, log):
    """Examples with tokens, validity and the metrics of the untouched model."""
    from circuit_reuse import fingerprint, measure, models, tables

    folder = fingerprint.folder_of(input.model)
    model = models.load(folder, params.compute["device"], params.cfg["dtype"], threads)
    prompts = tables.read(input.prompts, tables.PROMPTS)
    rows = measure.examples(model, folder, prompts, params.cfg, params.compute["batch_tokens"], log)
    about = fingerprint.read_description(input.about)
    tables.write(output.examples, tables.EXAMPLES, rows, cfg=params.cfg, model=about["fingerprint"])


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
