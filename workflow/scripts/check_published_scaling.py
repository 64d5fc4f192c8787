"""Recompute the published numbers of the head-scaling study from its published tables."""

import job


def main(input, output, params, wildcards, threads, log):
    """published_check.csv: item, published, recomputed, agrees, why."""
    from pathlib import Path

    import pandas as pd
    from circuit_reuse.scaling import published

    tables = {Path(path).stem: pd.read_csv(path) for path in input.tables}
    shapes = pd.read_csv(input.shapes).set_index("model").to_dict("index")
    found = published.check(tables, shapes, params.cfg["draws"], params.cfg["seed"])
    found.to_csv(output.check, index=False)
    agree, differ = ((found["agrees"] == value).sum() for value in (True, False))
    log.info("%d items: %d agree, %d do not, the others have nothing to compare", len(found), agree, differ)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
