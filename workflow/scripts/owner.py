"""End a job whose Snakemake is gone: after a kill -9 of it alone, its jobs would write over the results of the next run."""

import os
import threading
import time

import psutil

SECONDS = 1


def snakemake():
    """The Snakemake that started this process, through a shell as a rule, or None."""
    for process in psutil.Process().parents():
        if process.name().startswith(("python", "snakemake")):
            return process
    return None


def watch(code):
    """From now on end this process at once, with an exit status, when its Snakemake has ended."""
    owner = snakemake()
    if owner is None:
        return

    def look():
        while alive(owner):
            time.sleep(SECONDS)
        os._exit(code)

    threading.Thread(target=look, daemon=True).start()


def alive(process):
    """Whether a process runs, and is not only waiting to be collected."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
