"""What goes wrong on real machines, done to a run on purpose."""

import contextlib
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


# When a run took place and how long, which the page of results says in one sentence: the one thing that may differ.
WHEN = re.compile(rb"<p>\d+ jobs?, [^<]*? of work in all, between [-\d: ]+ and [-\d: ]+\.")


def digests(folder):
    """Every result by name, as a hash of its bytes; of the page of results without the times of the jobs."""
    results = Path(folder) / "results"
    return {
        str(path.relative_to(results)): hashlib.sha256(WHEN.sub(b"", path.read_bytes(), count=1)).hexdigest()
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.name not in (".snakemake_timestamp", ".report-arguments")
    }


def differing(one, other):
    """Names of the results that two runs do not share byte for byte."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


class Job:
    """A run of Snakemake in a process group of its own, and what it prints."""

    def __init__(self, folder, *arguments, **environment):
        self.folder = Path(folder)
        self.path = self.folder / f"printed-{time.monotonic_ns()}.txt"
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, arguments)]
        with self.path.open("w") as out:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
            )

    @property
    def text(self):
        """All that was printed so far."""
        return self.path.read_text(errors="replace")

    def kill(self):
        """kill -9 of the whole process group, as at a power cut for all that the run had begun."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds=900):
        """Wait for the end; returns the exit status."""
        return self.process.wait(seconds)

    def until(self, what, seconds=120):
        """Wait until something is printed or has become true; returns whether it did."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = what() if callable(what) else what in self.text
            if found:
                return found
            if self.process.poll() is not None:
                return what() if callable(what) else what in self.text
            time.sleep(0.02)
        return False


def killed_at_random(folder, kills, least, most, seed, *arguments):
    """Kill runs of one project at random moments, each going on where the last one was cut off; the last is left alone.

    least, most: seconds between a start and its kill
    yields:      (run that has ended, seconds after which it was killed; None for one that ended by itself)
    """
    chance = random.Random(seed)
    for _ in range(kills):
        job, seconds = Job(folder, *arguments), chance.uniform(least, most)
        try:
            job.wait(seconds)
            seconds = None
        except subprocess.TimeoutExpired:
            job.kill()
        yield job, seconds
    job = Job(folder, *arguments)
    job.wait(7200)
    yield job, None


def workers(job):
    """Processes that do the work of jobs: children of the warm worker of a run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if any(part.endswith("warm.py") for part in line) and str(job.process.pid) in line:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += process.children()
    return found


@contextmanager
def memory_limit(megabytes):
    """A memory control group: processes that are put into it are killed by the system at the limit.

    yields: a function that puts a process into it, or None where this machine does not allow one
    """
    old = CGROUP / "memory"
    base = old if old.is_dir() else CGROUP
    group = base / f"circuit-reuse-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if old.is_dir() else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(megabytes * 2**20))
    except OSError:
        if group.is_dir():
            group.rmdir()
        yield None
        return
    try:
        yield lambda pid: (group / "cgroup.procs").write_text(str(pid))
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)


@contextmanager
def small_disk(folder, kilobytes):
    """A file system of a few kilobytes at a folder, in memory.

    yields: a function that gives it another size, or None where mounting is not allowed
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return

    def grow(size):
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)

    try:
        yield grow
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def other_clock(offset):
    """The environment of a process whose clock is off, or None if libfaketime is not installed."""
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/opt/homebrew/lib"):
        library = Path(folder) / "faketime" / "libfaketimeMT.so.1"
        if library.is_file():
            # Time stamps of files are the kernel's and stay true: what is wrong is what the process sees.
            return {"LD_PRELOAD": str(library), "FAKETIME": offset, "NO_FAKE_STAT": "1"}
    return None
