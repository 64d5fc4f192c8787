"""Compare two sets of texts in one model."""

import job


def main(input, output, params, wildcards, threads, log):
    """Scores, draws and raw norms of one set."""
    from circuit_reuse.contrast import measure_stage

    measure_stage.differences(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
