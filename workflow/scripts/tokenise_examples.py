"""Tokenise the prompts of one shard, check every pair, and run the model until there are enough."""

import job


def main(input, output, params, wildcards, threads, log):
    """Examples with tokens, validity and the metrics of the intact model."""
    from circuit_reuse import examples, fingerprint, left_out, measure, models, tables

    cfg, folder = params.cfg, fingerprint.folder_of(input.model)
    model = models.load(folder, params.compute["device"], cfg["dtype"], threads)
    prompts = tables.read(input.prompts, tables.PROMPTS)
    reader = examples.reader(folder, cfg["bos"], cfg["chat"])
    tokens = params.compute["batch_tokens"]
    try:
        found = measure.draw(model, reader, prompts, cfg, tokens, log)
        rows, problem = measure.as_rows(found), measure.shortage(found, cfg, wildcards.task)
    except left_out.LeftOut as none:
        rows, problem = [], none
    if problem:
        log.warning("left out: %s", problem)
    about = fingerprint.read_description(input.about)
    tables.write(output.examples, tables.EXAMPLES, rows, left_out=problem, cfg=cfg, model=about["fingerprint"])


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
