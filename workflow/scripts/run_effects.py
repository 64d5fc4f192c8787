"""Remove and keep the shared circuits and their controls on the held-out examples."""

import job


def main(input, output, params, wildcards, threads, log):
    """The effects table; rows of circuits that were run before under the same key are kept."""
    from circuit_reuse import ablation

    ablation.task_effects(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
