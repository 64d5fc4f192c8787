"""Effects, classes, heroes and trends of the heads of one model."""

import job


def main(input, output, params, wildcards, threads, log):
    """Six tables from the scans of both tasks."""
    from circuit_reuse.scaling import model

    model.classify(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
