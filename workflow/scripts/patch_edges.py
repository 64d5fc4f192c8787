"""Measure every edge of a task's circuit by path patching."""

import job


def main(input, output, params, wildcards, threads, log):
    """The paths table."""
    from circuit_reuse.sequences import edge_stage

    edge_stage.patch_edges(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
