"""Validate a joint table of heads: a user's own, or a published one."""

import job


def main(input, output, params, wildcards, threads, log):
    """Findings as a table and as a page."""
    from pathlib import Path

    import pandas as pd
    from circuit_reuse import fingerprint
    from circuit_reuse.scaling import validator

    table = pd.read_csv(input.table)
    shapes = pd.read_csv(input.shapes).set_index("model").to_dict("index")
    for path in map(Path, input.models):
        space = fingerprint.shape(path.parent)
        shapes[path.parent.name] = {"layers": space.layers, "heads": space.heads}
    found = validator.validate(table, shapes)
    found.to_csv(output.findings, index=False)
    Path(output.page).write_text(validator.text(wildcards.table, found))
    log.info("%d findings", len(found))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
