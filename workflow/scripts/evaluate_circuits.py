"""Remove and keep circuits on a task with an answer."""

import job


def main(input, output, params, wildcards, threads, log):
    """Effects of every circuit and of random ones."""
    from circuit_reuse.contrast import evaluate_stage

    evaluate_stage.evaluate(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
