"""Cut edges of little effect, and score what is left."""

import job


def main(input, output, params, wildcards, threads, log):
    """Edge circuits by several cuts."""
    from circuit_reuse.sequences import edge_stage

    edge_stage.cut_edges(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
