"""Recompute the published numbers of sequence continuation from the published circuits."""

import job


def main(input, output, params, wildcards, threads, log):
    """published_check.csv: item, published, recomputed, agrees, why."""
    import json
    from pathlib import Path

    import pandas as pd
    from circuit_reuse.sequences import published

    circuits = json.loads(Path(input.circuits).read_text())["circuits"]
    numbers = json.loads(Path(input.numbers).read_text())
    tables = {
        {"cross_task": "cross", "ov_scores": "ov"}.get(path.stem, path.stem): pd.read_csv(path)
        for path in map(Path, input.tables)
    }
    found = published.check(circuits, numbers, tables)
    found.to_csv(output.check, index=False)
    agree, differ = ((found["agrees"] == value).sum() for value in (True, False))
    log.info("%d items: %d agree, %d do not, the others need a run", len(found), agree, differ)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
