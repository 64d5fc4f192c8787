"""A warm worker: one process that has imported torch and TransformerLens, and forks per job.

Importing them costs more than most jobs.  The Snakefile starts the worker when a run begins
on this machine; each job sends what it is to do, the worker forks, and the child runs the
function with the job's own output streams.  If there is no worker (a cluster node, another
system, CIRCUIT_REUSE_WARM=0) the job imports for itself; the results are the same.

The socket lies in a folder that only the user can enter.  The worker ends with the Snakemake
process that it belongs to; a child ends when its job is killed.
"""

import array
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import job

VARIABLE = "CIRCUIT_REUSE_WARM"
STREAMS = 2
PRELOAD = ("torch", "pandas", "scipy.stats", "pyarrow.parquet", "circuit_reuse.engine.models")


def launch():
    """Start a worker for this Snakemake process; jobs find it through the environment."""
    if os.environ.get(VARIABLE) == "0" or not hasattr(socket, "AF_UNIX"):
        return
    folder = tempfile.mkdtemp(prefix="circuit-reuse-")
    os.environ[VARIABLE] = f"{os.getpid()}:{folder}/socket"
    paths = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    subprocess.Popen(
        [sys.executable, __file__, folder, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(Path(folder) / "log").open("w"),
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )


def address():
    """The socket of the worker of the Snakemake process above this one, or None."""
    owner, _, path = os.environ.get(VARIABLE, "").partition(":")
    if not path or not Path(path).parent.is_dir():
        return None
    import psutil

    above = {process.pid for process in psutil.Process().parents()}
    return path if int(owner) in above else None


def call(request, waits, patience=90):
    """Have the worker do a job; returns its exit status, or None if there is no worker.

    waits: whether the job needs what the worker is still importing, and so waits for it
    """
    path = address()
    if path is None:
        return None
    deadline = time.monotonic() + (patience if waits else 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        while True:
            try:
                line.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline or not Path(path).parent.is_dir():
                    return None
                time.sleep(0.05)
        message = json.dumps({"request": request, "cwd": os.getcwd(), "environ": dict(os.environ)}).encode()
        sys.stdout.flush()
        sys.stderr.flush()
        streams = array.array("i", [sys.stdout.fileno(), sys.stderr.fileno()])
        line.sendmsg([len(message).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        line.sendall(message)
        status = line.recv(1)
    # A child that was killed (out of memory, say) says nothing.
    return status[0] if status else 137


def serve(folder, owner):
    """Import, then fork a child for every job until the owner is gone."""
    for module in PRELOAD:
        __import__(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{folder}/socket")
    listener.listen(64)
    listener.settimeout(0.5)
    while alive(owner):
        try:
            line, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            # Whatever happens, a child never becomes a second worker: a caller may be gone before it has sent all.
            with contextlib.suppress(BaseException):
                child(line)
            os._exit(1)
        line.close()


def child(line):
    """Do one job with the streams of its caller, and answer with the exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    line.setblocking(True)
    size, ancillary, _, _ = line.recvmsg(8, socket.CMSG_SPACE(STREAMS * array.array("i").itemsize))
    streams = array.array("i")
    for _, _, data in ancillary:
        streams.frombytes(data)
    os.dup2(streams[0], 1)
    os.dup2(streams[1], 2)
    missing, parts = int.from_bytes(size, "big"), []
    while missing:
        parts.append(line.recv(min(missing, 1 << 16)))
        if not parts[-1]:
            raise EOFError("the caller ended before it had sent its job")
        missing -= len(parts[-1])
    message = json.loads(b"".join(parts))
    os.chdir(message["cwd"])
    os.environ.clear()
    os.environ.update(message["environ"])
    threading.Thread(target=end_with, args=(line,), daemon=True).start()
    status = 1
    with contextlib.suppress(BaseException):
        status = job.perform(message["request"])
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):
        line.sendall(bytes([status]))
    os._exit(status)


def end_with(line):
    """End this child when its caller hangs up."""
    with contextlib.suppress(OSError):
        line.recv(1)
    os._exit(143)


def alive(process):
    """Whether a process still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    try:
        serve(sys.argv[1], int(sys.argv[2]))
    finally:
        shutil.rmtree(sys.argv[1], ignore_errors=True)
