"""How an adapter runs as a job: its log, its errors, and the warm worker if there is one.

Plumbing only: nothing here shapes a number, so no stage depends on this file.
"""

import contextlib
import errno
import importlib.util
import logging
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

FAILED, STOPPED, KILLED = 1, 130, 137
KILLED_TEXT = (
    "its process was killed from outside, most often by the system for want of memory: run fewer jobs at once "
    "(--cores), set a smaller compute.batch_tokens, or give it more memory; nothing finished is lost, run again"
)
# What an error of the system means to whom it befalls.
SYSTEM = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EROFS: "the disk can be read only",
    errno.EACCES: "not allowed to read or write",
    errno.ENOENT: "a file is missing",
    errno.ESTALE: "the network disk lost a file",
    errno.EIO: "the disk failed",
}


def start(snakemake, script, alone=False):
    """Run an adapter for the current job, in the warm worker or here, and exit on failure.

    alone: never in the warm worker, which has imported libraries with settings of its own (HF_HUB_OFFLINE)
    """
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
    try:
        code = None if alone else warm.call(request, waits=bool(snakemake.resources.get("gpu")))
        if code is None:
            code = perform(request)
    except KeyboardInterrupt:
        # Stopped by hand, which is no error of the job's.
        sys.exit(STOPPED)
    if code == KILLED:
        print(f"{snakemake.rule} failed: {KILLED_TEXT}\n(log: {request['log']})", file=sys.stderr)
    if code:
        sys.exit(code)


def named(files):
    """Named inputs or outputs as {name: path or list of paths}."""
    return {
        name: str(value) if isinstance(value, str) else [str(path) for path in value] for name, value in files.items()
    }


def perform(request):
    """Import the adapter and call its main; returns the exit status.

    What the user can mend is told in its message alone.  Whatever else goes wrong is shown with its
    traceback.  The log holds both.
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
    # In front of lines of progress (circuit_reuse/progress.py), of which several jobs write at once.
    os.environ["CIRCUIT_REUSE_JOB"] = " ".join([request["rule"], *request["wildcards"].values()])
    try:
        work(request, log)
    except Exception as problem:
        log.error("%s", traceback.format_exc())
        text = told(problem) or traceback.format_exc()
        text += set_aside(getattr(problem, "damaged", None))
        print(f"{request['rule']} failed: {text}\n(log: {request['log']})", file=sys.stderr)
        return FAILED
    seconds = time.monotonic() - began
    log.info("done in %.1f s, peak memory %.0f MB", seconds, peak_megabytes())
    return 0


def work(request, log):
    """Call the adapter's main on what was not left out; outputs that are left out say why."""
    from circuit_reuse import left_out

    outputs = [path for paths in request["output"].values() for path in ([paths] if isinstance(paths, str) else paths)]
    try:
        kept, reason = left_out.sift(request["input"])
        load(request["script"]).main(
            input=SimpleNamespace(**kept),
            output=SimpleNamespace(**request["output"]),
            params=SimpleNamespace(**request["params"]),
            wildcards=SimpleNamespace(**request["wildcards"]),
            threads=request["threads"],
            log=log,
        )
    except left_out.LeftOut as problem:
        log.warning("left out: %s", problem)
        for path in outputs:
            left_out.write(path, problem)
    else:
        # Files of a task that is left out, of a job that gathers all tasks.
        for path in outputs if reason else []:
            if not Path(path).exists():
                left_out.write(path, reason)


def told(problem):
    """What to tell the user about an error that the user can mend; empty for a defect of the code."""
    if isinstance(problem, (ValueError, MemoryError)) or (
        isinstance(problem, FileNotFoundError) and problem.errno is None
    ):
        return str(problem)
    if isinstance(problem, OSError) and problem.errno in SYSTEM:
        path = f" ({problem.filename})" if problem.filename else ""
        return f"{SYSTEM[problem.errno]}{path}; nothing finished is lost: mend it and run again"
    if type(problem).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(problem):
        return f"not enough memory; set a smaller compute.batch_tokens ({str(problem)[:200]})"
    return ""


def set_aside(path):
    """Put a damaged table out of the way, so that the next run makes it anew; returns what to tell."""
    if path is None:
        return ""
    # Another job may have read it, too, and put it away already.
    with contextlib.suppress(FileNotFoundError):
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
