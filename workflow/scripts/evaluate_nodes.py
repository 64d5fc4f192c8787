"""Evaluate the nodes of a circuit."""

import job


def main(input, output, params, wildcards, threads, log):
    """Interchange, sweeps of nodes, relaxation, variance, importance."""
    from circuit_reuse.weights import node_stage

    node_stage.run(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
