"""Tokenise the prompts of one shard, check every pair, and run the model until there are enough."""

import job


def main(input, output, params, wildcards, threads, log):
    """Examples with tokens, validity and the metrics of the intact model."""
    from circuit_reuse import examples, fingerprint, measure, models, tables

    cfg, folder = params.cfg, fingerprint.folder_of(input.model)
    model = models.load(folder, params.compute["device"], cfg["dtype"], threads)
    prompts = tables.read(input.prompts, tables.PROMPTS)
    reader = examples.reader(folder, cfg["bos"], cfg["chat"])
    found = measure.draw(model, reader, prompts, cfg, params.compute["batch_tokens"], log)
    problem = measure.shortage(found, cfg, wildcards.task)
    if problem:
        log.warning("left out: %s", problem)
    about = fingerprint.read_description(input.about)
    tables.write(
        output.examples, tables.EXAMPLES, measure.as_rows(found), left_out=problem, cfg=cfg, model=about["fingerprint"]
    )  # fmt: skip


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
