"""How an adapter runs as a job: its log, its errors, and the warm worker if there is one.

Plumbing only: nothing here shapes a number, so no stage depends on this file.
"""

import importlib.util
import logging
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

FAILED = 1


def start(snakemake, script):
    """Run an adapter for the current job, in the warm worker or here, and exit on failure."""
    import warm

    request = {
        "script": str(Path(script).resolve()),
        "rule": snakemake.rule,
        "input": named(snakemake.input),
        "output": named(snakemake.output),
        "params": dict(snakemake.params.items()),
        "wildcards": {name: str(value) for name, value in snakemake.wildcards.items()},
        "threads": snakemake.threads,
        "log": str(snakemake.log[0]),
    }
    code = warm.call(request, waits=bool(snakemake.resources.get("gpu")))
    if code is None:
        code = perform(request)
    if code:
        sys.exit(code)


def named(files):
    """Named inputs or outputs as {name: path or list of paths}."""
    return {
        name: str(value) if isinstance(value, str) else [str(path) for path in value]
        for name, value in files.items()
    }


def perform(request):
    """Import the adapter and call its main; returns the exit status.

    A ValueError or MemoryError is something that the user can mend: its message is shown alone.  Whatever
    else goes wrong is shown with its traceback.  The log holds both.
    """
    Path(request["log"]).parent.mkdir(parents=True, exist_ok=True)
    shape = "%(asctime)s %(message)s"
    handlers = [logging.FileHandler(request["log"], mode="w")]
    logging.basicConfig(level=logging.INFO, format=shape, handlers=handlers, force=True)
    log = logging.getLogger(request["rule"])
    logging.getLogger("transformer_lens").setLevel(logging.ERROR)
    os.environ["OMP_NUM_THREADS"] = str(request["threads"])
    began = time.monotonic()
    log.info("%s %s", request["rule"], request["wildcards"])
    try:
        load(request["script"]).main(
            input=SimpleNamespace(**request["input"]),
            output=SimpleNamespace(**request["output"]),
            params=SimpleNamespace(**request["params"]),
            wildcards=SimpleNamespace(**request["wildcards"]),
            threads=request["threads"],
            log=log,
        )
    except Exception as problem:
        log.error("%s", traceback.format_exc())
        told = isinstance(problem, (ValueError, MemoryError))
        text = str(problem) if told else traceback.format_exc()
        text += set_aside(getattr(problem, "damaged", None))
        print(f"{request['rule']} failed: {text}\n(log: {request['log']})", file=sys.stderr)
        return FAILED
    seconds = time.monotonic() - began
    log.info("done in %.1f s, peak memory %.0f MB", seconds, peak_megabytes())
    return 0


def set_aside(path):
    """Put a damaged table out of the way, so that the next run makes it anew; returns what to tell."""
    if path is None:
        return ""
    Path(path).replace(f"{path}.damaged")
    return f"; it was renamed to {path}.damaged. Run again: it and what needs it are made anew"


def load(script):
    """The adapter as a module."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peak_megabytes():
    """Peak memory of this process; Linux counts it in kilobytes, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
