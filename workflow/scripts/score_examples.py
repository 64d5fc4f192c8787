"""Score every component on every valid example of one shard."""

import job


def main(input, output, params, wildcards, threads, log):
    """Per-example scores by one method."""
    from circuit_reuse import fingerprint, models, scoring, tables

    folder = fingerprint.folder_of(input.model)
    model = models.load(folder, params.compute["device"], params.cfg["dtype"], threads)
    examples = tables.read(input.examples, tables.EXAMPLES)
    scores = scoring.scores(model, examples, wildcards.method, params.cfg, params.compute["batch_tokens"], log)
    about = fingerprint.read_description(input.about)
    tables.write(output.scores, tables.SCORES, scores, cfg=params.cfg, model=about["fingerprint"])


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
