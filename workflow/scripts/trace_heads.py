"""Put parts of heads and layers from one run of a pair into the other."""

import job


def main(input, output, params, wildcards, threads, log):
    """The trace table."""
    from circuit_reuse.scaling import trace

    trace.trace_task(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
