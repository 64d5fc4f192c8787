"""List what was left out of all studies, and why."""

import job


def main(input, output, params, wildcards, threads, log):
    """One table from those of the studies."""
    import pandas as pd

    found = pd.concat([pd.read_csv(path) for path in input.skipped], ignore_index=True)
    found.astype({"usable": "Int64", "needed": "Int64"}).to_csv(output.skipped, index=False)
    log.info("%d pairs of a model and a task are left out", len(found))


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
