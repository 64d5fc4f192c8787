"""Remove the shared circuit of every task on the held-out examples of every task."""

import job


def main(input, output, params, wildcards, threads, log):
    """The effects of all pairs of tasks, and the cross_task table."""
    from circuit_reuse import cross

    cross.cross_effects(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
