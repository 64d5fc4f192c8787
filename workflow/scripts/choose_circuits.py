"""Choose circuits under write budgets."""

import job


def main(input, output, params, wildcards, threads, log):
    """Circuits of every recipe, rule and budget."""
    from circuit_reuse.contrast import select_stage

    select_stage.choose(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
