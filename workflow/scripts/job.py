"""How a function of the library runs as a job: its log, and its errors.

Plumbing only: nothing here shapes a number, so no stage depends on this file.
"""

import contextlib
import errno
import importlib
import logging
import os
import resource
import sys
import time
import traceback
from pathlib import Path

FAILED, STOPPED, KILLED = 1, 130, 137
KILLED_TEXT = (
    "its process was killed from outside, most often by the system, out of memory: run fewer jobs at once "
    "(--cores), set a smaller compute.batch_tokens, or give it more memory; nothing finished is lost, run again"
)
# What an error of the system means to the user.
SYSTEM = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EROFS: "the disk can be read only",
    errno.EACCES: "not allowed to read or write",
    errno.ENOENT: "a file is missing",
    errno.ESTALE: "the network disk lost a file",
    errno.EIO: "the disk failed",
}


def perform(request):
    """Import the function and call it; returns the exit status.

    What the user can mend is reported by its message alone.  Whatever else goes wrong is shown with its
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
    # In front of lines of progress (circuit_reuse/engine/progress.py), of which several jobs write at once.
    os.environ["CIRCUIT_REUSE_JOB"] = " ".join([request["rule"], *request["wildcards"].values()])
    try:
        work(request, log)
    except Exception as problem:
        log.error("%s", traceback.format_exc())
        text = message_of(problem) or traceback.format_exc()
        text += set_aside(getattr(problem, "damaged", None))
        print(f"{request['rule']} failed: {text}\n(log: {request['log']})", file=sys.stderr)
        return FAILED
    seconds = time.monotonic() - began
    log.info("done in %.1f s, peak memory %.0f MB", seconds, peak_megabytes())
    return 0


def work(request, log):
    """Call the function on what was not left out; outputs that are left out say why."""
    from circuit_reuse.data import jobs, left_out

    outputs = [path for paths in request["output"].values() for path in ([paths] if isinstance(paths, str) else paths)]
    try:
        kept, reason = left_out.sift(request["input"])
        module, function = request["function"].rsplit(".", 1)
        run = getattr(importlib.import_module(module), function)
        about = (request[name] for name in ("output", "params", "wildcards", "threads"))
        run(jobs.Job(kept, *about, log))
    except left_out.LeftOut as problem:
        log.warning("left out: %s", problem)
        for path in outputs:
            left_out.write(path, problem)
    else:
        # Files of a task that is left out, of a job that gathers all tasks.
        for path in outputs if reason else []:
            if not Path(path).exists():
                left_out.write(path, reason)


def message_of(problem):
    """The message to the user about an error that the user can mend; empty for a defect of the code."""
    if isinstance(problem, (ValueError, MemoryError)) or (
        isinstance(problem, FileNotFoundError) and problem.errno is None
    ):
        return str(problem)
    if isinstance(problem, OSError) and problem.errno in SYSTEM:
        path = f" ({problem.filename})" if problem.filename else ""
        return f"{SYSTEM[problem.errno]}{path}; nothing finished is lost: correct this and run again"
    if type(problem).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(problem):
        return f"not enough memory; set a smaller compute.batch_tokens ({str(problem)[:200]})"
    return ""


def set_aside(path):
    """Put a damaged table out of the way, so that the next run makes it again; returns what to report."""
    if path is None:
        return ""
    # Another job may have read it, too, and put it away already.
    with contextlib.suppress(FileNotFoundError):
        Path(path).replace(f"{path}.damaged")
    return f"; it was renamed to {path}.damaged. Run again: it and what needs it are made again"


def peak_megabytes():
    """Peak memory of this process; Linux counts it in kilobytes, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
