"""Run circuits of nodes and edges of every size on the held-out examples of a task."""

import job


def main(input, output, params, wildcards, threads, log):
    """Curves, areas, mean edge scores, completeness and minimality."""
    from circuit_reuse import curves

    curves.task_curves(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
