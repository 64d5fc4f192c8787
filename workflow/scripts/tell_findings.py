"""Tell what a study found in a few sentences, drawn from its tables."""

import job


def main(input, output, params, wildcards, threads, log):
    """overview.json of one study, for the start page of the report and the end of a run."""
    from circuit_reuse import overview

    overview.tell(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
