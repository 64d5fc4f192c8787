"""One tiny run of the workflow, in copies of the project that tests may edit."""

import fcntl
import os
import shutil
import subprocess

import pytest
from workflow_config import NO_NETWORK, Run, copied, copy_project


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A finished run; tests that change it put back what they changed.

    Made once, without network where that can be taken away, and copied for each process of the tests.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny-run"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.is_dir():
            partial = shared.with_name("tiny-run-partial")
            shutil.rmtree(partial, ignore_errors=True)
            run = copy_project(partial)
            seen = subprocess.run([*NO_NETWORK, "cat", "/proc/net/dev"], capture_output=True, text=True)
            (partial / "interfaces.txt").write_text(seen.stdout)
            (partial / "screen.txt").write_text(run.snakemake("--verbose", offline=True))
            partial.rename(shared)
    return copied(Run(shared), tmp_path_factory.mktemp("run"))
