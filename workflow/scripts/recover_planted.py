"""Score all methods on planted models of one kind."""

import job


def main(input, output, params, wildcards, threads, log):
    """One row a seed and method."""
    import torch
    from circuit_reuse import tables
    from circuit_reuse.planted import recover

    torch.set_num_threads(threads)
    task, architecture = wildcards.planted.rsplit("-", 1)
    cfg, rows = params.cfg, []
    for seed in range(cfg["seeds"]):
        rows += recover.recover(task, architecture, seed, cfg["examples"], cfg["steps"])
        log.info("seed %d of %d", seed + 1, cfg["seeds"])
    tables.write(output.planted, tables.PLANTED, rows, cfg=cfg)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
