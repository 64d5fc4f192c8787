"""The warm worker does what a job of its own would do."""

import array
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support import PROJECT

SCRIPTS = PROJECT / "workflow" / "scripts"
STAGE = """
def run(job):
    import os, sys, time
    if job.params.what == "fail":
        raise ValueError("this is wrong; do that")
    if job.params.what == "crash":
        raise RuntimeError("inside")
    if job.params.what == "sleep":
        open(job.output.file, "w").write(str(os.getpid()))
        time.sleep(60)
    print("to the caller")
    open(job.output.file, "w").write(f"{'torch' in sys.modules} {job.threads} {os.getcwd()}")
"""
CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import job, warm
request = json.loads(sys.argv[2])
code = warm.call(request, waits=True)
sys.exit(job.perform(request) if code is None else code)
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """A worker that belongs to this process, and a module with a stage for it."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "stage_of_a_test.py").write_text(STAGE)
    paths, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), str(folder)
    sys.path.insert(0, str(SCRIPTS))
    import warm

    before = os.environ.pop(warm.VARIABLE, None)
    warm.launch()
    yield warm
    os.environ.pop("PYTHONPATH") if paths is None else os.environ.update(PYTHONPATH=paths)
    os.environ.pop(warm.VARIABLE)
    if before is not None:
        os.environ[warm.VARIABLE] = before


def request(folder, what):
    return {
        "function": "stage_of_a_test.run",
        "rule": "stage",
        "input": {},
        "params": {"what": what},
        "output": {"file": str(folder / "out")},
        "wildcards": {},
        "threads": 1,
        "log": str(folder / "log"),
    }


def client(folder, what, **options):
    command = [sys.executable, "-c", CLIENT, str(SCRIPTS), json.dumps(request(folder, what))]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_job_runs_with_its_own_output_and_folder(worker, tmp_path, is_warm):
    environ = os.environ if is_warm else os.environ | {worker.VARIABLE: "0"}
    done = client(tmp_path, "work", env=environ)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert out == "to the caller\n"
    # The worker has torch already; a process of its own imports only what it needs.
    assert (tmp_path / "out").read_text() == f"{is_warm} 1 {tmp_path}"
    assert "done in" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("is_warm", [True, False])
def test_failures_reach_the_caller(worker, tmp_path, is_warm):
    environ = os.environ if is_warm else os.environ | {worker.VARIABLE: "0"}
    mistake = client(tmp_path, "fail", env=environ)
    _, err = mistake.communicate(timeout=120)
    assert mistake.returncode == 1 and "this is wrong; do that" in err and "Traceback" not in err
    crash = client(tmp_path, "crash", env=environ)
    _, err = crash.communicate(timeout=120)
    assert crash.returncode == 1 and "RuntimeError: inside" in err
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_child_ends_with_its_caller(worker, tmp_path):
    running = client(tmp_path, "sleep")
    out = tmp_path / "out"
    for _ in range(600):
        if out.exists() and out.read_text():
            break
        time.sleep(0.05)
    child = int(out.read_text())
    assert worker.alive(child)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    for _ in range(100):
        if not worker.alive(child):
            break
        time.sleep(0.05)
    assert not worker.alive(child)


@pytest.mark.parametrize("sent", [b"", (1000).to_bytes(8, "big")], ids=["nothing", "a length alone"])
def test_a_caller_that_ends_while_it_sends_leaves_the_worker_as_it_was(worker, tmp_path, sent):
    assert client(tmp_path, "fail").wait(timeout=120) == 1
    path = Path(os.environ[worker.VARIABLE].partition(":")[2])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(path))
        if sent:
            streams = array.array("i", [1, 2])
            line.sendmsg([sent], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    served = next(each for each in psutil.process_iter(["cmdline"]) if str(path.parent) in (each.info["cmdline"] or ()))
    for _ in range(200):
        if not served.children():
            break
        time.sleep(0.05)
    assert not served.children() and path.exists()
    assert client(tmp_path, "fail").wait(timeout=120) == 1


def test_only_the_user_may_enter_the_workers_folder(worker):
    folder = Path(os.environ[worker.VARIABLE].partition(":")[2]).parent
    assert folder.stat().st_mode & 0o077 == 0


def test_jobs_of_another_snakemake_do_not_use_it(worker, monkeypatch):
    monkeypatch.setenv(worker.VARIABLE, f"999999:{os.environ[worker.VARIABLE].partition(':')[2]}")
    assert worker.address() is None
