"""The scaling study end to end, on two small models and a pair of tasks that the config names."""

import shutil

import pandas as pd
import pytest
from circuit_reuse.studies.scaling import validator
from workflow_config import CONFIG

TABLES = "results/tables/scaling"


@pytest.fixture(scope="module")
def heads(project):
    return pd.read_csv(project.folder / TABLES / "heads.csv")


def test_every_head_of_every_model_under_every_replacement_is_in_the_table(heads):
    assert len(heads) == 2 * 3 * 12
    keys = ["model", "replacement", "layer", "head"]
    assert not heads.duplicated(keys).any() and heads["depth"].between(0, 1).all()
    promised = """family model parameters layer head depth base_ioi base_ioi_standard_error base_ioi_low base_digits
    delta_ioi delta_ioi_standard_error delta_ioi_low delta_ioi_high delta_digits q_value_ioi q_value_digits
    strength category category_effect suppressing"""
    assert set(promised.split()) <= set(heads)
    assert set(heads["category"]) <= {"ioi_only", "digits_only", "shared", "weak", "uncertain"}
    assert set(heads["family"]) == {"gpt2", "gpt_neox"}


def test_our_own_table_has_none_of_the_defects_of_the_published_one(project, heads):
    joint = pd.read_csv(project.folder / TABLES / "joint_ioi_digits_all.csv")
    assert list(joint) == ["family", "model", "layer", "head", "delta_ioi", "delta_digits"]
    shapes = {name: {"layers": 3, "heads": 4} for name in joint["model"].unique()}
    found = validator.validate(joint, shapes)
    assert not set(found["kind"]) & {"outside", "identical", "missing", "repeated", "not finite", "imputed"}


def test_the_other_tables_are_there_and_agree(project, heads):
    folder = project.folder / TABLES
    summary = pd.read_csv(folder / "head_category_summary.csv").set_index("model")
    corrupt = heads[heads["replacement"] == "corrupt"]
    for model, part in corrupt.groupby("model"):
        for name in ("ioi_only", "digits_only", "shared", "weak", "uncertain"):
            assert summary.loc[model, f"n_{name}"] == (part["category"] == name).sum()
    tests = pd.read_csv(folder / "hero_vs_random.csv")
    assert set(tests["n_heads"]) == {1, 2} and set(tests["matching"].dropna()) <= {"plain", "layer", "norm"}
    known = tests.dropna(subset=["p_value"])
    assert (known["p_value"] >= 1 / (known["n_random"] + 1) - 1e-6).all() and len(known)
    ablation = pd.read_csv(folder / "hero_vs_random_ablation_summary.csv")
    assert {"baseline", "hero", "random"} <= set(ablation["set_type"])
    assert {"acc_ioi", "mean_diff_ioi", "acc_digits", "mean_diff_digits"} <= set(ablation)
    fits = pd.read_csv(folder / "fits.csv")
    assert fits["problem"].str.startswith("one size").all()
    assert {"family", "model", "params_m", "corr"} == set(pd.read_csv(folder / "corr_vs_scale_cross_family.csv"))
    tracing = pd.read_csv(folder / "tracing.csv")
    whole = tracing[(tracing["part"] == "stream") & tracing["role"].isna() & (tracing["layer"] == 2)]
    assert (whole[whole["direction"] == "restore"]["share"] - 1).abs().max() < 1e-3
    transfer = pd.read_csv(folder / "transfer.csv")
    assert set(transfer["rule"]) == {"index", "strength", "other_task", "function"}
    text = (folder / "findings.md").read_text()
    for part in ("12 held-out examples", "no fit (one size", "tiny-neox-small", "ioi and digits"):
        assert part in text
    page = (folder / "findings.html").read_text()
    assert "<table>" in page and "<script" not in page and "tiny-neox-small" in page
    figures = list((project.folder / "results/figures/scaling").glob("*.png"))
    assert len(figures) == 15 and min(path.stat().st_size for path in figures) > 2000


def test_published_numbers_and_a_users_table_are_checked(project):
    check = pd.read_csv(project.folder / TABLES / "published_check.csv")
    assert list(check) == ["item", "published", "recomputed", "agrees", "why"]
    counts = check[check["item"].str.startswith("category counts")]
    assert len(counts) == 9 and (counts["agrees"].astype(str) == "True").all()
    shutil.copy(project.folder / TABLES / "joint_ioi_digits_all.csv", project.folder / "config" / "mine.csv")
    tables = {"mine": {"file": "config/mine.csv"}}
    project.config(scaling=CONFIG["scaling"] | {"tables": tables})
    try:
        project.snakemake("check_heads")
    finally:
        project.config()
    page = (project.folder / TABLES / "validation" / "mine.md").read_text()
    assert "Validation of mine" in page and "does not have" not in page


def test_the_overlay_of_the_public_models_plans_without_network(project):
    text = project.dry_run("scaling", "--configfile", "config/papers/scaling.yaml")
    assert text.count("rule fetch_model:") == 17 and text.count("rule scan_heads:") == 34
