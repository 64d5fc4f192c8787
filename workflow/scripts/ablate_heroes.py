"""Remove heroes and random sets of heads on held-out examples."""

import job


def main(input, output, params, wildcards, threads, log):
    """The effects table; sets that were run before under the same key are kept."""
    from circuit_reuse.scaling import removal

    removal.remove_heroes(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
