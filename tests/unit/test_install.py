"""`pip install .` gives a library that works without the project around it."""

import importlib.util
import shutil
import subprocess
import sys

import pytest
from support import MODELS, PROJECT

SCRIPT = """
from circuit_reuse import api
folder = {folder!r}
model = api.load(folder, threads=1)
examples = api.examples(model, folder, "ioi", count=16)
scores = api.score(model, examples, "atp")
names, reuse = api.circuit(scores, examples, top_k=4)
print(api.__file__, len(names), api.ablate(model, examples, names, controls=3)["effect"] < 0)
"""


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="no setuptools to build with")
def test_the_library_installs_and_runs_from_elsewhere(tmp_path):
    source = tmp_path / "source"
    (source / "workflow").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source / name)
    shutil.copytree(
        PROJECT / "workflow" / "scripts", source / "workflow" / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    done = subprocess.run([*pip, "--target", tmp_path / "site", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    script = SCRIPT.format(folder=str(MODELS / "tiny-gpt2-small"))
    # Neither the project nor its path is there.
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path / "site")) and run.stdout.split()[2] == "True"
    assert not (tmp_path / "site" / "job.py").exists()
