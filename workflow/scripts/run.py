"""The one script of all rules: run the library function that a rule names, in the warm worker or here."""

import sys

import job
import owner
import warm


def main(snakemake):
    """Run the function for the current job, and exit on failure."""
    owner.watch(job.STOPPED)
    params = dict(snakemake.params.items())
    request = {
        "function": f"circuit_reuse.{params.pop('run')}",
        "rule": snakemake.rule,
        "input": named(snakemake.input),
        "output": named(snakemake.output),
        "params": params,
        "wildcards": {name: str(value) for name, value in snakemake.wildcards.items()},
        "threads": snakemake.threads,
        "log": str(snakemake.log[0]),
    }
    # The worker has imported libraries with settings of its own (HF_HUB_OFFLINE), which what fetches must not have.
    alone = params.get("alone", False)
    try:
        code = None if alone else warm.call(request, waits=bool(snakemake.resources.get("gpu")))
        if code is None:
            code = job.perform(request)
    except KeyboardInterrupt:
        # Stopped by hand, which is no error of the job.
        sys.exit(job.STOPPED)
    if code == job.KILLED:
        print(f"{snakemake.rule} failed: {job.KILLED_TEXT}\n(log: {request['log']})", file=sys.stderr)
    if code:
        sys.exit(code)


def named(files):
    """Named inputs or outputs as {name: path or list of paths}."""
    return {
        name: str(value) if isinstance(value, str) else [str(path) for path in value] for name, value in files.items()
    }


if __name__ == "__main__":
    main(snakemake)  # noqa: F821
