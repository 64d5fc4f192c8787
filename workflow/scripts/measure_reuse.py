"""Measure how far circuits are shared in each task of a model, against what chance shares."""

import job


def main(input, output, params, wildcards, threads, log):
    """The reuse table of a model: one row per (task, K, p)."""
    from circuit_reuse import left_out, reuse, sharing, tables

    cfg = params.cfg
    tasks = left_out.only(cfg["tasks"], input.scores, "/{}/scores/".format)
    stream = (cfg["seed"], wildcards.model, wildcards.method, "reuse")
    scores, examples = {}, {}
    for task in tasks:
        mine = [path for path in input.examples if f"/{task}/examples/" in path]
        pairs = tables.read_all(mine, tables.EXAMPLES)
        train = pairs[pairs["used"] & (pairs["split"] == "train")]
        mine = [path for path in input.scores if f"/{task}/scores/" in path]
        values, numbers, names = sharing.matrix(tables.read_all(mine, tables.SCORES), train["example"])
        scores[task], names = sharing.select(values, names, cfg["kinds"])
        examples[task] = train.set_index("example").loc[numbers].reset_index()
    settings = {"top_k": cfg["top_k"], "thresholds": cfg["thresholds"], **cfg["reuse"]}
    rows = []
    for task in tasks:
        others = {other: scores[other] for other in tasks if other != task}
        rows += reuse.reuse_table(task, scores[task], names, examples[task], others, settings, stream)
    tables.write(output.reuse, tables.REUSE, rows, cfg=cfg)
    log.info("%d rows", len(rows))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
