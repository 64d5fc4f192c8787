"""Score every component on a few examples by exact patching, for the agreement of methods."""

import job


def main(input, output, params, wildcards, threads, log):
    """Scores of the first used examples, as many of each split."""
    from circuit_reuse import fingerprint, models, scoring, tables

    model = models.of_job(input, params, threads)
    table = tables.read(input.examples, tables.EXAMPLES)
    chosen = scoring.first_used(table, params.cfg["examples"])
    tokens = params.compute["batch_tokens"]
    scores = scoring.scores(model, chosen, "patching", params.cfg, tokens, log)
    about = fingerprint.read_description(input.about)
    tables.write(output.exact, tables.SCORES, scores, cfg=params.cfg, model=about["fingerprint"])


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
