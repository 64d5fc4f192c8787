"""Put the tables of the contrast study together, and write its findings."""

import job


def main(input, output, params, wildcards, threads, log):
    """Every table that the report and a paper need."""
    from circuit_reuse.contrast import joint

    joint.summarise(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
