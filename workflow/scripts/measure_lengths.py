"""Measure how the answer depends on the length of the sequence."""

import job


def main(input, output, params, wildcards, threads, log):
    """The lengths table."""
    from circuit_reuse.sequences import lengths

    lengths.measure(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
