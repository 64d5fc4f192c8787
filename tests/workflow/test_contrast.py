"""The contrast study end to end, on one small model: a task's prompts, and unpaired texts of a file."""

import re

import pandas as pd
import pytest
from circuit_reuse.data import circuit_files, components, fingerprint, tables
from circuit_reuse.stats import clusters
from circuit_reuse.studies.sequences import given_circuits as sequence_files
from workflow_config import CIRCUIT, CONFIG, PROJECT, TEXTS, copied

TABLES = "results/tables/contrast"
MODEL = "tiny-gpt2-small"


@pytest.fixture(scope="module")
def found(project):
    return {path.stem: pd.read_csv(path) for path in (project.folder / TABLES).glob("*.csv")}


@pytest.fixture(scope="module")
def space(project):
    return fingerprint.shape(project.folder / "resources" / "models" / MODEL)


def test_every_component_has_a_row_for_each_recipe_and_comparison(found, space):
    rows = found["differences"]
    conditions = {"real", "unrelated", "shuffled", "right_truncated", "left_truncated", "padded", "half_1", "half_2"}
    for _, mine in rows.groupby(["set", "scoring", "condition"]):
        assert list(mine["component"]) == space.names
    assert set(rows["condition"]) == conditions and set(rows["scoring"]) == {"published", "aligned"}
    known = rows.dropna(subset=["score"])
    few = known["n_clusters"] < clusters.FEWEST
    assert known[few][["score_low", "score_high", "p_value"]].isna().all(axis=None) and few.any() and not few.all()
    tested = known[~few]
    assert (tested["score_low"] <= tested["score"]).all() and (tested["score"] <= tested["score_high"]).all()
    assert (rows["cost"] == [space.write_cost(name) for name in rows["component"]]).all()
    own = rows[(rows["set"] == "own") & (rows["condition"] == "real")]
    # Half of the texts are for training; nothing else is left out of two sets of one size.
    assert set(own["n_pairs"]) == {len(TEXTS.splitlines()) // 4}


def test_a_text_and_itself_shortened_differ_by_length_only(found):
    """The published score has length in it; positions counted from the front do not."""
    rows = found["differences"].query("condition == 'right_truncated'")
    aligned = rows[rows["scoring"] == "aligned"]
    assert (aligned["score"].fillna(0) == 0).all() and (aligned["p_value"].dropna() == 1).all()
    published = rows[(rows["scoring"] == "published") & (rows["component"] != "input")]
    assert (published["score"] > 0.01).all()


def test_padding_changes_the_published_score_only(found):
    rows = found["differences"].set_index(["set", "scoring", "condition", "component"])["score"].sort_index()
    for name in ("names", "own"):
        # Of equal length before, so that all positions of the shorter text are compared.
        if name == "names":
            real, padded = rows[name, "aligned", "real"], rows[name, "aligned", "padded"]
            # The bootstrap draws of a comparison are its own, so scores agree and bounds do not.
            assert padded.to_numpy() == pytest.approx(real.to_numpy(), abs=1e-4, nan_ok=True)
        changed = rows[name, "published", "padded"] - rows[name, "published", "real"]
        assert changed.abs().max() > 0.05


def test_what_is_settled_by_construction_is_said_and_is_so(found):
    """Texts of IOI are equally long; of the file's pairs the second is shorter, and padding it shows more."""
    rows = found["lengths"].query("scoring == 'aligned'").set_index(["set", "condition"])
    assert rows.loc[("names", "padded"), "by_construction"] and not rows.loc[("own", "padded"), "by_construction"]
    assert rows.loc[("names", "padded"), "ratio"] == pytest.approx(1, abs=1e-3)
    for name in ("names", "own"):
        assert (
            rows.loc[(name, "right_truncated"), "by_construction"]
            and rows.loc[(name, "right_truncated"), "mean_score"] == 0
        )
        assert not rows.loc[(name, "left_truncated"), "by_construction"]


def test_circuits_cost_what_they_may(found, space):
    rows = found["circuits"]
    for row in rows.to_dict("records"):
        names = row["components"].split()
        assert names[0] == "input" and components.cost(names, space) == row["cost"]
        assert row["cost"] <= row["dimensions"]
    real = rows[(rows["condition"] == "real") & (rows["scored_by"] != "file")]
    assert set(real["budget"]) == {0.3, 0.5, 0.9} and (real["main"] == (real["budget"] == 0.5)).all()
    mine = rows[rows["scored_by"] == "file"]
    assert set(mine["set"]) == {"names", "own"} and set(mine["cost"]) == {160}


def test_circuits_are_tested_on_the_task_with_an_answer(project, found):
    tests = found["tests"]
    assert set(tests["set"]) == {"names", "own"} and set(tests["scored_by"]) == {"published", "aligned", "atp", "file"}
    assert (tests["n_examples"] <= CONFIG["contrast"]["held_out"]).all()
    known = tests.dropna(subset=["p_faithfulness"])
    assert known["p_faithfulness"].between(1 / 100, 1).all() and known["p_effect_share"].between(1 / 100, 1).all()
    # What is kept at each budget grows from nothing to everything.
    budget_sweep = found["budget_sweep"].query("scored_by == 'atp' and rule == 'knapsack'")
    for _, mine in budget_sweep.groupby("set"):
        mine = mine.sort_values("dimensions")
        assert mine["faithfulness"].iloc[-1] > mine["faithfulness"].iloc[0] - 0.05
    effects = tables.read(project.folder / f"results/{MODEL}/contrast/own/effects.parquet")
    band = found["budget_sweep"].query("set == 'own' and scored_by == 'random'").set_index("dimensions")
    metric = (
        effects.assign(metric=effects["metric"].astype(float))
        .groupby(["circuit", "direction", "control"], dropna=False)["metric"]
        .mean()
    )
    floor, full = (metric["empty", "keep"].iloc[0], effects[effects["direction"] == "none"]["metric"].mean())
    for dimensions, row in band.iterrows():
        kept = (metric[f"random at {dimensions}", "keep"] - floor) / (full - floor)
        assert (row["faithfulness_low"], row["faithfulness"], row["faithfulness_high"]) == pytest.approx(
            (kept.min(), kept.mean(), kept.max()), rel=1e-3, abs=1e-6
        )
    digits = tables.read(project.folder / f"results/{MODEL}/digits/examples/contrast0000.parquet")
    held_out = digits[digits["used"] & (digits["split"] == "held_out")]["example"]
    assert set(effects["example"]) == set(held_out.head(CONFIG["contrast"]["held_out"]))


def test_single_effects_are_those_of_exact_patching(project, found):
    scores = tables.read(project.folder / f"results/{MODEL}/ioi/scores/patching/contrast0000.parquet")
    examples = tables.read(project.folder / f"results/{MODEL}/ioi/examples/contrast0000.parquet")
    held_out = examples[examples["used"] & (examples["split"] == "held_out")]["example"]
    mean = scores[scores["example"].isin(held_out)].groupby("component", observed=True)["score"].mean()
    rows = found["components"].query("set == 'names' and scoring == 'aligned'").set_index("component")
    assert rows["effect"].to_numpy() == pytest.approx(mean[rows.index].to_numpy(float), rel=1e-5)
    assert rows.loc["input", "effect_share"] == pytest.approx(1, abs=1e-3)


def test_exported_circuits_come_back_the_same_in_every_format(project, found, space):
    folder = project.folder / TABLES / "circuits"
    row = (
        found["circuits"]
        .query("set == 'own' and scored_by == 'aligned' and rule == 'ratio' and main and condition == 'real'")
        .iloc[0]
    )
    stem, read = folder / f"{MODEL}.own.aligned.ratio", {}
    for form, ending in circuit_files.ENDINGS.items():
        read[form] = circuit_files.read(f"{stem}{ending}", space)
        assert set(read[form].nodes) == set(row["components"].split())
    scores = found["differences"].query("set == 'own' and scoring == 'aligned' and condition == 'real'")
    scores = scores.dropna(subset=["score"]).set_index("component")["score"]
    assert read["circuit"].scores == pytest.approx(scores.to_dict(), rel=1e-5)
    assert list(read["circuit"].nodes) == row["components"].split()
    # The sequence study takes such a file as it is, for the task on which the circuit was tested.
    assert sequence_files.read(f"{stem}.json") == {"digits": row["components"].split()[1:]}


def test_the_comparison_of_a_file_with_a_run(project, found):
    rows = found["replicate"].query("pair == 'mine_and_published'").set_index("statistic")["value"]
    run = found["circuits"].query("set == 'names' and scored_by == 'published' and main and condition == 'real'")
    a, b = set(CIRCUIT["nodes"]), set(run["components"].iloc[0].split())
    assert rows["jaccard"] == pytest.approx(len(a & b) / len(a | b), rel=1e-5) and rows["n_shared"] == len(a & b)
    kept = found["tests"].query("set == 'names' and scored_by == 'file'")["faithfulness"].iloc[0]
    assert rows["faithfulness_first"] == pytest.approx(kept, rel=1e-5)
    beside = found["replicate_components"].query("pair == 'mine_and_published'")
    assert set(beside[beside["in_first"]]["component"]) == a
    text = (project.folder / TABLES / "replicate.md").read_text()
    assert "mine_and_published" in text and "two halves" in text


def test_shuffled_labels_leave_the_published_circuit_as_it_is(found):
    rows = found["replicate"].query("statistic == 'jaccard'").set_index("pair")["value"]
    assert rows[f"names, {MODEL}: published, shuffled"] == 1


def test_findings_name_what_was_compared(project, found):
    text = (project.folder / TABLES / "findings.md").read_text()
    for word in ("published", "aligned", "itself", MODEL, "nothing alone"):
        assert word in text


@pytest.mark.long
def test_a_new_budget_runs_only_its_circuits(project, tmp_path):
    run = copied(project, tmp_path)
    run.config(contrast=CONFIG["contrast"] | {"budgets": [0.3, 0.6, 0.9]})
    run.snakemake("contrast")
    log = (run.folder / "logs/evaluate_circuits" / MODEL / "names.log").read_text()
    reused, made = numbers(log)
    assert reused > 10 and 0 < made < 12
    path = f"results/{MODEL}/contrast/names/effects.parquet"
    extended = (run.folder / path).read_bytes()
    (run.folder / path).unlink()
    run.snakemake(path)
    assert (run.folder / path).read_bytes() == extended


def numbers(log):
    """Interventions reused and evaluated, from the last line that tells them."""
    line = next(line for line in reversed(log.splitlines()) if "reused" in line)
    words = line.split()
    return int(words[words.index("interventions") - 1]), int(words[words.index("evaluated;") - 1])


def test_the_overlay_of_public_models_plans_without_network(project):
    """Texts of a file, the published scoring and budget, and the published circuits tested on the model."""
    shipped = (PROJECT / "config" / "config.yaml").read_bytes()
    with project.edited("config/config.yaml", lambda _: shipped):
        text = project.dry_run("contrast", "--configfile", "config/papers/contrast.yaml")
    assert re.search(r"fetch_model\s+1\n", text) and re.search(r"measure_differences\s+3\n", text)
    assert "remarks.csv" in text and "sarcasm-circuits/original.json" in text
