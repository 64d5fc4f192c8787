"""The weight study end to end, on one small model."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data import fingerprint, tables
from circuit_reuse.studies.weights import measures, schemas
from workflow_config import CONFIG, copied

TABLES = "results/tables/weights"
MODEL = "tiny-gpt2-small"
FOLDER = f"results/{MODEL}/weights/digits"


@pytest.fixture(scope="module")
def found(project):
    return {path.stem: pd.read_csv(path) for path in (project.folder / TABLES).glob("*.csv")}


def test_one_mask_is_learned_evaluated_and_saved(project, found):
    """The mask that the sweep and the nodes are evaluated on is the one in the file, to the hash."""
    folder = project.folder / FOLDER
    masks = tables.read(folder / "masks.parquet", schemas.MASKS)
    hashes = set(masks[masks["chosen"]]["mask"])
    assert len(hashes) == 1 and masks["coefficient"].nunique() == 2
    for name, schema in (("sweep", schemas.SWEEP), ("edges", schemas.WEIGHT_EDGES), ("node_runs", schemas.NODE_RUNS)):
        assert set(tables.read(folder / f"{name}.parquet", schema)["mask"]) == hashes
    circuits = found["circuits"]
    chosen = circuits[circuits["chosen"]].iloc[0]
    assert chosen["mask"] in hashes and chosen["n_nodes"] == circuits["n_nodes"].min()
    assert (circuits["loss"] <= circuits["loss_target"]).all()
    assert chosen["n_nodes"] == masks[masks["chosen"]]["active"].sum()
    curve = found["pareto_front"]
    curve = curve[(curve["coefficient"] == chosen["coefficient"]) & (curve["n_nodes"] == chosen["n_nodes"])]
    assert curve["loss"].iloc[0] == pytest.approx(chosen["loss"], abs=1e-5)
    # What the node stage measures again is what was saved with the mask.
    kept = found["node_tests"].set_index("direction").loc["sufficiency", "loss"]
    assert kept == pytest.approx(chosen["loss_held_out"], abs=1e-4)


def test_edges_are_the_circuits_weights(project, found):
    edges, chosen = found["edges"], found["circuits"].query("chosen").iloc[0]
    masks = tables.read(project.folder / FOLDER / "masks.parquet", schemas.MASKS)
    active = set(masks[masks["chosen"] & masks["active"]]["node"])
    assert len(edges) == chosen["n_weights"] and (edges["weight"] != 0).all()
    assert {*edges["writer"], *edges["reader"]} <= active
    ends = {
        "q": ("attn_in", "q"),
        "k": ("attn_in", "k"),
        "v": ("attn_in", "v"),
        "o": ("v", "attn_out"),
        "in": ("mlp_in", "mlp_neuron"),
        "out": ("mlp_neuron", "mlp_out"),
    }
    for matrix, rows in edges.groupby("matrix"):
        for column, location in zip(("writer", "reader"), ends[matrix], strict=True):
            parts = rows[column].str.split(".", expand=True)
            assert set(parts[1]) == {location} and (parts[0].astype(int) == rows["layer"]).all()
    assert np.abs(edges["weight"]).mean() == pytest.approx(chosen["size_mean"], rel=1e-4)
    told = json.loads((project.folder / TABLES / "edges.json").read_text())
    assert len(told) == len(edges) and told[0]["writer"] == edges["writer"].iloc[0]


def test_the_sweep_and_its_results_agree(project, found):
    sweep, chosen = found["sweep"], found["circuits"].query("chosen").iloc[0]
    circuit = sweep[sweep["condition"] == "circuit"]
    assert list(circuit["n_removed"]) == [round(share * chosen["n_weights"]) for share in (0, 0.25, 0.5, 0.75, 1)]
    # All of the circuit is one set, and nothing is another, in every order.
    assert circuit["loss_std"].iloc[[0, -1]].max() == pytest.approx(0, abs=1e-6)
    ends = sweep[sweep["share"] == 1].set_index("condition")["loss"]
    assert ends["circuit_importance"] == pytest.approx(ends["circuit"], abs=1e-4)
    clean = sweep[sweep["share"] == 0]["loss"]
    assert clean.max() - clean.min() < 1e-4
    results = json.loads((project.folder / TABLES / "weight_ablation_sweep_results.json").read_text())
    results = results[MODEL]["digits"]
    assert results["metadata"]["circuit_weight_count"] == chosen["n_weights"]
    assert results["metadata"]["num_trials"] == 2 and results["metadata"]["num_examples"] == 8
    for _, row in circuit.iterrows():
        told = results["random_circuit_results"][str(int(row["n_removed"]))]
        assert told == pytest.approx({"mean": row["loss"], "std": row["loss_std"]}, abs=1e-5)
    assert (sweep["loss_low"] <= sweep["loss"] + 1e-6).all() and (sweep["loss"] <= sweep["loss_high"] + 1e-6).all()
    matches = found["matches"].set_index("control")
    sums = matches[["from_matrix", "from_layer", "from_model", "from_nearest"]].sum(axis=1)
    # Four numbers of six digits.
    np.testing.assert_allclose(sums, 1, rtol=0, atol=2e-6)
    assert matches.loc["quantile", "distance"] < matches.loc["window", "distance"]


def test_tests_and_findings(project, found):
    tests = found["tests"]
    assert set(tests["control"]) == {
        "non_circuit",
        "matrix",
        "quantile",
        "touching",
        "window",
        "layer",
        "random_circuit",
    }
    ranked = tests.dropna(subset=["p_value"])
    assert (
        len(ranked) == 7
        and (ranked["p_value"] >= 1 / 20 - 1e-9).all()
        and (ranked["q_value"] >= ranked["p_value"] - 1e-9).all()
    )
    assert (tests["difference_low"] <= tests["difference"]).all() and (
        tests["difference"] <= tests["difference_high"]
    ).all()
    same = tests[tests["control"] != "random_circuit"]
    np.testing.assert_allclose(same["area_circuit"] - same["area_control"], same["difference"], rtol=1e-5)
    text = (project.folder / TABLES / "findings.md").read_text()
    assert MODEL in text and "What this page cannot say" in text and "nan" not in text
    assert set(found["interpretations"]["interpretation"]) <= set(measures.INTERPRETATIONS)
    np.testing.assert_allclose(tests["ranked"], tests["ranked"].clip(tests["ranked_low"], tests["ranked_high"]))
    # Of the random masks nothing is removed first, which is the intact model.
    random, sweep = found["random_circuits"], found["sweep"]
    clean = sweep[sweep["share"] == 0]["loss"].iloc[0]
    np.testing.assert_allclose(random[random["share"] == 0]["loss"], clean, atol=1e-4)


@pytest.mark.long
def test_a_second_look_at_a_mask_and_a_mask_of_another_model(project, tmp_path):
    """A mask of an earlier run takes the place of learning; of another model it is refused before any job."""
    run = copied(project, tmp_path)
    kept = run.folder / "config" / "mine.parquet"
    kept.write_bytes((run.folder / FOLDER / "masks.parquet").read_bytes())
    before = tables.read(run.folder / FOLDER / "masks.parquet", schemas.MASKS)
    sweep = tables.read(run.folder / FOLDER / "sweep.parquet", schemas.SWEEP)

    def ask(model):
        block = CONFIG["weights"] | {"models": [model]}
        block["masks"] = block["masks"] | {"files": {model: {"digits": "config/mine.parquet"}}}
        run.config(weights=block)

    ask("tiny-neox-small")
    told = run.snakemake("--dry-run", check=False)
    made_for = fingerprint.fingerprint(run.folder / "resources/models" / MODEL)
    assert "weights.masks.files.tiny-neox-small.digits" in told and f"fingerprint {made_for}" in told
    ask(MODEL)
    target = f"{FOLDER}/sweep.parquet"
    run.snakemake("--", target)
    after = tables.read(run.folder / FOLDER / "masks.parquet", schemas.MASKS)
    assert set(after["mask"]) == set(before[before["chosen"]]["mask"]) and after["tau"].isna().all()
    pd.testing.assert_frame_equal(tables.read(run.folder / target, schemas.SWEEP), sweep)


def test_legends_and_labels_lie_inside_figures_of_one_panel(project):
    from circuit_reuse.studies.weights import figures

    cfg = {"models": [MODEL], "tasks": ["digits"], "titles": {"digits": "Digits"}, "matched": "quantile"}
    drawn = figures.figures((project.folder / TABLES).glob("*.csv"), cfg)
    assert {path.stem for path in (project.folder / "results/figures/weights").glob("*.png")} == set(drawn)
    for name, make in drawn.items():
        figure = make()
        figure.draw_without_rendering()
        labels = [ax.xaxis.label for ax in figure.axes] + [ax.yaxis.label for ax in figure.axes]
        for part in (*figure.legends, *(label for label in labels if label.get_text())):
            box, whole = part.get_window_extent(), figure.bbox
            assert box.x0 >= -1 and box.x1 <= whole.x1 + 1 and box.y0 >= -1 and box.y1 <= whole.y1 + 1, (name, part)


def test_a_model_that_was_left_out_leaves_the_findings_and_the_panels_of_the_other(project, found):
    from circuit_reuse.studies.weights import figures, findings

    titles = {"digits": "Digits", "months": "Months"}
    # The first of its row, whose panel would have the label of the axis.
    cfg = {"models": ["absent", MODEL], "tasks": ["digits", "months"], "titles": titles, "matched": "quantile"}
    for name, make in figures.figures((project.folder / TABLES).glob("*.csv"), cfg).items():
        axes = make().axes
        texts = [[text.get_text() for text in ax.texts] for ax in axes]
        assert any(text.startswith("left out") for each in texts for text in each), name
        assert name == "tests" or any(ax.get_ylabel() for ax in axes if ax.axison), name
    text = findings.text(found | {"fvu": found["unexplained"]}, cfg | {"tests": {"alpha": 0.05}, "margin": 0.1})
    assert MODEL in text and "**absent" not in text


def test_the_overlay_of_public_models_plans_without_network(project):
    text = project.dry_run("weights", "--configfile", "config/papers/weights.yaml")
    assert re.search(r"^sweep_weights +8$", text, re.MULTILINE), text[-3000:]
