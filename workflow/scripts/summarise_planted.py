"""Put the planted models together: a table, a summary over seeds, a figure."""

import job


def main(input, output, params, wildcards, threads, log):
    """CSV of all rows, means with intervals, and a figure of the areas."""
    from circuit_reuse import tables
    from circuit_reuse.figures import style, validate
    from circuit_reuse.planted import summary

    rows = tables.read_all(input.planted, tables.PLANTED)
    rows.to_csv(output.planted, index=False)
    found = summary.over_seeds(rows)
    found.to_csv(output.summary, index=False)
    figures = params.cfg["figures"]
    style.save(validate.planted(found), output.figures[0], figures["formats"], figures["dpi"])
    missed = found[found["auroc"] < 1]
    for line in missed.itertuples():
        log.info("%s on %s: AUROC %.3f; %s", line.method, line.model, line.auroc, line.why)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
