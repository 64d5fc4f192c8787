"""Compare a method's scores with exact patching on every task, example by example."""

import job


def main(input, output, params, wildcards, threads, log):
    """Rank correlation and overlap of the largest scores, over what circuits may hold."""
    from circuit_reuse import circuits, sharing, tables, testing

    cfg, rows = params.cfg, []
    for task in cfg["tasks"]:
        parts = {
            name: [path for path in paths if f"/{task}/" in path]
            for name, paths in vars(input).items()
        }
        examples = tables.read_all(parts["examples"], tables.EXAMPLES)
        numbers = examples[examples["used"]]["example"]
        found = []
        for name in ("scores", "exact"):
            scores = tables.read_all(parts[name], tables.SCORES)
            values, order, names = sharing.matrix(scores, numbers)
            found.append(sharing.select(values, names, cfg["kinds"])[0])
        k = circuits.resolve_k(cfg["top_k"], found[0].shape[1])
        about = {"task": task, "method": wildcards.method}
        rows += [about | row for row in testing.agreement(*found, order, k)]
    tables.write(output.agreement, tables.AGREEMENT, rows)
    log.info("%d examples", len(rows))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
