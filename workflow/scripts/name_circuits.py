"""Name the circuits of a model that are compared."""

import job


def main(input, output, params, wildcards, threads, log):
    """Circuits by name, and how much they overlap."""
    from circuit_reuse.sequences import named

    named.name_circuits(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
