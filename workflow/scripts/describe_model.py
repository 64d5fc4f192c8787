"""Write a model's fingerprint and shape, so that later stages need not hash the weights."""

import job


def main(input, output, params, wildcards, threads, log):
    """Read the model's files; raises ModelError if they cannot be used."""
    import json
    from pathlib import Path

    from circuit_reuse import fingerprint

    about = fingerprint.describe(fingerprint.folder_of(input.model))
    Path(output.about).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
    log.info("%s", about)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
