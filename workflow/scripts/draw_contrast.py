"""Draw the figures of the contrast study."""

import job


def main(input, output, params, wildcards, threads, log):
    """One figure for each output name."""
    from circuit_reuse.figures import contrast_study

    contrast_study.draw(input, output, params.cfg, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
