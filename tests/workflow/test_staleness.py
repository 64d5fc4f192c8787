"""What reruns when: an edit a row, and exactly the jobs that it makes stale."""

import os
import re
from collections import Counter

import pytest
from workflow_config import CONFIG

TASKS, MODELS, SHARDS = 2, 2, 2
PAIRS = TASKS * MODELS
# Fine-grained circuits of edges and of components at positions.
LEVELS = 2 * PAIRS
# Everything from a stage on.
TABLED = {"summarise_scaling": 1, "draw_scaling": 1}
CLASSED = TABLED | {"classify_heads": MODELS, "ablate_heroes": PAIRS, "scan_backups": PAIRS}
TRACED = TABLED | {"trace_heads": PAIRS}
SCANNED = CLASSED | TRACED | {"scan_heads": PAIRS * SHARDS}
# The sequence study: one model, digits with IOI as a control task.
LISTED = {"summarise_sequences": 1, "draw_sequences": 1, "draw_circuits": 1}
CUT = LISTED | {"cut_edges": 1}
CROSSED = LISTED | {"cross_sequences": 2}
PATCHED = CUT | {"patch_edges": 1}
NAMED = LISTED | CROSSED | {"name_circuits": 1}
PRUNED = NAMED | PATCHED | {"prune_nodes": 2}
READ = LISTED | {"read_heads": 1}
UNASKED = {"describe_heads": 1, "measure_lengths": 1}
# The weight study: one model, digits.
WEIGHED = {"summarise_weights": 1, "draw_weights": 1}
SWEPT = WEIGHED | {"sweep_weights": 1}
EVALUATED = WEIGHED | {"evaluate_nodes": 1}
MASKED = SWEPT | EVALUATED | {"learn_masks": 1}
# The contrast study: one model, IOI's prompts and unpaired texts of a file, tested on IOI and digits.
COMPARED = {"replicate_circuits": 1, "draw_replicate": 1}
CONTRASTED = {"summarise_contrast": 1, "draw_contrast": 1, "show_budget_circuits": 1}
CHOSEN = COMPARED | CONTRASTED | {"choose_circuits": 2, "evaluate_circuits": 2, "export_circuits": 1}
MEASURED = CHOSEN | {"measure_differences": 2}
TESTED = {"test_circuits": PAIRS, "summarise_reuse": 1, "draw_reuse_atp": 1}
CROSSED = {"test_cross_tasks": MODELS}
GENERIC = {"test_generic": MODELS}
RUN = TESTED | CROSSED | GENERIC | {"run_effects": PAIRS, "cross_tasks": PAIRS}
SHARED = RUN | {
    "show_circuits": 1,
    "ablate_optimally": PAIRS,
    "share_circuits": PAIRS,
    "measure_reuse": MODELS,
    "run_texts": MODELS,
}
SCORED = (
    SHARED
    | PRUNED
    | CHOSEN
    | {"score_examples": PAIRS * SHARDS + 2 + 4, "compare_methods": MODELS, "patch_examples": PAIRS}
    | {"measure_stability": PAIRS, "score_variants": PAIRS, "share_fine_grained": LEVELS}
)
# What removing shared components at positions does stands with their reuse, which the pages of circuits read.  Edges are not removed.
REMOVED = {"share_fine_grained": PAIRS, "show_circuits": 1}
# The sequence and the weight study have a metric of their own.
MEASURED_BY = (
    SHARED
    | CHOSEN
    | SCANNED
    | {"tokenise_examples": 2 * PAIRS * SHARDS + 2, "measure_differences": 1}
    | {"score_examples": PAIRS * SHARDS + 4, "compare_methods": MODELS, "patch_examples": PAIRS}
    | {"measure_stability": PAIRS, "score_variants": PAIRS, "share_fine_grained": LEVELS}
)
# The scan has as many shards of its own.
# Texts of a file are not asked for the metric.
ASKED = SCORED | SCANNED | READ | MASKED | {"tokenise_examples": 2 * PAIRS * SHARDS + 5, "measure_differences": 1}
WRITTEN = ASKED | UNASKED | {"write_prompts": 2 * TASKS * SHARDS + TASKS + 3, "check_published_scaling": 1} | MEASURED


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
    "a threshold added": ({"circuits": {"thresholds": [0.5, 0.75, 1]}}, SHARED | {"share_fine_grained": LEVELS}),
    "positions of an example's circuit": (
        {"fine_grained": {"top_k": CONFIG["fine_grained"]["top_k"] | {"position": 3}}},
        REMOVED | {"summarise_reuse": 1, "draw_reuse_atp": 1},
    ),
    "controls": (
        {"circuits": {"controls": {"count": 7, "same_layers": False, "pool_too_small": "skip"}}},
        RUN | {"show_circuits": 1, "share_circuits": PAIRS, "run_texts": MODELS, "ablate_optimally": PAIRS},
    ),
    "random sets on texts": (
        {"generic": {"count": 20, "random_sets": 7}},
        GENERIC | {"run_texts": MODELS, "summarise_reuse": 1, "draw_reuse_atp": 1},
    ),
    "permutations": ({"tests": {"permutations": 300}}, TESTED | CROSSED | LISTED | WEIGHED | CONTRASTED),
    "two values swapped": (
        {"tests": {"permutations": 100, "bootstrap": 200}},
        TESTED | CLASSED | PRUNED | WEIGHED | CONTRASTED | CROSSED | GENERIC | REMOVED,
    ),
    "draws of the null": (
        {"reuse": {"draws": 120}},
        {"measure_reuse": MODELS, "summarise_reuse": 1, "draw_reuse_atp": 1},
    ),
    "figure style": (
        {"figures": {"dpi": 60}},
        {
            "draw_reuse_atp": 1,
            "draw_scaling": 1,
            "draw_sequences": 1,
            "draw_weights": 1,
            "draw_contrast": 1,
            "draw_replicate": 1,
        },
    ),
    "level of a line": ({"tests": {"alpha": 0.1}}, LISTED | WEIGHED | CONTRASTED | COMPARED | {"draw_reuse_atp": 1}),
    "replacement": ({"ablation": {"replacement": "zero"}}, RUN | REMOVED),
    "steps of integrated gradients": (
        {"attribution": {"steps": 9}},
        PATCHED | {"share_fine_grained": LEVELS, "show_circuits": 1, "summarise_reuse": 1, "draw_reuse_atp": 1},
    ),
    "metric": ({"attribution": {"metric": "log_probability"}}, MEASURED_BY),
    "metric of sequences": (
        {"sequences": {"metric": "probability_difference"}},
        PRUNED | READ | {"tokenise_examples": 2, "score_examples": 2},
    ),
    "score of pruning": ({"sequences": {"pruning": CONFIG["sequences"]["pruning"] | {"score": "kl"}}}, PRUNED),
    "batch size and device": ({"compute": {"batch_tokens": 100, "device": "auto"}}, {}),
    "weights' type": ({"compute": {"dtype": "bfloat16"}}, ASKED | UNASKED | MEASURED | {"describe_model": MODELS}),
    "seed": ({"seed": 1}, WRITTEN),
    "threshold of strong heads": ({"scaling": {"classes": {"tau": 0.1, "unit": "base"}}}, CLASSED),
    "random sets of heads": ({"scaling": {"heroes": {"sizes": [1, 2], "random_sets": 5, "examples": 4}}}, CLASSED),
    "parts traced": ({"scaling": {"tracing": {"parts": ["z"], "by_position": ["z"], "examples": 3}}}, TRACED),
    "draws of the null of transfer": ({"scaling": {"transfer": {"draws": 20}}}, TABLED),
    "replacements of heads": ({"scaling": {"replacements": ["corrupt"]}}, CLASSED | {"scan_heads": PAIRS * SHARDS}),
    "threshold of pruning": (
        {
            "sequences": {
                "pruning": {"thresholds": [0.1], "threshold": 0.1, "random_orders": 2, "draws": 1, "add_back": False}
            }
        },
        PRUNED,
    ),
    "random circuits": ({"sequences": {"random_sets": 5}}, NAMED),
    "cut of edges": ({"sequences": {"edges": {"examples": 4, "value": 0.7}}}, CUT),
    "colours of circuits": (
        {"sequences": {"diagrams": {"colours": ["#000000", "#111111", "#222222"]}}},
        {"draw_sequences": 1, "draw_circuits": 1},
    ),
    "lengths": ({"sequences": {"lengths": {"values": [3], "examples": 4}}}, LISTED | {"measure_lengths": 1}),
    "top of a score": ({"sequences": {"functions": {"top": 3}}}, READ),
    "least motif": ({"sequences": {"functions": {"motif": 0.5}}}, LISTED),
    "steps of masks": ({"weights": {"masks": CONFIG["weights"]["masks"] | {"steps": 41}}}, MASKED),
    "trials of the sweep": ({"weights": {"sweep": CONFIG["weights"]["sweep"] | {"trials": 3}}}, SWEPT | EVALUATED),
    "quantiles of sizes": ({"weights": {"sweep": CONFIG["weights"]["sweep"] | {"quantiles": 2}}}, SWEPT),
    "the control that is read by": ({"weights": {"sweep": CONFIG["weights"]["sweep"] | {"matched": "window"}}}, SWEPT),
    "margin": ({"weights": {"sweep": CONFIG["weights"]["sweep"] | {"margin": 0.2}}}, WEIGHED),
    "interchange": ({"weights": {"nodes": {"fractions": [0, 0.5, 1], "trials": 1, "steps": 4}}}, EVALUATED),
    "sign flips": ({"contrast": {"flips": 29}}, MEASURED),
    "budgets": ({"contrast": {"budgets": [0.3, 0.7]}}, CHOSEN),
    "random circuits of equal cost": (
        {"contrast": {"random_sets": 109}},
        CONTRASTED | COMPARED | {"evaluate_circuits": 2},
    ),
    "margin of effects": ({"contrast": {"margin": 0.05}}, CONTRASTED),
    "thresholds of comparisons": (
        {"contrast": {"replicate": CONFIG["contrast"]["replicate"] | {"thresholds": {"jaccard": 0.5}}}},
        COMPARED,
    ),
    "order of scorings": ({"contrast": {"scorings": dict(reversed(CONFIG["contrast"]["scorings"].items()))}}, {}),
    "replacement that heroes go by": ({"scaling": {"replacement": "mean"}}, CLASSED),
}

CODE_EDITS = {
    "comment": (code("engine/attribution", "import torch\n", "# why\nimport torch\n"), {}),
    "docstring": (code("stats/circuits", "A short hash", "The short hash"), {}),
    "layout": (code("studies/reuse/overlap", "rare_n = rarefied", "rare_n =  rarefied"), {}),
    "reuse statistics": (
        code("studies/reuse/overlap", "np.percentile(null, 95)", "np.percentile(null, 94)"),
        {
            "measure_reuse": MODELS,
            "share_fine_grained": LEVELS,
            "show_circuits": 1,
            "summarise_reuse": 1,
            "draw_reuse_atp": 1,
        },
    ),
    "tests": (
        code("stats/testing", "[2.5, 97.5]", "[2.5, 97.4]"),
        TESTED | CLASSED | LISTED | CONTRASTED | COMPARED | CROSSED | GENERIC | {"compare_methods": MODELS},
    ),
    "attribution": (code("engine/attribution", "(step + 0.5)", "(step + 0.4)"), SCORED),
    "figures": (
        code("report/style", "0.75 + height", "0.8 + height"),
        {
            "draw_reuse_atp": 1,
            "draw_scaling": 1,
            "draw_sequences": 1,
            "draw_weights": 1,
            "draw_contrast": 1,
            "draw_replicate": 1,
        },
    ),
    "summary": (code("studies/reuse/summary", "addlinespace", "midrule"), {"summarise_reuse": 1}),
    "classes of heads": (
        code("studies/scaling/classes", "if low > 0 else", "if low >= 0 else"),
        CLASSED | {"check_published_scaling": 1},
    ),
    "tests of means": (
        code("stats/mean_tests", "count < 2 or few", "count < 3 or few"),
        CLASSED | CONTRASTED | {"check_published_scaling": 1},
    ),
    "tracing of heads": (code("studies/scaling/stage_trace", '"rest"', '"others"'), TRACED),
    "findings": (
        code("studies/scaling/findings", "# Findings of the scaling study", "# What was found"),
        {"summarise_scaling": 1, "draw_scaling": 1},
    ),
    "a figure of heads": (code("studies/scaling/plots", "linscale=0.7", "linscale=0.6"), {"draw_scaling": 1}),
    "pruning": (code("studies/sequences/pruning", "pruning_run.passes + 1", "1 + pruning_run.passes"), PRUNED),
    "path patching": (
        code("studies/sequences/path_patching", "range(reader.count)", "range(0, reader.count)"),
        PATCHED,
    ),
    "what heads do": (
        code(
            "studies/sequences/stage_heads", "TOP_NEURONS, NEURON_TOKENS = 10, 8", "TOP_NEURONS, NEURON_TOKENS = 9, 8"
        ),
        READ | {"describe_heads": 1},
    ),
    "pools": (
        code(
            "studies/weights/weight_sets",
            "low, high = sizes.mean() - sizes.std(), sizes",
            "low, high = -sizes.std() + sizes.mean(), sizes",
        ),
        MASKED,
    ),
    "areas": (
        code(
            "studies/weights/measures", "return np.trapezoid(losses, shares", "return 1 * np.trapezoid(losses, shares"
        ),
        WEIGHED,
    ),
    "findings of weights": (
        code("studies/weights/findings", "# Findings of the weight study", "# What was found"),
        WEIGHED,
    ),
    "interchange of nodes": (
        code("studies/weights/stage_nodes", "size, shares = int(active.sum())", "size, shares = int(sum(active))"),
        EVALUATED,
    ),
    "knapsack": (code("studies/contrast/budget", "best, found = -1.0, (0, 0)", "best, found = -2.0, (0, 0)"), CHOSEN),
    "sums of texts": (code("studies/contrast/streaming", "slack = 1e-6", "slack = 2e-6"), MEASURED),
    "findings of contrast": (code("studies/contrast/findings", "# Findings: contrast", "# What was found"), CONTRASTED),
    "how circuits are compared": (
        code("stats/similarity", "(1 - p) / p * total + rest", "rest + (1 - p) / p * total"),
        PRUNED | COMPARED | CROSSED | {"measure_stability": PAIRS, "summarise_reuse": 1, "draw_reuse_atp": 1},
    ),
    "the page of circuits": (
        replaced("workflow/report/circuits.html", "<title>Circuits", "<title>All circuits"),
        {"draw_circuits": 1, "show_circuits": 1, "show_budget_circuits": 1},
    ),
    "one task's prompts": (
        code("prompts/sequence", "span = abs(step) * length", "span = length * abs(step)"),
        "digits",
    ),
}


# The level at which something counts as found is used by the sentences themselves, too.
REPORTING = {"level of a line": {"reuse", "sequences", "weights", "contrast"}}


def reported_anew(jobs):
    """Studies whose tables are made again, and so are the sentences about them."""
    studies = {name.removeprefix("summarise_") for name in jobs if name.startswith("summarise_")}
    return studies | ({"contrast"} if "replicate_circuits" in jobs else set())


def counted(jobs):
    return dict(Counter(rule for rule, _ in jobs))


def test_nothing_is_stale_after_a_run(project):
    assert project.planned() == [] and project.reported == set()
    assert "Nothing to be done" in project.snakemake()


def test_touching_files_makes_nothing_stale(project):
    touched = [
        "Snakefile",
        "config/config.yaml",
        "workflow/scripts/run.py",
        "workflow/scripts/circuit_reuse/engine/models.py",
        "resources/models/tiny-gpt2-small/model.safetensors",
    ]
    for path in touched:
        os.utime(project.folder / path)
    assert project.planned() == [] and project.reported == set()


def test_the_order_of_keys_makes_nothing_stale(project):
    import yaml

    path = project.folder / "config" / "config.yaml"
    config = yaml.safe_load(path.read_text())

    def turned(value):
        return {k: turned(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    with project.edited("config/config.yaml", lambda _: yaml.safe_dump(turned(config), sort_keys=False).encode()):
        assert project.planned() == [] and project.reported == set()


@pytest.mark.parametrize("name", CONFIG_EDITS)
def test_an_edit_of_the_config(project, name):
    changes, expected = CONFIG_EDITS[name]
    blocks = {key: CONFIG.get(key, {}) | value if isinstance(value, dict) else value for key, value in changes.items()}
    project.config(**blocks)
    try:
        jobs = counted(project.planned())
    finally:
        project.config()
    assert jobs == expected
    assert project.reported == REPORTING.get(name, reported_anew(jobs))


@pytest.mark.parametrize("name", CODE_EDITS)
def test_an_edit_of_the_code(project, name):
    edit, expected = CODE_EDITS[name]
    with project.edited(*edit):
        jobs = project.planned()
    if expected == "digits":
        # Heroes go by both tasks of the study, and circuits are tried on the other task too.
        both = ("ablate_heroes", "scan_backups", "cross_sequences", "cross_tasks")
        per_task = [job for job in jobs if "task" in job[1] and job[0] not in both]
        assert per_task and all(values["task"] == "digits" for _, values in per_task)
        # Shards, as many of the scan, one each of the sequence, weight and contrast study.
        assert counted(jobs)["write_prompts"] == 2 * SHARDS + 3
    else:
        assert counted(jobs) == expected and project.reported == reported_anew(expected)


def test_an_edit_of_one_models_weights_reruns_that_model(project):
    def flip(content):
        return content[:-1] + bytes([content[-1] ^ 1])

    with project.edited("resources/models/tiny-neox-small/model.safetensors", flip):
        jobs = project.planned()
    per_model = [values["model"] for _, values in jobs if "model" in values]
    assert set(per_model) == {"tiny-neox-small"}
    assert counted(jobs)["describe_model"] == 1 and counted(jobs)["score_examples"] == TASKS * SHARDS
    assert "write_prompts" not in counted(jobs)


@pytest.mark.parametrize(
    ("path", "old", "new", "rules"),
    [
        ("config/texts.csv", "again", "twice", {"measure_differences", "choose_circuits"}),
        ("config/circuit.json", "a2.h3", "a2.h2", {"choose_circuits", "replicate_circuits"}),
        ("resources/models/tiny-neox-small/config.json", "}", " }", {"describe_model", "score_examples"}),
    ],
)
def test_a_file_exchanged_for_an_older_one_is_seen(project, path, old, new, rules):
    """As after `mv` or `cp -p`, its time is before that of every result: the same jobs run as after an edit."""
    with project.edited(*replaced(path, old, new)):
        edited = counted(project.planned())
        os.utime(project.folder / path, (1, 1))
        assert counted(project.planned()) == edited
    assert rules <= set(edited) and "write_prompts" not in edited
    assert project.planned() == []


def test_another_tasks_prompts_leave_the_edges_of_a_circuit(project):
    """An edit of IOI's prompts patches none of the edges of digits."""
    with project.edited(*code("prompts/ioi", "rng.choice(list(variants))", "rng.choice(tuple(variants))")):
        jobs = counted(project.planned())
    assert jobs["prune_nodes"] == 1 and not {"patch_edges", "cut_edges"} & set(jobs)


def test_a_model_removed_leaves_the_others(project):
    project.config(models=["tiny-gpt2-small"])
    assert counted(project.planned()) == TABLED | {"summarise_reuse": 1, "draw_reuse_atp": 1, "show_circuits": 1}
    project.config()


def test_a_model_added_runs_that_model(project):
    project.config(models=["tiny-gpt2-small", "tiny-neox-small", "third"])
    jobs = project.planned()
    project.config()
    assert {values["model"] for _, values in jobs if "model" in values} == {"third"}
    assert counted(jobs)["tokenise_examples"] == 2 * TASKS * SHARDS
    assert counted(jobs)["scan_heads"] == TASKS * SHARDS


def test_a_task_added_runs_that_task(project):
    project.config(tasks=["ioi", "digits", "months"])
    jobs = project.planned()
    project.config()
    # Its circuit is tried on the other tasks, too.
    assert {values["task"] for name, values in jobs if "task" in values and name != "cross_tasks"} == {"months"}
    assert counted(jobs)["cross_tasks"] == MODELS * (TASKS + 1)
    assert counted(jobs)["measure_reuse"] == MODELS


def test_more_examples_run_only_the_new_shards(project):
    block(project, "examples", count=36)
    jobs = project.planned()
    project.config()
    assert {values["shard"] for _, values in jobs if "shard" in values} == {"0002"}
    assert counted(jobs)["score_examples"] == PAIRS


def test_more_examples_of_the_scan_run_only_its_new_shards(project):
    block(project, "scaling", examples=36)
    jobs = project.planned()
    project.config()
    assert {values["shard"] for _, values in jobs if "shard" in values} == {"scan0002"}
    assert counted(jobs)["scan_heads"] == PAIRS and counted(jobs)["classify_heads"] == MODELS
    assert "trace_heads" not in counted(jobs) and "score_examples" not in counted(jobs)


def test_a_site_that_knows_gres_only_is_asked_for_that(project, monkeypatch):
    project.config(compute=CONFIG["compute"] | {"device": "auto"})
    try:
        for gres, asked in (("", "gpu=1"), ("gpu:1", "gpu=0, gres=gpu:1")):
            monkeypatch.setenv("CIRCUIT_REUSE_GRES", gres)
            text = project.dry_run("--forcerun", "describe_model")
            found = re.search(r"rule describe_model:.*?\n    resources: ([^\n]*)", text, re.DOTALL)[1]
            assert asked in found
    finally:
        project.config()


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
    assert counted(project.planned()) in ({}, {"test_circuits": 1, "summarise_reuse": 1, "draw_reuse_atp": 1})
    path.write_bytes(content)
    project.snakemake("--touch")
