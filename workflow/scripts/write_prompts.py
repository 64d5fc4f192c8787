"""Write the prompt pairs of one shard of a task."""

import job


def main(input, output, params, wildcards, threads, log):
    """Make or read the prompts; raises ValueError if there are too few."""
    from circuit_reuse import tables
    from circuit_reuse.prompts import sources

    rows = sources.rows(wildcards.task, params.cfg, getattr(input, "file", None))
    tables.write(output.prompts, tables.PROMPTS, rows, cfg=params.cfg)
    log.info("%d prompt pairs", len(rows))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
