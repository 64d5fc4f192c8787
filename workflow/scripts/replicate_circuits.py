"""Compare circuits with one another and with published ones."""

import job


def main(input, output, params, wildcards, threads, log):
    """The report of comparisons, passed or failed."""
    from circuit_reuse.contrast import replicate

    replicate.report(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
