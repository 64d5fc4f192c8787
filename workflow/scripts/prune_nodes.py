"""Prune the nodes of a task in every order."""

import job


def main(input, output, params, wildcards, threads, log):
    """Circuits, their steps, how often each component stays, the frontier."""
    from circuit_reuse.sequences import nodes

    nodes.prune_task(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
