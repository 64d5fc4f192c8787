"""Every page of docs/howto is followed: its files are written, its lines put in, and what it adds is run."""

import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from circuit_reuse.report import style
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from workflow_config import CONFIG, PROJECT, copy_project

pytestmark = pytest.mark.long

BLOCK = re.compile(r'^``` \w+ title="([^"]+)"(?: (after|before)="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


def follow(page, folder):
    """Do what a page says in a copy of the project; returns the existing files that it edits."""
    edited = []
    for path, where, anchor, text in BLOCK.findall((PROJECT / "docs" / "howto" / page).read_text()):
        target = folder / path
        if not where:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            continue
        lines = target.read_text().splitlines(keepends=True)
        at = next(n for n, line in enumerate(lines) if line.startswith(anchor))
        if where == "after":
            # An opening bracket may have more behind it on its line.
            head, tail = lines[at][: len(anchor)], lines[at][len(anchor) :]
            lines[at : at + 1] = [lines[at], text] if anchor.endswith(":") else [f"{head}\n", text, tail]
        else:
            lines[at:at] = [text]
        target.write_text("".join(lines))
        edited.append(path)
    return edited


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A copy of the project in which all pages were followed, with a small config: (run, {page: edited files})."""
    run = copy_project(tmp_path_factory.mktemp("howto") / "run")
    shutil.copy(PROJECT / "config" / "config.yaml", run.folder / "config" / "config.yaml")
    edited = {}
    for page in ("task.md", "model.md", "method.md", "study.md"):
        edited[page] = follow(page, run.folder)
    block = yaml.safe_load((run.folder / "config" / "config.yaml").read_text())["difficulty"]
    small = {"count": 24, "shard_size": 24, "min_valid": 4, "correct_only": True}
    run.config(
        models=["mine"],
        tasks=["antonyms", "ioi"],
        methods=["norm-difference"],
        model_sources=CONFIG["model_sources"] | {"mine": {"path": "resources/models/tiny-gpt2-small"}},
        examples=CONFIG["examples"] | small,
        difficulty=block | {"models": ["mine"], "tasks": ["antonyms", "ioi"], "examples": 24},
    )
    return run, edited


def test_a_task_a_model_a_method_and_a_study_are_added_and_run(followed):
    run, _ = followed
    text = run.snakemake("reuse", "difficulty")
    results = run.folder / "results"
    summary = pd.read_csv(results / "tables" / "reuse" / "summary.csv")
    assert set(summary["model"]) == {"mine"} and set(summary["method"]) == {"norm-difference"}
    # The embedded model cannot do the task, and it is left out with the numbers.
    skipped = pd.read_csv(results / "tables" / "reuse" / "skipped.csv")
    assert set(summary["task"]) == {"ioi"} and set(skipped["task"]) == {"antonyms"}
    lengths = pd.read_csv(results / "tables" / "difficulty" / "lengths.csv")
    assert set(lengths["task"]) == {"ioi"} and lengths["accuracy"].between(0, 1).all()
    assert "difficulty:" in text and "correct at" in text
    (figure,) = (results / "figures" / "difficulty").glob("accuracy_by_length.*")
    # The line is there in its colour, not only the axes.
    assert (abs(imread(figure)[..., :3] - to_rgb(style.CIRCUIT)) < 0.02).all(-1).sum() >= 5


def test_a_new_study_touches_at_most_four_existing_places_and_a_method_none(followed):
    _, edited = followed
    assert len(edited["study.md"]) <= 4 and edited["method.md"] == [] and len(edited["task.md"]) == 1


def test_an_unknown_method_is_answered_with_the_new_name(followed):
    run, _ = followed
    text = run.snakemake("--dry-run", "--config", "methods=[norm-diference]", check=False)
    assert "Did you mean norm-difference?" in text


def test_the_tests_of_the_method_page_pass(followed):
    run, _ = followed
    for name in ("conftest.py", "support.py"):
        shutil.copy(PROJECT / "tests" / name, run.folder / "tests" / name)
    for name in ("tiny-gpt2-medium", "tiny-neox-medium"):
        shutil.copytree(PROJECT / "resources" / "models" / name, run.folder / "resources" / "models" / name)
    shutil.copy(PROJECT / "pyproject.toml", run.folder)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/unit/test_norm_difference.py"]
    done = subprocess.run(command, cwd=run.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
