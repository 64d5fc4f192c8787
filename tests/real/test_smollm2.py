"""The workflow on a real model: SmolLM2-135M, as `make fetch-real` puts it into resources/hub."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from support import PROJECT

pytestmark = pytest.mark.long

MODEL = PROJECT / "resources" / "hub" / "smollm2-135m"
CONFIG = {
    "models": ["smollm2-135m"],
    "tasks": ["ioi", "boolean"],
    "model_sources": {"smollm2-135m": {"path": str(MODEL)}},
    "examples": {"count": 24, "shard_size": 24, "min_valid": 10},
    "agreement": {"examples": 1},
    "circuits": {"top_k": [8], "thresholds": [0.75], "controls": {"count": 10, "random_sets": 12}},
    "ablation": {"keep_controls": 2},
    "cross_task": {"top_k": 8, "threshold": 0.75, "controls": 2},
    **{study: {"models": ["smollm2-135m"]} for study in ("scaling", "sequences", "weights", "contrast")},
    "compute": {"device": "cpu", "batch_tokens": 1024},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The reuse study on two tasks, one of which the model cannot do."""
    if not (MODEL / "config.json").is_file():
        pytest.skip("SmolLM2 is not there: make fetch-real")
    folder = tmp_path_factory.mktemp("real")
    for part in (
        "Snakefile",
        "rules",
        "workflow",
        "profiles",
        "config",
        "envs",
        "resources/published",
        "resources/texts",
    ):
        source = PROJECT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    (folder / "config" / "real.yaml").write_text(yaml.safe_dump(CONFIG))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/real.yaml", "--", "reuse"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stderr


def test_the_same_heads_are_in_every_circuit_of_ioi(run):
    folder, _ = run
    table = pd.read_parquet(folder / "results/smollm2-135m/ioi/circuits/eap-ig.inclusion.parquet")
    frequency = table.set_index("component")["frequency"]
    assert (frequency[["a23.h3", "a24.h4", "a29.h0", "a29.h1"]] == 1).all()
    assert (frequency[["a20.h0", "a23.h0"]] >= 0.75).all() and (frequency >= 0.75).sum() <= 8


def test_without_a_handful_of_heads_the_model_answers_no_prompt(run):
    """Accuracy falls from 1 to 0; with as many random heads by less than 0.05."""
    folder, _ = run
    table = pd.read_csv(folder / "results/tables/reuse/summary.csv")
    row = table[table["task"] == "ioi"].iloc[0]
    assert 2 <= row["n_components"] <= 8
    assert row["accuracy"] == 1 and row["accuracy_circuit"] == 0
    assert row["accuracy_control"] > 0.95


def test_what_the_model_cannot_do_is_left_out_with_its_reason_and_the_run_goes_on(run):
    folder, said = run
    skipped = pd.read_csv(folder / "results/tables/reuse/skipped.csv")
    (row,) = skipped.to_dict("records")
    assert (row["study"], row["model"], row["task"], row["needed"]) == ("reuse", "smollm2-135m", "boolean", 10)
    assert row["usable"] < 10 and "prompts usable, 10 needed; the model answers" in row["reason"]
    assert "boolean left out for smollm2-135m" in said
    log = next((folder / "logs/score_examples/smollm2-135m/boolean").rglob("*.log")).read_text()
    assert "left out" in log and "examples in" not in log
    figures = folder / "results/figures/reuse"
    assert (figures / "effect_against_controls.svg").stat().st_size > 5000
    about = json.loads((folder / "results/smollm2-135m/model.json").read_text())
    assert (about["layers"], about["heads"], about["kv_heads"]) == (30, 9, 3)
