"""The workflow as a user meets it: the default run, a run with nothing to do, imports."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shapes import PROJECT

PARTS = ["Snakefile", "rules", "workflow", "profiles", "config", "envs", "resources"]


def timed(command, folder):
    """Seconds of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return time.perf_counter() - start


def default_run():
    """The default target in a fresh copy of the project, then again."""
    snakemake = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count())]
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            subprocess.run(["cp", "-r", PROJECT / part, Path(folder) / part], check=True)
        first = timed(snakemake, folder)
        again = [timed(snakemake, folder) for _ in range(3)]
    return {"default_run_seconds": (first, "s"), "noop_seconds": (sorted(again)[1], "s")}


def head_scan():
    """Every head of the embedded models, two tasks, three replacements, 200 train and 200 held-out examples.

    From nothing: prompts, tokens, scans.
    """
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            subprocess.run(["cp", "-r", PROJECT / part, Path(folder) / part], check=True)
        overlay = Path(folder) / "config" / "scan.yaml"
        overlay.write_text("scaling: {examples: 400, shard_size: 400}\n")
        models = sorted(path.name for path in (PROJECT / "resources" / "models").glob("tiny-*"))
        scans = [
            f"results/{model}/heads/{task}/scan/scan0000.parquet" for model in models for task in ("ioi", "anti_repeat")
        ]
        command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count()), "--configfile", str(overlay)]
        return {"head_scan_seconds": (timed([*command, "--", *scans], folder), "s")}


def contrast_study():
    """The target `contrast` with 200 train pairs on one embedded model, from nothing, all cores."""
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            subprocess.run(["cp", "-r", PROJECT / part, Path(folder) / part], check=True)
        overlay = Path(folder) / "config" / "contrast200.yaml"
        overlay.write_text("contrast: {examples: 400}\n")
        command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count()), "contrast"]
        return {"contrast_study_seconds": (timed([*command, "--configfile", str(overlay)], folder), "s")}


def imports():
    """What a job pays before it starts: torch alone, the model library, and figures."""
    code = "import sys; sys.path.insert(0, 'workflow/scripts'); "
    found = {}
    for name, modules in {
        "torch": "torch",
        "model_job": "circuit_reuse.studies.common.stage_scores",
        "table_job": "circuit_reuse.stats.sharing, circuit_reuse.stats.testing",
        "figure_job": "circuit_reuse.studies.reuse.figures",
    }.items():
        command = [sys.executable, "-c", f"{code}import {modules}"]
        times = sorted(timed(command, PROJECT) for _ in range(4))
        found[f"import_seconds_{name}"] = (times[1], "s")
    return found
