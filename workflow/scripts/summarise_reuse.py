"""Put the tables of the reuse study together: CSV, JSON and LaTeX."""

import job


def main(input, output, params, wildcards, threads, log):
    """Every table that the report and a paper need."""
    from pathlib import Path

    import pandas as pd
    from circuit_reuse import summary, tables

    cfg = params.cfg
    tests = summary.gather(input.tests, tables.TESTS)
    reuse = summary.gather(input.reuse, tables.REUSE).rename(columns={"n_examples": "n_examples_train"})
    table = summary.summary(tests, reuse)
    summary.write_csv(output.summary, table)
    summary.write_csv(output.aggregated, summary.aggregated(table, cfg["titles"], cfg["revisions"]))
    summary.write_csv(output.cross, summary.gather(input.cross, tables.CROSS))
    if input.agreement:
        agreement = summary.gather(input.agreement, tables.AGREEMENT)
        means = agreement.groupby(["model", "task", "method"], as_index=False).agg(
            rank_correlation=("rank_correlation", "mean"),
            top_overlap=("top_overlap", "mean"),
            n_examples=("example", "count"),
        )
        summary.write_csv(output.agreement, means)
    examples = [
        tables.read(path, tables.EXAMPLES).assign(model=Path(path).parts[-4], task=Path(path).parts[-3])
        for path in input.all_examples
    ]
    summary.write_csv(output.accuracy, summary.accuracy(pd.concat(examples)))
    Path(output.latex).write_text(summary.latex(table, cfg["titles"]))
    for path in output.metrics:
        model, task = Path(path).parts[-3:-1]
        mine = table[(table["model"] == model) & (table["task"] == task)]
        mine = mine[mine["method"] == cfg["method"]]
        if mine.empty:
            continue
        revision = cfg["revisions"][model]
        summary.write_json(path, summary.metrics(mine, revision, cfg["settings"]))
    log.info("%d rows", len(table))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
