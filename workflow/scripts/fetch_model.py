"""Fetch a public model: config, tokenizer and safetensors of one revision, nothing else."""

import job


def main(input, output, params, wildcards, threads, log):
    """Download a snapshot into the folder; raises ModelError if it has no safetensors."""
    import os

    os.environ["HF_HUB_OFFLINE"] = "0"
    from circuit_reuse import fetching

    source = params.cfg
    commit = fetching.fetch(source["hub"], source["revision"], output.folder, source.get("fingerprint"))  # fmt: skip
    log.info("fetched %s at %s, commit %s", source["hub"], source["revision"], commit)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
