"""What a folder needs before a run: that no other run is already using it, and no result of the future.

Snakemake's own locks are files that stay when a run is killed, and then have to be taken away by hand
(`--unlock`).  The one here is the kernel's: after a crash or a kill -9 the next run simply starts.
Plumbing only: nothing here shapes a number, so no stage depends on this file.
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

NAME = "circuit-reuse.lock"
# Seconds by which clocks of machines that share a disk may differ.
SKEW = 60
# What the executor for Slurm calls all jobs of a run.
RUN_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Seconds until Slurm has ended a job that was cancelled.
CANCELLED = 120
# Open locks of this process; closing the file would give the folder up.
HELD = []


def take(folder):
    """Hold the lock of a folder until this process ends.

    raises: BlockingIOError with a message for the user if another run holds it
    """
    try:
        import fcntl
    except ImportError:  # Windows, where Snakemake itself hardly runs
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / NAME).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise BlockingIOError(
            f"another run is already using {folder.resolve().parent} (process {holder}): wait for it, or run this "
            "one in a clone of its own (git worktree add ../second)"
        ) from None
    except OSError:
        # A file system without locks: nothing to hold on to, as before.
        lock.close()
        return
    lock.truncate(0)
    lock.write(f"{os.getpid()} on {os.uname().nodename}\n")
    lock.flush()
    HELD.append(lock)


def mend_times(folders):
    """Give files whose time lies in the future (a clock was wrong) the present time; returns how many.

    Snakemake takes a job for failed if its output is older than its input, which everything made from
    such a file would be until its time has come.
    """
    now, count = time.time(), 0
    for folder in folders:
        for path in Path(folder).rglob("*"):
            if path.stat(follow_symlinks=False).st_mtime > now + SKEW:
                os.utime(path, (now, now), follow_symlinks=False)
                count += 1
    return count


def cancel_orphans(folder):
    """Cancel the Slurm jobs that a run in this folder left behind when it was killed; returns their numbers.

    They would write the same files as the jobs of this run.  Whoever holds the folder is its only run, so every
    job that works in it under a run's name is one of an earlier run.
    """
    if not (shutil.which("squeue") and shutil.which("scancel")):
        return []
    orphans = jobs_in(folder)
    if orphans:
        subprocess.run(["scancel", *orphans], capture_output=True, check=False)
        until = time.monotonic() + CANCELLED
        while jobs_in(folder) and time.monotonic() < until:
            time.sleep(1)
    return orphans


def accounting_problem():
    """Why `sacct` cannot say whether a job has ended, in its own words; empty where it can."""
    try:
        done = subprocess.run(
            ["sacct", "--noheader", "--allocations", "--jobs", "1"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        return str(problem)
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else ""


def jobs_in(folder):
    """Numbers of the user's Slurm jobs that a run submitted from a folder; none where Slurm does not answer."""
    command = ["squeue", "--me", "--noheader", "--format=%A|%j|%Z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.strip().split("|", 2) for line in listed.splitlines()]
    here = Path(folder).resolve()
    return sorted(
        {row[0] for row in rows if len(row) == 3 and RUN_NAME.fullmatch(row[1]) and Path(row[2]).resolve() == here}
    )
