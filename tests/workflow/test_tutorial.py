"""Every command of the tutorial, and every example of the library's page, as a reader would run them."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workflow_config import PROJECT

pytestmark = pytest.mark.long


def blocks(page, language):
    """Code blocks of a page below docs: [(what stands behind the language, code)]."""
    text = (PROJECT / "docs" / page).read_text()
    return re.findall(rf"^```{language} ?(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project as it is in git, with the environment of these tests."""
    folder = tmp_path_factory.mktemp("tutorial") / "circuit-reuse"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.splitlines():
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("python", "snakemake"):
        # The environment's own programs, whose folder says which packages they see.
        (binaries / name).write_text(f'#!/bin/sh\nexec "{Path(sys.executable).parent / name}" "$@"\n')
        (binaries / name).chmod(0o755)
    command = (
        f'#!/bin/sh\nPYTHONPATH="{folder}/workflow/scripts" exec "{sys.executable}" -m circuit_reuse.command "$@"\n'
    )
    (binaries / "circuit-reuse").write_text(command)
    (binaries / "circuit-reuse").chmod(0o755)
    (folder / ".venv" / "done").touch()
    os.utime(folder / "requirements.lock", (0, 0))
    return folder


def logs(clone):
    """Snakemake's logs, which name every job of a run."""
    return sorted((clone / ".snakemake" / "log").glob("*.log"))


def test_every_command_of_the_tutorial_works_in_order_in_ten_minutes(clone):
    commands, began = blocks("tutorial.md", "sh"), time.monotonic()
    assert len(commands) >= 8
    said, jobs = [], []
    for kind, command in commands:
        before = {*logs(clone)}
        done = subprocess.run(["bash", "-ec", command], cwd=clone, capture_output=True, text=True)
        text = done.stdout + done.stderr
        assert (done.returncode != 0) == (kind == "fails"), f"{command}\n{text[-3000:]}"
        assert "Traceback" not in text
        said.append(text)
        jobs.append("".join(path.read_text() for path in logs(clone) if path not in before))
    first, table, explained, _, own, crossed, wrong, mine = said
    ran_first, *_, ran_own, _, _, ran_mine = jobs
    assert {"effect", "effect_control", "q_value"} <= {*table.splitlines()[0].split(",")}
    assert "in 1 of 1 tested pairs" in first  # the sentence and the table agree
    assert "What was found" in first and (clone / "results" / "report.html").stat().st_size > 10**6
    assert (
        "share_circuits" in explained
        and "[0.5, 0.75] -> [0.5, 0.75, 0.9]" in explained
        and "score_examples" not in explained
    )
    scored = "score_examples/tiny-gpt2-medium/ioi"
    assert "left out" not in own and "task=owner" in ran_own and scored in ran_first and scored not in ran_own
    assert "owner" in crossed and "Did you mean ioi?" in wrong
    assert (
        "left out" not in mine
        and "model=mine" in ran_mine
        and (clone / "results" / "mine" / "owner" / "tests").is_dir()
    )
    assert time.monotonic() - began < 600


def test_every_example_of_the_library_runs(clone):
    code = "\n".join(text for _, text in blocks("library.md", "python"))
    # score, circuit, ablate, prune, compare
    assert all(f"api.{name}(" in code for name in ("score", "circuit", "ablate", "prune", "compare"))
    done = subprocess.run([clone / ".venv/bin/python", "-c", code], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "p_value" in done.stdout and "jaccard_null" in done.stdout


def test_the_commands_of_the_library_s_page_run(clone):
    for _, text in blocks("library.md", "sh"):
        done = subprocess.run(["bash", "-ec", text], cwd=clone, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    assert (clone / "ioi.pdf").is_file() and (clone / "ioi.graph.json").is_file()


def test_the_examples_of_the_readme_run(clone):
    """Its lines of Python, and its command."""
    (code,) = (text for _, text in blocks("../README.md", "python"))
    environment = os.environ | {"PYTHONPATH": "workflow/scripts"}
    done = subprocess.run(
        [clone / ".venv/bin/python", "-c", code], cwd=clone, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0 and "p_value" in done.stdout, done.stderr[-3000:]
    commands = re.findall(r"`(\.venv/bin/circuit-reuse [^`]*)`", (PROJECT / "README.md").read_text())
    assert commands
    for command in commands:
        done = subprocess.run(command.split(), cwd=clone, capture_output=True, text=True)
        assert done.returncode == 0 and (clone / "ioi.json").is_file(), done.stderr[-3000:]
