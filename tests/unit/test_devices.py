"""Each job takes a GPU of its own; a job that is killed gives its own back."""

import os
import signal
import subprocess
import sys

import pytest
from circuit_reuse.command import runs
from circuit_reuse.engine import devices
from support import PROJECT

CODE = """
import sys, time
sys.path.insert(0, {scripts!r})
from circuit_reuse.engine import devices
print(devices.claim({count}, {folder!r}, {patience}), flush=True)
time.sleep(60)
"""


def job(folder, count=2, patience=0.5, **variables):
    """A process that takes a device and keeps it."""
    code = CODE.format(
        scripts=str(PROJECT / "workflow" / "scripts"), count=count, folder=str(folder), patience=patience
    )
    env = {key: value for key, value in os.environ.items() if key != devices.VARIABLE} | variables
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


@pytest.fixture
def jobs():
    running = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def test_two_jobs_take_two_devices_and_a_third_is_told(tmp_path, jobs):
    jobs += [job(tmp_path), job(tmp_path)]
    assert sorted(process.stdout.readline().strip() for process in jobs) == ["0", "1"]
    third = job(tmp_path)
    jobs.append(third)
    assert "all 2 GPUs are taken" in third.communicate(timeout=30)[1]


def test_a_device_is_free_again_when_its_job_is_killed(tmp_path, jobs):
    first = job(tmp_path)
    jobs.append(first)
    taken = first.stdout.readline().strip()
    jobs.append(job(tmp_path))
    assert jobs[1].stdout.readline().strip() != taken
    waiting = job(tmp_path, patience=30)
    jobs.append(waiting)
    first.send_signal(signal.SIGKILL)
    assert waiting.stdout.readline().strip() == taken


@pytest.mark.parametrize(("count", "variables"), [(1, {}), (0, {}), (4, {devices.VARIABLE: "3"})])
def test_nothing_is_chosen_where_there_is_no_choice(tmp_path, jobs, count, variables):
    """One GPU or none; or Slurm, or the user, has chosen."""
    jobs.append(job(tmp_path, count, **variables))
    assert jobs[0].stdout.readline().strip() == "None"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GPUS": "0"}, ""),
        ({"GPUS": "3"}, "--resources gpu=3"),
        ({"GPUS": "3", "CUDA_VISIBLE_DEVICES": "1"}, "--resources gpu=1"),
        ({"GPUS": "3", "ARGS": "reuse --profile profiles/slurm"}, ""),
        ({"GPUS": "3", "ARGS": "reuse --resources gpu=2"}, ""),
    ],
)
def test_make_limits_jobs_with_a_model_to_the_gpus_unless_a_profile_does(variables, expected):
    """As a dry run of make, which a machine without a GPU can say as well."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    shown = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "run", *settings], cwd=PROJECT, capture_output=True, text=True
    ).stdout
    (line,) = [line for line in shown.splitlines() if "--logger circuit-reuse" in line]
    own = line.partition(" --logger ")[0]
    assert expected in own if expected else "--resources" not in own
    # The command does the same.
    said = runs.gpu_limit(variables.get("ARGS", "").split(), variables, lambda: int(variables["GPUS"]))
    assert " ".join(said) == expected
