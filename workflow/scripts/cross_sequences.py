"""Keep every circuit of a model alone on one task."""

import job


def main(input, output, params, wildcards, threads, log):
    """The effects table."""
    from circuit_reuse.sequences import crossing

    crossing.cross_task(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
