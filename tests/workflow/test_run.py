"""The workflow end to end: outputs, incremental runs, crashes, errors, the report."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data import tables
from circuit_reuse.studies.registry import STUDIES
from workflow_config import CONFIG, NO_NETWORK, PROJECT, copied, copy_project

TABLES = "results/tables/reuse"


def hashes(folder):
    """Every result by name, as a hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "results").rglob("*"))
        if path.is_file() and path.suffix in (".parquet", ".csv", ".json", ".tex", ".png")
    }


def test_the_summary_has_the_columns_and_rows_that_are_promised(project):
    table = pd.read_csv(project.folder / TABLES / "summary.csv")
    promised = """model task method top_k threshold n_components reuse reuse_null effect effect_low
    effect_high effect_control lift p_mcnemar p_permutation p_value q_value n_examples split"""
    assert list(table.columns)[:19] == promised.split()
    assert len(table) == 2 * 2 * 2 * 2 and set(table["split"]) == {"held_out"}
    tested = table[table["n_components"] > 0].dropna(subset=["p_value"])
    assert len(tested) and tested["p_value"].between(0, 1, inclusive="right").all()
    assert (tested["effect_low"] <= tested["effect"]).all() and (tested["effect"] <= tested["effect_high"]).all()
    assert (tested["q_value"] >= tested["p_value"] - 1e-9).all()


def test_own_and_other_effects_are_those_of_the_other_tables(project):
    """Three component sets for every two tasks; the circuits' effects are those of summary.csv and cross_task.csv."""
    table, cross, summary = (
        pd.read_csv(project.folder / TABLES / f"{name}.csv") for name in ("specificity", "cross_task", "summary")
    )
    keys = ["model", "method", "source", "target"]
    tasks = sorted(set(cross["target"]))
    pairs = {(a, b) for a in tasks for b in tasks if a != b}
    for _, part in table.groupby(["model", "method", "component_set"]):
        assert set(zip(part["source"], part["target"], strict=True)) == pairs and len(part) == len(pairs)
    whole = table[table["component_set"] == "circuit"].merge(cross, on=keys, suffixes=("", "_cross"))
    assert len(whole) == len(table) // 3
    ran = whole["n_components"] > 0
    assert ran.any() and np.allclose(whole["other"][ran], whole["effect"][ran], atol=1e-4)
    assert (whole["other"][~ran] == 0).all()
    own = whole.merge(
        summary,
        left_on=["model", "method", "target", "top_k", "threshold"],
        right_on=["model", "method", "task", "top_k", "threshold"],
        suffixes=("", "_summary"),
    )
    own = own[own["n_components_own"] > 0]
    assert len(own) and np.allclose(own["own"], own["effect_summary"], atol=1e-4)
    assert (table["n_components_own"] + table["n_components_other"]).between(0, 2 * 8).all()
    assert table.dropna(subset=["p_value"])["q_value"].notna().all()


def test_the_whole_run_was_made_without_a_network(project):
    """Every study on embedded models, in a namespace that has no interface but a loopback that is down."""
    if not NO_NETWORK:
        pytest.skip("no network namespace may be made here")
    lines = (project.folder / "interfaces.txt").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]
    tables = {path.parent.name for path in project.folder.glob("results/tables/*/overview.json")}
    assert tables == {"reuse", "scaling", "sequences", "weights", "contrast"}


def test_jobs_are_looked_for_when_one_ends_and_not_all_the_time(project):
    """Snakemake's limit of jobs per second would look again and again: for 100 jobs thousands of times."""
    screen = (project.folder / "screen.txt").read_text()
    finished = screen.count("Finished jobid")
    assert finished > 20 and finished / 2 <= screen.count("Ready jobs: ") <= 3 * finished


def test_known_outputs_are_there_under_their_known_names(project):
    tables, figures = project.folder / TABLES, project.folder / "results/figures/reuse"
    old = pd.read_csv(tables / "aggregated_by_task_model_k.csv")
    assert {"model_name", "hf_revision", "reuse_percent", "perm_val_p", "val_knockout_diff"} <= set(old)
    for name in ("reuse_vs_threshold", "lift_vs_threshold", "perm_neglog10p_vs_threshold"):
        assert (figures / f"multiplot_{name}.png").stat().st_size > 1000
    metrics = json.loads((tables / "tiny-gpt2-small" / "ioi" / "metrics.json").read_text())
    assert metrics["by_k"]["3"]["thresholds"]["50"]["val"].keys() >= {"p_value", "q_value"}


def test_the_table_of_p_values_compiles(project, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")
    table = (project.folder / TABLES / "permutation_summary.tex").read_text()
    (tmp_path / "t.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}" + table + r"\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.fixture(scope="module")
def narrowed(project, tmp_path_factory):
    """The finished run under a narrower config, in a copy: (run, rules that it ran)."""
    run = copied(project, tmp_path_factory.mktemp("narrowed"))
    # What later runs add to is made anew, by the narrower config alone.
    for pattern in ("*/*/effects/*.parquet", "*/heads/*/heroes.parquet", "*/sequences/*/evaluated.parquet"):
        for path in (run.folder / "results").glob(pattern):
            path.unlink()
    tracing = CONFIG["scaling"]["tracing"] | {"heads": "heroes"}
    pruning = CONFIG["sequences"]["pruning"] | {"thresholds": [0.2]}
    run.config(
        circuits=CONFIG["circuits"] | {"thresholds": [0.5]},
        scaling=CONFIG["scaling"] | {"classes": {"tau": 0.2, "unit": "base"}, "tracing": tracing},
        sequences=CONFIG["sequences"] | {"pruning": pruning},
    )
    rules = {rule for rule, _ in run.planned()}
    run.snakemake()
    return run, rules


@pytest.mark.long
def test_only_heroes_can_be_traced(narrowed):
    """Large models: heads are chosen first, the transfer goes by scans alone."""
    run, rules = narrowed
    assert "trace_heads" in rules and "scan_heads" not in rules
    traced = pd.read_parquet(run.folder / "results/tiny-gpt2-small/heads/ioi/trace.parquet")
    heroes = pd.read_parquet(run.folder / "results/tiny-gpt2-small/heads/heroes.parquet")
    strong = heroes[~heroes["category"].isin(["weak", "uncertain"])]
    there = set(traced.dropna(subset=["head"])[["layer", "head"]].itertuples(index=False, name=None))
    assert there == set(strong[["layer", "head"]].itertuples(index=False, name=None))


@pytest.mark.long
def test_a_new_threshold_reuses_what_was_run_and_equals_a_clean_run_byte_for_byte(project, narrowed):
    """From the narrower config back to that of the shared run, which is the clean one."""
    run, _ = narrowed
    assert hashes(run.folder) != hashes(project.folder)
    run.config()
    text = run.snakemake()
    assert "score_examples" not in text and "tokenise_examples" not in text and "scan_heads" not in text
    logs = [path.read_text() for path in (run.folder / "logs" / "run_effects").rglob("*.log")]
    counts = [re.search(r"(\d+) interventions of .* reused, (\d+) evaluated", log) for log in logs]
    # Only what is new runs: the circuits of the new threshold at two K, removed and kept, and
    # the random sets of their compositions.
    assert counts and all(int(found[1]) > 0 and int(found[2]) <= 6 for found in counts)
    assert any(int(found[2]) > 0 for found in counts)
    # Pruning asks for circuits that were run before.
    logs = [path.read_text() for path in (run.folder / "logs" / "prune_nodes").rglob("*.log")]
    counts = [re.search(r"(\d+) circuits run, (\d+) known already", log) for log in logs]
    assert len(counts) == 2 and all(int(found[1]) < int(found[2]) for found in counts)
    # All that a clean run has, none less, none more.
    grown, clean = hashes(run.folder), hashes(project.folder)
    assert len(clean) > 100 and grown == clean


@pytest.mark.long
def test_a_crash_loses_nothing_that_was_finished(project, tmp_path):
    """The same run, with one job that fails at first."""
    run = copy_project(tmp_path / "crash")
    target = "results/tiny-gpt2-small/ioi/tests/atp.parquet"
    with run.edited(
        "workflow/scripts/circuit_reuse/studies/reuse/stage_tests.py",
        lambda t: t.replace(b"    rows = ", b"    raise RuntimeError('boom')\n    rows = "),
    ):
        text = run.snakemake(target, check=False)
    assert "boom" in text and not (run.folder / target).exists()
    finished = run.folder / "results/tiny-gpt2-small/ioi/effects/atp.parquet"
    before = finished.stat().st_mtime_ns
    run.snakemake(target)
    assert finished.stat().st_mtime_ns == before
    assert (run.folder / target).read_bytes() == (project.folder / target).read_bytes()


def test_all_studies_on_public_models_plan_without_network_in_few_jobs(project):
    """From the shipped config and its overlay: nothing is fetched to plan."""
    shipped = (PROJECT / "config" / "config.yaml").read_bytes()
    with project.edited("config/config.yaml", lambda _: shipped):
        text = project.snakemake("--dry-run", "all", "--configfile", "config/public.yaml")
    jobs = int(re.search(r"^total\s+(\d+)$", text, re.MULTILINE)[1])
    assert 500 < jobs < 2000 and re.search(r"^fetch_model\s+7$", text, re.MULTILINE)


@pytest.mark.long
def test_a_damaged_table_is_named_set_aside_and_made_anew(project, tmp_path):
    """A cut and a flipped bit in tables that are there and up to date: what reads them says so."""
    run = copied(project, tmp_path)
    folder = run.folder / "results/tiny-gpt2-small/ioi"
    target, scores, circuits = (
        folder / name for name in ("tests/atp.parquet", "scores/atp/0000.parquet", "circuits/atp.parquet")
    )
    good = {path: path.read_bytes() for path in (target, scores, circuits)}
    damage = {circuits: lambda b: b[: len(b) // 2], scores: lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:]}
    for path, change in damage.items():
        before = path.stat()
        path.write_bytes(change(good[path]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        consumer = target if path == circuits else circuits
        consumer.unlink()
        text = run.snakemake(consumer.relative_to(run.folder), check=False)
        told = next(line for line in text.splitlines() if "is damaged" in line)
        assert str(path.relative_to(run.folder)) in told and "Run again" in told and "Traceback" not in told
        assert not path.exists() and path.with_name(f"{path.name}.damaged").exists()
        run.snakemake(consumer.relative_to(run.folder))
        assert consumer.read_bytes() == good[consumer] and path.read_bytes() == good[path]


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        ({"tasks": ["iio"]}, ["unknown task 'iio'", "Did you mean ioi?"]),
        ({"circuits": {"top_k": [50]}}, ["more than the 12 heads"]),
        ({"circuit": {}}, ["unknown key circuit", "Did you mean circuits?"]),
    ],
)
def test_a_mistake_is_told_in_one_line_before_any_job(project, blocks, parts):
    project.config(**blocks)
    text = project.snakemake(check=False)
    project.config()
    assert all(part in text for part in parts)
    assert "Traceback" not in text and "Job stats" not in text and len(text.splitlines()) < 12


@pytest.mark.long
def test_a_users_own_task_runs_beside_the_built_in_ones(project):
    from circuit_reuse.prompts.generate import generate

    rows = [
        {"id": f"row {i}", "clean": p.clean, "corrupt": p.corrupt, "answer": p.answer, "distractor": p.distractor}
        for i, _, p in generate("pronouns", 24)
    ]
    pd.DataFrame(rows).to_csv(project.folder / "config" / "mine.csv", index=False)
    project.config(custom_tasks={"mine": {"file": "config/mine.csv", "title": "My task"}}, tasks=["mine"])
    jobs = project.planned()
    assert {values.get("task", "mine") for _, values in jobs} == {"mine"}
    project.snakemake("results/tiny-gpt2-small/mine/tests/atp.parquet")
    project.config()
    examples = pd.read_parquet(project.folder / "results/tiny-gpt2-small/mine/examples/0000.parquet")
    assert examples["valid"].all() and examples["id"][0] == "row 0"


def test_every_log_says_how_fast_and_how_much_memory(project):
    logs = list((project.folder / "logs").rglob("*.log"))
    assert logs and all("done in" in path.read_text() for path in logs)
    for path in (project.folder / "logs" / "score_examples").rglob("*.log"):
        assert "examples per second" in path.read_text()
    peaks = [int(n) for path in logs for n in re.findall(r"peak memory (\d+) MB", path.read_text())]
    assert max(peaks) < 2000


def test_every_table_says_what_made_it(project):
    """Settings and versions, the model where one was used, and which model, task and method it is of."""
    found = sorted((project.folder / "results").rglob("*.parquet"))
    assert len(found) > 100
    for path in found:
        about = tables.provenance(path)
        assert about["versions"]["pyarrow"] and about["cfg"] is not None, path
        parts = path.relative_to(project.folder / "results").parts
        if parts[0] in ("prompts", "validate"):
            continue
        described = json.loads((project.folder / "results" / parts[0] / "model.json").read_text())
        assert about["model"] == described["fingerprint"] and about["of"]["model"] == parts[0], path


def test_the_tables_have_a_readme_that_names_every_one(project):
    folder = project.folder / "results" / "tables"
    text = (folder / "README.md").read_text()
    shown = {path for study in STUDIES for path in (folder / study).glob("*.csv")}
    shown = {path for path in shown if path.name not in ("skipped.csv", "published_check.csv")}
    assert len(shown) > 50 and all(f"`{path.parent.name}/{path.name}`" in text for path in shown)


def test_a_run_in_another_folder_leaves_the_project_alone(project, tmp_path):
    """`-s` from elsewhere: the project's config and models, the results where it is called."""

    def files():
        """All but what Snakemake keeps and Python compiles."""
        return {path for path in project.folder.rglob("*") if not {".snakemake", "__pycache__"} & {*path.parts}}

    before = files()
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("models: [tiny-gpt2-small]\n")
    program = Path(sys.executable).parent / "snakemake"
    command = [
        program,
        "-s",
        project.folder / "Snakefile",
        "--cores",
        "1",
        "--configfile",
        overlay,
        "--",
        "results/prompts/ioi/0000.parquet",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "results" / "prompts" / "ioi" / "0000.parquet").is_file()
    assert files() - before == set()
