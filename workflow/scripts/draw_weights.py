"""Draw the figures of the weight study."""

import job


def main(input, output, params, wildcards, threads, log):
    """One figure for each output name."""
    from circuit_reuse.figures import weights_study

    weights_study.draw(input, output, params.cfg, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
