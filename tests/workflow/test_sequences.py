"""The sequence study end to end, on one small model, with IOI as a control task."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from circuit_reuse.studies.sequences import schemas
from workflow_config import CONFIG, copied

TABLES = "results/tables/sequences"
MODEL = "tiny-gpt2-small"


@pytest.fixture(scope="module")
def tables(project):
    return {path.stem: pd.read_csv(path) for path in (project.folder / TABLES).glob("*.csv")}


def test_circuits_keep_to_their_limit_on_the_examples_that_they_were_pruned_on(tables):
    pruning_runs = tables["circuits"]
    pruning_runs = pruning_runs[~pruning_runs["strategy"].isin(["frequent", "file"])]
    assert set(pruning_runs["strategy"]) == {"backward_first", "forward_first", "attribution", "random"}
    assert ((pruning_runs["score_train"] - 1).abs() < pruning_runs["threshold"]).all()
    assert (
        pruning_runs["n_heads"] + pruning_runs["n_mlps"] == pruning_runs["components"].fillna("").str.split().map(len)
    ).all()
    assert (pruning_runs["score_low"] <= pruning_runs["score"]).all() and (
        pruning_runs["score"] <= pruning_runs["score_high"]
    ).all()
    assert pruning_runs[pruning_runs["draw"].notna()]["strategy"].eq("backward_first").all()
    assert pruning_runs[(pruning_runs["task"] == "ioi")]["order"].isna().all()
    assert set(tables["inclusion"]["task"]) == {"digits"}


def test_tables_agree_with_each_other(project, tables):
    cross, importance = tables["cross_task"], tables["importance"]
    own = cross[(cross["circuit"] == "digits") & (cross["target"] == "digits")].iloc[0]
    chosen = tables["circuits"]
    chosen = chosen[
        (chosen["task"] == "digits") & (chosen["strategy"] == "backward_first") & chosen["draw"].isna()
    ].iloc[0]
    # Two engines, the same held-out examples: one keeps circuits by pruning runs, one by units.
    assert own["score"] == pytest.approx(chosen["score"], abs=1e-5)
    # The same circuit on the same examples has one interval, whichever table gives it.
    assert [own["score_low"], own["score_high"]] == pytest.approx([chosen["score_low"], chosen["score_high"]], abs=1e-4)
    ranked = cross.dropna(subset=["p_value"])
    assert (ranked["p_value"] >= 1 / (ranked["n_random"] + 1) - 1e-9).all() and len(ranked)
    assert (ranked["q_value"] >= ranked["p_value"] - 1e-9).all()
    members = set(importance[importance["in_circuit"] & (importance["task"] == "digits")]["component"])
    assert members == set(chosen["components"].split())
    edges = tables["edges"]
    ends = {*edges["writer"], *edges["reader"].str.replace(r"\.[qkv]$", "", regex=True)}
    assert ends - {"input", "logits"} <= members
    pruned = tables["edge_cuts"].query("rule == 'acdc'")
    # One circuit of edges for the limit, smaller than all of them.
    assert (
        list(pruned["value"]) == [0.05] and pruned["cut"].isna().all() and (pruned["n_edges_kept"] < len(edges)).all()
    )
    assert pruned["score_train"].notna().all()
    whole = tables["edge_cuts"].query("rule == 'all'").iloc[0]
    assert whole["score"] == pytest.approx(chosen["score"], abs=1e-4) and tables["edge_cuts"]["chosen"].sum() == 1
    assert [whole["score_low"], whole["score_high"]] == pytest.approx(
        [chosen["score_low"], chosen["score_high"]], abs=1e-3
    )
    functions = tables["head_functions"]
    assert len(functions) == 12 and {
        "next_digits",
        "copy_digits",
        "previous_digits",
        "motif",
        "in_circuit_drop_digits",
        "from_full_digits",
        "induction",
        "spectrum_members",
    } <= set(functions)
    direct = tables["direct"]
    assert direct["attribution"].sum() == pytest.approx(cross[cross["target"] == "digits"]["metric"].iloc[0], rel=1e-3)
    assert set(tables["lengths"]["length"]) == {2, 4}
    text = (project.folder / TABLES / "findings.md").read_text()
    assert MODEL in text and "What this page cannot say" in text and "nan" not in text
    check = tables["published_check"]
    assert (check["agrees"].dropna().astype(str) == "True").all()


def test_figures_diagrams_and_the_page_are_there(project):
    figures = project.folder / "results" / "figures" / "sequences"
    drawn = list(figures.glob("*.png"))
    assert len(drawn) == 14 and min(path.stat().st_size for path in drawn) > 1500
    if shutil.which("dot"):
        for name in ("digits.svg", "digits.pdf", "shared.svg"):
            assert (figures / MODEL / name).stat().st_size > 1000
        assert "a0.h" in (figures / MODEL / "digits.svg").read_text()
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no Chromium to open the page in")
    held = re.search(r'id="data">(.*?)</script>', (figures / MODEL / "circuits.html").read_text())
    head = next(n["id"] for n in json.loads(held[1])["nodes"] if "h" in n["id"])
    page = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=3000",
            "--dump-dom",
            f"{(figures / MODEL / 'circuits.html').as_uri()}#{head}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    # The node that the link names is looked at: its numbers, its attention.
    assert f"{head} (head)" in page and "out of the circuit, points" in page
    assert f"mean attention of {head}" in page and "direction 1" in page


def test_a_sequence_of_ones_own_and_a_circuit_file_run_beside_the_built_in_ones(project, tmp_path):
    project = copied(project, tmp_path)
    members = "Monday Friday May Sunday June July March April August".split()
    (project.folder / "config" / "own.json").write_text(json.dumps({"circuits": {"digits": ["a0.h1", "m0", "m2"]}}))
    project.config(
        custom_tasks={
            "mine": {"sequence": {"members": members, "length": 3, "frame": "{word} in {item}."}, "title": "Mine"}
        },
        sequences=CONFIG["sequences"] | {"probes": ["mine"], "circuits": {"own": {"file": "config/own.json"}}},
    )
    jobs = project.planned()
    assert ("cross_sequences", {"model": MODEL, "task": "mine"}) in jobs
    assert ("prune_nodes", {"model": MODEL, "task": "mine"}) not in jobs
    project.snakemake(f"results/{MODEL}/sequences/circuits.parquet", "results/prompts/mine/sequences0000.parquet")
    named = pd.read_parquet(project.folder / f"results/{MODEL}/sequences/circuits.parquet")
    assert "own: digits" in set(named["circuit"])
    prompts = pd.read_parquet(project.folder / "results/prompts/mine/sequences0000.parquet")
    first = prompts.iloc[0]
    shown = [word.strip(".") for word in first["clean"].split()[2::3]]
    assert members.index(first["answer"].strip()) == members.index(shown[-1]) + 1


def test_the_trace_of_scores_is_kept_and_holds_what_the_walks_asked_for(project):
    path = project.folder / f"results/{MODEL}/sequences/digits/evaluated.parquet"
    table = pd.read_parquet(path)
    assert list(table.columns) == schemas.EVALUATED.names and table["removed"].is_unique
    assert table["context"].nunique() == 1 and set(table["metric"].map(len)) == {12}


@pytest.mark.parametrize("overlay", ["sequences", "sequences-llama"])
def test_the_overlays_of_public_models_plan_without_network(project, overlay):
    text = project.snakemake("--dry-run", "sequences", "--configfile", f"config/papers/{overlay}.yaml")
    assert text.count("rule fetch_model:") == 1
    assert text.count("rule prune_nodes:") >= 3 and text.count("rule patch_edges:") >= 2
