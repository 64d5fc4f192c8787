"""Learn node masks for a task, or take one from a file."""

import job


def main(input, output, params, wildcards, threads, log):
    """Masks, their history, the circuits, how size and loss trade off."""
    from circuit_reuse.weights import mask_stage

    mask_stage.learn(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
