"""How benchmarks measure: ratios of paired runs, slopes, peak memory."""

import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch


def seconds(work, device="cpu"):
    """Time of one call."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def paired(first, second, runs=7, device="cpu"):
    """Median of time(first) / time(second), run in turn, so that drift of the machine cancels."""
    seconds(first, device), seconds(second, device)
    ratios = []
    for run in range(runs):
        # Which goes first alternates: the second of two finds warmer memory.
        order = (first, second) if run % 2 == 0 else (second, first)
        times = {work: seconds(work, device) for work in order}
        ratios.append(times[first] / times[second])
    return statistics.median(ratios)


def exponent(sizes, times):
    """Slope of log time against log size: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def peak_megabytes(children=False):
    """Peak memory of this process, or the largest of those it waited for."""
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def extra_megabytes(work):
    """How far memory rises above what it is now while `work` runs, the most (Linux)."""
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = in_status(status, "VmRSS")
    work()
    return in_status(status, "VmHWM") - before


def in_status(status, key):
    """A line of a process's status, in MB."""
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key)) / 2**10


def matmul_rate(device, dtype, width=8192, runs=20):
    """Floating-point operations per second of one large product of matrices on this device."""
    left = torch.randn(width, width, device=device, dtype=getattr(torch, dtype))
    for _ in range(3):
        left @ left
    spent = seconds(lambda: [left @ left for _ in range(runs)], device)
    return runs * 2 * width**3 / spent
