"""Build the example circuits, shared circuits and controls of one task."""

import job


def main(input, output, params, wildcards, threads, log):
    """Four tables from the scores of the train split."""
    from circuit_reuse import examples as pairs
    from circuit_reuse import sharing, tables

    cfg = params.cfg
    examples = tables.read_all(input.examples, tables.EXAMPLES)
    records = examples[["split", "valid", "used", "reason"]].to_dict("records")
    for split in ("train", "held_out"):
        pairs.enough(records, split, cfg["min_valid"], wildcards.task)
    train = examples[examples["used"] & (examples["split"] == "train")]
    scores = tables.read_all(input.scores, tables.SCORES)
    values, numbers, names = sharing.matrix(scores, train["example"])
    values, names = sharing.select(values, names, cfg["circuits"]["kinds"])
    stream = (cfg["seed"], wildcards.model, wildcards.task, wildcards.method)
    about = {"cfg": cfg, "model": tables.provenance(input.scores[0])["model"]}

    rows = sharing.task_circuits(values, names, numbers, cfg["circuits"], stream)
    tables.write(output.circuits, tables.CIRCUITS, rows, **about)
    rows = sharing.inclusion(values, names, cfg["circuits"])
    tables.write(output.inclusion, tables.INCLUSION, rows, **about)
    rows = sharing.similarity(values, numbers, cfg["circuits"])
    tables.write(output.similarity, tables.SIMILARITY, rows, **about)
    ordered = train.set_index("example").loc[numbers].reset_index()
    rows = sharing.families(values, ordered, cfg["circuits"])
    tables.write(output.families, tables.FAMILIES, rows, **about)
    log.info("circuits from %d examples, %d components", len(numbers), len(names))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
