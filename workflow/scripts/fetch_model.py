"""Make a public model of the hub ready: config, tokenizer and safetensors of one revision, nothing else."""

import job


def main(input, output, params, wildcards, threads, log):
    """Link the files in the Hugging Face cache, fetched if need be; raises ModelError if it cannot be had."""
    from circuit_reuse import fetching

    source = params.cfg
    commit = fetching.fetch(source["hub"], source["revision"], output.folder, source.get("fingerprint"))
    log.info("%s at %s is ready, commit %s", source["hub"], source["revision"], commit)


if __name__ == "__main__":
    # The environment's own HF_HUB_OFFLINE holds, not that of jobs that load models.
    job.start(snakemake, __file__, alone=True)  # noqa: F821
