"""Replace every head alone, by every replacement, on one shard of a task."""

import job


def main(input, output, params, wildcards, threads, log):
    """The scan table."""
    from circuit_reuse.scaling import scan

    scan.scan_shard(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
