"""Compare a method's scores with exact patching, example by example."""

import job


def main(input, output, params, wildcards, threads, log):
    """Rank correlation and overlap of the largest scores, over what circuits may hold."""
    from circuit_reuse import circuits, sharing, tables, testing

    examples = tables.read_all(input.examples, tables.EXAMPLES)
    numbers = examples[examples["used"]]["example"]
    found = []
    for paths in (input.scores, input.exact):
        values, rows, names = sharing.matrix(tables.read_all(paths, tables.SCORES), numbers)
        found.append(sharing.select(values, names, params.cfg["kinds"])[0])
    k = circuits.resolve_k(params.cfg["top_k"], found[0].shape[1])
    rows = testing.agreement(*found, rows, k)
    rows = [{"method": wildcards.method} | row for row in rows]
    tables.write(output.agreement, tables.AGREEMENT, rows)
    log.info("%d examples", len(rows))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
