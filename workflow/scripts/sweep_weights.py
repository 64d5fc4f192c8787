"""Remove weights of the circuit and of its controls."""

import job


def main(input, output, params, wildcards, threads, log):
    """Losses of every removal, random circuits, the circuit as edges."""
    from circuit_reuse.weights import sweep_stage

    sweep_stage.run(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
