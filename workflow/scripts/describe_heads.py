"""Read what heads do whatever the task."""

import job


def main(input, output, params, wildcards, threads, log):
    """Motifs on random tokens, spectra."""
    from circuit_reuse.sequences import reading

    reading.describe_heads(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
