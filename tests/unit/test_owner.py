"""A job ends with the Snakemake that started it, however that ended, and with nothing else."""

import subprocess
import sys
import time

import owner
import psutil
from support import PROJECT

JOB = f"""
import sys, time
sys.path.insert(0, {str(PROJECT / "workflow" / "scripts")!r})
import owner
owner.watch(3)
print(__import__("os").getpid(), flush=True)
time.sleep(60)
"""
# What starts jobs through a shell, as Snakemake does, and is started by a shell that ends at once.
PARENT = """
import subprocess, sys, time
job = subprocess.Popen(["bash", "-c", 'set -euo pipefail; "$0" -c "$1"; true', sys.executable, sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(job.stdout.readline().strip(), flush=True)
time.sleep(60)
"""


def ended(process, seconds):
    """Whether a process is gone within some time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not owner.alive(process):
            return True
        time.sleep(0.2)
    return False


def test_a_job_ends_when_what_started_it_is_killed_alone():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, JOB], stdout=subprocess.PIPE, text=True)
    job = psutil.Process(int(parent.stdout.readline()))
    try:
        assert not ended(job, 3)
        parent.kill()
        parent.wait()
        assert ended(job, 30)
    finally:
        for process in (parent, job):
            if owner.alive(psutil.Process(process.pid)) if psutil.pid_exists(process.pid) else False:
                process.kill()


def test_a_shell_on_the_way_is_not_what_is_watched(monkeypatch):
    class Named:
        def __init__(self, name):
            self.called = name

        def name(self):
            return self.called

        def parents(self):
            return [Named("bash"), Named("python3.11"), Named("make"), Named("python3")]

    monkeypatch.setattr(owner.psutil, "Process", lambda: Named("python3"))
    assert owner.snakemake().name() == "python3.11"
