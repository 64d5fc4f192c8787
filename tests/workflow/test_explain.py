"""make explain: what would run, why, how long, before anything runs."""

import os
import re
import subprocess
import sys

import explain
from workflow_config import CONFIG


def told(project, *arguments):
    """What explain prints in the project."""
    command = [sys.executable, "workflow/scripts/explain.py", *arguments]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_to_do_is_said(project):
    assert "Nothing would run" in told(project)


def test_the_setting_that_was_edited_the_jobs_and_their_time_are_named(project):
    project.config(circuits=CONFIG["circuits"] | {"thresholds": [0.5, 0.75, 1]})
    text, planned = told(project), project.planned()
    project.config()
    line = next(line for line in text.splitlines() if line.lstrip().startswith("share_circuits"))
    assert re.search(r"share_circuits +4 +\d+ s +circuits\.thresholds: \[0\.5, 1\] -> \[0\.5, 0\.75, 1\]", line)
    assert "upstream output changed" in next(x for x in text.splitlines() if "run_effects" in x)
    assert "score_examples" not in text
    # As many jobs as a run would have, the sentences of the study, and the list of what is left out.
    total = int(re.search(r"(\d+) jobs, at least", text)[1])
    assert total == len(planned) + 2
    assert re.search(r"at least \d+ (s|min) on \d+ cores \(by \d+ earlier jobs in this folder\)", text)


def test_an_edit_of_code_and_of_a_file_are_named(project):
    edit = (
        "workflow/scripts/circuit_reuse/studies/reuse/overlap.py",
        lambda t: t.replace(b"np.percentile(null, 95)", b"np.percentile(null, 94)"),
    )
    with project.edited(*edit):
        line = next(x for x in told(project).splitlines() if "measure_reuse" in x)
    assert "its code was edited" in line


def test_times_of_a_fresh_clone_are_those_that_come_with_it(tmp_path):
    text = (
        "\nrule score_examples:\n    output: x\n    reason: Missing output files: x\n    wildcards: model=m, task=t\n\n"
    )
    said = explain.explain(text, tmp_path, 2)
    assert "by the default run, and SmolLM2 in proportion to the size; two cores" in said and "not made yet" in said
    assert not re.search(r"never run", said)


def test_times_of_a_real_model_grow_with_its_parameters(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"num_hidden_layers": 12, "hidden_size": 768}')
    text = (
        f"\nrule score_examples:\n    input: {config}, corpus\n    output: x\n    reason: Missing output files: x\n"
        "    wildcards: model=mine, task=t\n\n"
    )
    sizes = explain.parameters(text)
    assert sizes == {"mine": 12 * 12 * 768**2}
    seconds = [
        explain.seconds_of("score_examples", "mine", {}, {"score_examples": 10.0}, {"mine": n * 10**8}) for n in (1, 2)
    ]
    assert seconds[1] == 2 * seconds[0] > 0
    # A small model takes the times of the default run.
    assert (
        explain.seconds_of("score_examples", "mine", {"score_examples": 3}, {"score_examples": 10.0}, {"mine": 10**6})
        == 3
    )


def test_notes_of_the_config_are_passed_on(tmp_path):
    text = (
        "note: 3 of 40 prompts fall out\n\nrule score_examples:\n    output: x\n    reason: Missing output files: x\n\n"
    )
    assert "  note: 3 of 40 prompts fall out" in explain.explain(text, tmp_path, 2).splitlines()


def test_what_pruning_costs_is_said_if_it_would_run(project, tmp_path):
    said = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run", "--forcerun", "prune_nodes"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        env=os.environ | {"CIRCUIT_REUSE_EXPLAIN": "1"},
    )
    said = explain.explain(said.stdout + said.stderr, tmp_path, 2)
    assert re.search(r"Pruning in tiny-gpt2-small: \d+ pruning runs over \d+ components, each", said)


def test_every_rule_of_the_default_run_has_a_time_that_comes_with_it(project):
    import json

    known = json.loads(explain.SHIPPED.read_text())
    assert all(seconds > 0 for seconds in known.values())
    made = {job["rule"] for job in explain.start_page.records(project.folder)}
    named = {name for name in made if not name.startswith(("draw_reuse", "check"))}
    assert named - {*known} == set()
