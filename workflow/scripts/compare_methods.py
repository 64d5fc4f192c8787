"""Compare a method's scores with exact patching on a few examples of every task."""

import job


def main(input, output, params, wildcards, threads, log):
    """Rank correlation and overlap of the largest scores, over what circuits may hold."""
    from circuit_reuse import circuits, left_out, sharing, tables, testing

    cfg, rows = params.cfg, []
    for task in left_out.only(cfg["tasks"], input.exact, "/{}/exact".format):
        exact = tables.read(next(path for path in input.exact if f"/{task}/exact" in path), tables.SCORES)
        scores = tables.read(next(path for path in input.scores if f"/{task}/scores/" in path), tables.SCORES)
        numbers, found = exact["example"].unique(), []
        for table in (scores, exact):
            values, order, names = sharing.matrix(table, numbers)
            found.append(sharing.select(values, names, cfg["kinds"])[0])
        k = circuits.resolve_k(cfg["top_k"], found[0].shape[1])
        about = {"task": task, "method": wildcards.method}
        rows += [about | row for row in testing.agreement(*found, order, k)]
    tables.write(output.agreement, tables.AGREEMENT, rows, cfg=cfg)
    log.info("%d examples", len(rows))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
