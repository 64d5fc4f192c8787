"""Test whether removing a shared circuit does more than removing random ones."""

import job


def main(input, output, params, wildcards, threads, log):
    """The tests table: one row per (K, p)."""
    from circuit_reuse import tables, testing

    effects = tables.read(input.effects, tables.EFFECTS)
    circuits = tables.read(input.circuits, tables.CIRCUITS)
    stream = (params.cfg["seed"], wildcards.model, wildcards.task, wildcards.method, "tests")
    rows = testing.tests_table(effects, circuits, params.cfg, stream)
    tables.write(output.tests, tables.TESTS, rows, cfg=params.cfg)
    log.info("%d rows", len(rows))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
