"""What a model cannot do: left out with its reason, and an error only where nothing is left."""

import pandas as pd
import pytest
import yaml
from workflow_config import copy_project

pytestmark = pytest.mark.long

# The tasks that the small embedded model never learned to answer.
UNKNOWN = ["capitals", "comparison"]


def overlay(run, tasks):
    """Arguments of a small study of reuse on some tasks."""
    path = run.folder / "config" / "left_out.yaml"
    config = {"models": ["tiny-gpt2-small"], "tasks": tasks, "examples": {"correct_only": True, "min_valid": 6}}
    path.write_text(yaml.safe_dump(config))
    return ["--configfile", path, "--", "reuse"]


def test_a_task_that_no_model_can_do_is_left_out_and_only_nothing_at_all_is_an_error(tmp_path):
    run = copy_project(tmp_path / "project")
    with pytest.raises(AssertionError) as failed:
        run.snakemake(*overlay(run, UNKNOWN))
    said = str(failed.value)
    assert "nothing is left to study" in said and "task_options.<task>.shots" in said
    assert all(f"{task} left out for tiny-gpt2-small" in said for task in UNKNOWN)
    table = run.folder / "results/tables/reuse/skipped.csv"
    assert set(pd.read_csv(table)["task"]) == set(UNKNOWN)
    said = run.snakemake(*overlay(run, [*UNKNOWN, "anti_repeat"]))
    assert "nothing is left" not in said and "capitals left out for tiny-gpt2-small" in said
    summary = pd.read_csv(run.folder / "results/tables/reuse/summary.csv")
    assert set(summary["task"]) == {"anti_repeat"}
