"""The reuse study through a real Slurm: jobs killed from outside, and the bytes of a local run."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "workflow"))

from private_slurm import Slurm, missing
from workflow_config import CONFIG, copy_project

MODELS = ["tiny-gpt2-small"]
BLOCKS = {
    "models": MODELS,
    "scaling": CONFIG["scaling"] | {"models": MODELS},
    "examples": CONFIG["examples"] | {"shard_size": 24},
    # Every job is a start of Snakemake on the node: what says nothing more of the cluster is left out.
    "stability": {"corruption": False},
    "fine_grained": {"top_k": {"edge": 0, "position": 0}},
    "agreement": {"examples": 0},
    # As users have it: with `cpu` no GPU would be asked for.
    "compute": CONFIG["compute"] | {"device": "auto"},
}
PROFILE = [
    "--profile",
    "profiles/slurm",
    "--slurm-no-account",
    "--slurm-status-command",
    "squeue",
    "--slurm-init-seconds-before-status-checks",
    "2",
    "--latency-wait",
    "10",
]


def reason():
    """Why this machine cannot run these tests, or nothing."""
    if missing():
        return f"Slurm is not installed ({missing()}): apt install slurmctld slurmd slurm-client"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "the Slurm executor of Snakemake is not installed: make slurm"
    return ""


pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(reason()), reason=reason() or "-")]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    cluster = Slurm(tmp_path_factory.mktemp("slurm")).start()
    yield cluster
    cluster.stop()


def disturbed(run, cluster):
    """Run the study, cancel the first job that runs, and kill the script of the next with -9.

    returns: what Snakemake printed, and what was done to whom
    """
    log = run.folder / "snakemake.out"
    command = [sys.executable, "-m", "snakemake", *PROFILE, "reuse"]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=run.folder, env=cluster.env, stdout=out, stderr=out)
        done, seen = [], set()
        while process.poll() is None and len(done) < 2:
            for job, comment in cluster.jobs("RUNNING").items():
                if job in seen or len(done) == 2:
                    continue
                if not done:
                    seen.add(job)
                    cluster.run("scancel", job)
                    done.append(("scancel", comment))
                elif killed := script_of(run.folder):
                    seen.add(job)
                    done.append(("kill -9", killed))
            time.sleep(0.2)
        process.wait(600)
    text = log.read_text()
    assert process.returncode == 0, text[-5000:]
    return text, done


def script_of(folder):
    """Kill one running script of the study; returns its command line."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = " ".join(process.info["cmdline"] or [])
        if (
            process.info["cwd"] == str(folder)
            and re.search(r"\.snakemake/scripts/\w+\.\w+\.py", line)
            and "bash" not in line
        ):
            process.send_signal(signal.SIGKILL)
            return line
    return None


def memory_of(line):
    """The memory that a line of sbatch asks for, in MB."""
    return int(re.search(r"--mem[ =](\d+)", line)[1])


@pytest.fixture(scope="module")
def both(slurm, tmp_path_factory):
    """A local run, and a disturbed one through Slurm, of the same project."""
    local, remote = (copy_project(tmp_path_factory.mktemp(name) / "run") for name in ("local", "remote"))
    for run in (local, remote):
        run.config(**BLOCKS)
    local.snakemake("reuse")
    text, done = disturbed(remote, slurm)
    return local, remote, text, done


def test_jobs_that_are_cancelled_or_killed_are_run_again(both):
    _, _, text, done = both
    assert [how for how, _ in done] == ["scancel", "kill -9"]
    assert text.count("Error in rule") >= 2 and text.count("Trying to restart job") >= 2


def test_the_results_are_the_bytes_of_a_local_run(both):
    local, remote, *_ = both
    for run in (local, remote):
        assert (run.folder / "results" / "tables" / "reuse" / "summary.csv").is_file()
    names = sorted(
        str(path.relative_to(local.folder))
        for path in (local.folder / "results").rglob("*")
        if path.suffix in (".parquet", ".csv", ".png", ".tex")
    )
    assert len(names) > 20
    for name in names:
        assert (remote.folder / name).read_bytes() == (local.folder / name).read_bytes(), name


def test_every_job_that_runs_a_model_asks_for_a_gpu_time_and_memory(both, slurm):
    lines = slurm.submitted
    rules = {re.search(r"--comment '?rule_(\w+?)(_wildcards|'| )", line)[1] for line in lines}
    assert {"tokenise_examples", "score_examples", "run_effects", "cross_tasks"} <= rules
    for line in lines:
        assert re.search(r"--gpus=1\b", line), line
        assert re.search(r"(-t|--time)[ =]\d+", line) and re.search(r"--mem[ =]\d+", line), line
    # What only reads tables stays where Snakemake runs.
    assert not rules & {"share_circuits", "test_circuits", "summarise_reuse"}


def test_jobs_of_one_rule_that_are_ready_together_are_submitted_as_an_array(both, slurm):
    """In the run above a job may become ready just as the one before it is submitted, so it is not asked of that one."""
    _, run, *_ = both
    before = len(slurm.submitted)
    again = ["--forcerun", "score_examples", "--until", "score_examples", "--", "reuse"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *PROFILE, *again],
        cwd=run.folder,
        env=slurm.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = slurm.submitted[before:]
    assert lines and all("rule_score_examples" in line for line in lines)
    assert all(re.search(r"--array[ =]1-[2-9]", line) for line in lines), lines


def test_a_site_that_knows_gres_only(slurm, tmp_path):
    """The same by --gres: asked for once, given by Slurm, and no --gpus."""
    run = copy_project(tmp_path / "run")
    run.config(**BLOCKS)
    before = len(slurm.submitted)
    target = "results/tiny-gpt2-small/ioi/examples/0000.parquet"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *PROFILE, "--", target],
        cwd=run.folder,
        env=slurm.env | {"CIRCUIT_REUSE_GRES": "gpu:1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and (run.folder / target).is_file(), done.stderr[-3000:]
    lines = slurm.submitted[before:]
    assert len(lines) == 2 and all("--gres=gpu:1" in line and "--gpus" not in line for line in lines)


def test_a_run_that_would_never_see_a_job_end_says_so_at_once(slurm, tmp_path):
    """This Slurm keeps no accounts, so sacct, which the executor asks by itself, has no answer."""
    run = copy_project(tmp_path / "run")
    run.config(**BLOCKS)
    before = len(slurm.submitted)
    profile = [each for each in PROFILE if each not in ("--slurm-status-command", "squeue")]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *profile, "--", "results/tiny-gpt2-small/ioi/examples/0000.parquet"],
        cwd=run.folder,
        env=slurm.env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode and "add --slurm-status-command squeue" in done.stderr + done.stdout
    assert len(slurm.submitted) == before


def test_a_job_that_is_tried_again_gets_more(both, slurm):
    found = {}
    for line in slurm.submitted:
        rule = re.search(r"--comment '?(rule_\S+?)'? ", line)[1]
        # An array asks for a few MB more, as its jobs are in its script.
        found.setdefault(rule, []).append(round(memory_of(line), -3))
    again = [sizes for sizes in found.values() if len(set(sizes)) > 1]
    assert again and all(max(sizes) >= 2 * min(sizes) for sizes in again)


def test_jobs_of_a_run_that_was_killed_alone_are_cancelled_by_the_next(slurm, tmp_path):
    """Killed with -9, Snakemake cancels nothing; two jobs would write the same file if the next run did not."""
    run = copy_project(tmp_path / "run")
    run.config(**BLOCKS)
    target = "results/tiny-gpt2-small/ioi/circuits/atp.parquet"
    command = [sys.executable, "-m", "snakemake", *PROFILE, "--", target]
    process = subprocess.Popen(
        command, cwd=run.folder, env=slurm.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while not (left := set(slurm.jobs("RUNNING"))) and time.monotonic() < end:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left and left <= set(slurm.jobs("RUNNING"))
    done = subprocess.run(command, cwd=run.folder, env=slurm.env, capture_output=True, text=True)
    assert done.returncode == 0 and (run.folder / target).is_file(), done.stderr[-3000:]
    assert "of an earlier run in this folder" in done.stderr + done.stdout
    assert all(job in done.stderr + done.stdout for job in left) and not left & set(slurm.jobs("RUNNING"))
