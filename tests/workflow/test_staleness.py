"""What reruns when: an edit a row, and exactly the jobs that it makes stale."""

import os
from collections import Counter

import pytest
from workflow_config import CONFIG

pytestmark = pytest.mark.xdist_group("workflow")

TASKS, MODELS, SHARDS = 2, 2, 2
PAIRS = TASKS * MODELS
# Everything from a stage on.
TESTED = {"test_circuits": PAIRS, "summarise_reuse": 1, "draw_reuse_atp": 1}
RUN = TESTED | {"run_effects": PAIRS, "cross_tasks": MODELS}
SHARED = RUN | {"share_circuits": PAIRS, "measure_reuse": MODELS}
SCORED = SHARED | {"score_examples": 2 * PAIRS * SHARDS, "compare_methods": MODELS}
ASKED = SCORED | {"tokenise_examples": PAIRS * SHARDS}
WRITTEN = ASKED | {"write_prompts": TASKS * SHARDS}


def block(run, name, **changes):
    """The config with some keys of a block changed."""
    run.config(**{name: CONFIG[name] | changes})


def replaced(path, old, new):
    """An edit of a file: (path, change)."""
    return path, lambda text: text.replace(old.encode(), new.encode())


def code(module, old, new):
    """An edit of a library module."""
    return replaced(f"workflow/scripts/circuit_reuse/{module}.py", old, new)


CONFIG_EDITS = {
    "a threshold added": ({"circuits": {"thresholds": [50, 75, 100]}}, SHARED),
    "controls": ({"circuits": {"controls": {"count": 7, "same_layers": False, "pool_too_small": "skip"}}}, RUN | {"share_circuits": PAIRS}),
    "permutations": ({"tests": {"permutations": 300}}, TESTED),
    "two values swapped": ({"tests": {"permutations": 100, "bootstrap": 200}}, TESTED | {"cross_tasks": MODELS}),
    "draws of the null": ({"reuse": {"draws": 120}}, {"measure_reuse": MODELS, "summarise_reuse": 1, "draw_reuse_atp": 1}),
    "figure style": ({"figures": {"dpi": 60}}, {"draw_reuse_atp": 1}),
    "level of a line": ({"tests": {"alpha": 0.01}}, {"draw_reuse_atp": 1}),
    "replacement": ({"ablation": {"replacement": "zero"}}, RUN),
    "steps that no method uses": ({"attribution": {"steps": 9}}, {"summarise_reuse": 1}),
    "metric": ({"attribution": {"metric": "log_probability"}}, ASKED),
    "batch size and device": ({"compute": {"batch_tokens": 100, "device": "auto"}}, {}),
    "weights' type": ({"compute": {"dtype": "bfloat16"}}, ASKED),
    "seed": ({"seed": 1}, WRITTEN),
}  # fmt: skip

CODE_EDITS = {
    "comment": (code("attribution", "import torch\n", "# why\nimport torch\n"), {}),
    "docstring": (code("circuits", "A short hash", "The short hash"), {}),
    "layout": (code("reuse", "rare_n = rarefied", "rare_n =  rarefied"), {}),
    "reuse statistics": (code("reuse", "[2.5, 97.5]", "[2.5, 97.4]"), {"measure_reuse": MODELS, "summarise_reuse": 1, "draw_reuse_atp": 1}),
    "tests": (code("testing", "[2.5, 97.5]", "[2.5, 97.4]"), TESTED | {"compare_methods": MODELS, "cross_tasks": MODELS}),
    "attribution": (code("attribution", "(step + 0.5)", "(step + 0.4)"), SCORED),
    "figures": (code("figures/style", "0.75 + height", "0.8 + height"), {"draw_reuse_atp": 1}),
    "summary": (code("summary", "value >= 0.1", "value >= 0.2"), {"summarise_reuse": 1, "draw_reuse_atp": 1}),
    "one task's prompts": (code("prompts/sequence", "span = abs(step) * length", "span = length * abs(step)"), "digits"),
}  # fmt: skip


def counted(jobs):
    return dict(Counter(rule for rule, _ in jobs))


def test_nothing_is_stale_after_a_run(project):
    assert project.planned() == []
    assert "Nothing to be done" in project.snakemake()


def test_touching_files_makes_nothing_stale(project):
    touched = ["Snakefile", "config/config.yaml", "workflow/scripts/score_examples.py",
               "workflow/scripts/circuit_reuse/models.py",
               "resources/models/tiny-gpt2-small/model.safetensors"]  # fmt: skip
    for path in touched:
        os.utime(project.folder / path)
    assert project.planned() == []


def test_the_order_of_keys_makes_nothing_stale(project):
    import yaml

    path = project.folder / "config" / "config.yaml"
    config = yaml.safe_load(path.read_text())

    def turned(value):
        return {k: turned(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    with project.edited(
        "config/config.yaml", lambda _: yaml.safe_dump(turned(config), sort_keys=False).encode()
    ):
        assert project.planned() == []


@pytest.mark.parametrize("name", CONFIG_EDITS)
def test_an_edit_of_the_config(project, name):
    changes, expected = CONFIG_EDITS[name]
    blocks = {
        key: CONFIG.get(key, {}) | value if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    project.config(**blocks)
    try:
        assert counted(project.planned()) == expected
    finally:
        project.config()


@pytest.mark.parametrize("name", CODE_EDITS)
def test_an_edit_of_the_code(project, name):
    edit, expected = CODE_EDITS[name]
    with project.edited(*edit):
        jobs = project.planned()
    if expected == "digits":
        per_task = [job for job in jobs if "task" in job[1]]
        assert per_task and all(values["task"] == "digits" for _, values in per_task)
        assert counted(jobs)["write_prompts"] == SHARDS
    else:
        assert counted(jobs) == expected


def test_an_edit_of_one_models_weights_reruns_that_model(project):
    def flip(content):
        return content[:-1] + bytes([content[-1] ^ 1])

    with project.edited("resources/models/tiny-neox-small/model.safetensors", flip):
        jobs = project.planned()
    per_model = [values["model"] for _, values in jobs if "model" in values]
    assert set(per_model) == {"tiny-neox-small"}
    assert (
        counted(jobs)["describe_model"] == 1
        and counted(jobs)["score_examples"] == TASKS * 2 * SHARDS
    )
    assert "write_prompts" not in counted(jobs)


def test_a_model_removed_leaves_the_others(project):
    project.config(models=["tiny-gpt2-small"])
    assert counted(project.planned()) == {"summarise_reuse": 1, "draw_reuse_atp": 1}
    project.config()


def test_a_model_added_runs_that_model(project):
    project.config(models=["tiny-gpt2-small", "tiny-neox-small", "third"])
    jobs = project.planned()
    project.config()
    assert {values["model"] for _, values in jobs if "model" in values} == {"third"}
    assert counted(jobs)["tokenise_examples"] == TASKS * SHARDS


def test_a_task_added_runs_that_task(project):
    project.config(tasks=["ioi", "digits", "months"])
    jobs = project.planned()
    project.config()
    assert {values["task"] for _, values in jobs if "task" in values} == {"months"}
    assert counted(jobs)["measure_reuse"] == MODELS


def test_more_examples_run_only_the_new_shards(project):
    block(project, "examples", count=36)
    jobs = project.planned()
    project.config()
    assert {values["shard"] for _, values in jobs if "shard" in values} == {"0002"}
    assert counted(jobs)["score_examples"] == 2 * PAIRS


def test_a_deleted_result_is_made_again_from_what_is_there(project):
    path = project.folder / "results" / "tables" / "reuse" / "summary.csv"
    content = path.read_bytes()
    path.unlink()
    assert counted(project.planned()) == {"summarise_reuse": 1}
    project.snakemake()
    assert path.read_bytes() == content


def test_deleted_intermediates_are_made_again_with_what_hangs_on_them(project):
    path = project.folder / "results" / "tiny-gpt2-small" / "ioi" / "tests" / "atp.parquet"
    content = path.read_bytes()
    path.unlink()
    # Snakemake makes it again only where something that needs it is stale.
    assert counted(project.planned()) in (
        {},
        {"test_circuits": 1, "summarise_reuse": 1, "draw_reuse_atp": 1},
    )
    path.write_bytes(content)
    project.snakemake("--touch")
