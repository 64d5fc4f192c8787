"""Read what heads and MLPs do on one task."""

import job


def main(input, output, params, wildcards, threads, log):
    """Scores, attention, motifs, lenses, direct attribution, neurons."""
    from circuit_reuse.sequences import reading

    reading.read_heads(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
