"""The parts of the command that run the workflow: shorter names for Snakemake's, which does all that it does."""

import os
import subprocess
import sys
from pathlib import Path

from circuit_reuse.engine import devices

CONFIGS = (".yaml", ".yml", ".json")


def project():
    """The folder of the clone: that of the library, or the one that the command is called in.

    raises: ValueError where there is none, as after `pip install`
    """
    for place in (Path(__file__).resolve().parents[4], Path.cwd()):
        if (place / "Snakefile").is_file() and (place / "workflow" / "screen").is_dir():
            return place
    raise ValueError(
        "run and explain need a clone of the project, in which the workflow is; score, circuit, ablate, compare and convert do not"
    )


def options(chosen, more):
    """Targets, configs and Snakemake's own options; configs last but for the cores, as they take any number of values."""
    files = [path for path in chosen.config if Path(path).suffix in CONFIGS]
    # A study named behind the configs.
    targets = [path for path in chosen.config if path not in files]
    configs = ["--configfile", *(str(Path(path).resolve()) for path in files)] if files else []
    return [*targets, *more, *configs]


def gpu_limit(more, environment=os.environ, count=devices.count):
    """As many jobs with a model at once as there are GPUs, as in the Makefile; nothing without one, or where a profile or the user says."""
    there = count()
    if not there or any(option.startswith(("--profile", "--resources")) for option in more):
        return []
    return ["--resources", f"gpu={1 if environment.get(devices.VARIABLE) else there}"]


def run(chosen, more):
    """Run the workflow; the exit status is Snakemake's."""
    place = project()
    limit = gpu_limit(more)
    command = [sys.executable, "-m", "snakemake", *limit, "--logger", "circuit-reuse", *options(chosen, more)]
    command += ["--cores", str(chosen.cores or "all")]
    screen = os.pathsep.join(filter(None, [str(place / "workflow" / "screen"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(command, cwd=place, env=os.environ | {"PYTHONPATH": screen}).returncode


def explain(chosen, more):
    """Say what a run would do."""
    place = project()
    command = [sys.executable, str(place / "workflow" / "scripts" / "explain.py"), *options(chosen, more)]
    cores = {"CORES": str(chosen.cores)} if chosen.cores else {}
    return subprocess.run(command, cwd=place, env=os.environ | cores).returncode
