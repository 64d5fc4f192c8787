"""The targets beside the studies: circuits of every size, planted circuits, calibration."""

import pandas as pd
import pytest
from circuit_reuse.methods.registry import METHODS

pytestmark = pytest.mark.long


def test_curves_of_nodes_and_edges_for_methods_with_edges_and_without(project):
    project.config(methods=["atp", "eap"], tasks=["ioi"])
    try:
        project.snakemake("faithfulness")
        again = project.snakemake("--dry-run", "faithfulness")
    finally:
        project.config()
    assert "Nothing to be done" in again
    folder = project.folder / "results" / "tables" / "faithfulness"
    areas = pd.read_csv(folder / "areas.csv")
    assert set(zip(areas["method"], areas["level"], strict=True)) == {("atp", "node"), ("eap", "node"), ("eap", "edge")}
    assert areas["cmd"].notna().all()
    curves = pd.read_csv(folder / "curves.csv")
    assert curves[curves["share_kept"] == 1]["faithfulness"].sub(1).abs().max() < 1e-3
    for method in ("atp", "eap"):
        for level in ("node", "edge"):
            figure = project.folder / "results/figures/faithfulness" / method / f"{level}.png"
            assert figure.stat().st_size > 2000
    completeness = pd.read_csv(folder / "completeness.csv")
    assert set(completeness["kind"]) == {"completeness", "minimality"}
    tests = pd.read_csv(folder / "hypotheses.csv")
    assert set(tests["test"]) == {"equivalence", "independence", "minimality"} and tests["q_value"].notna().all()


def test_planted_circuits_and_calibration_as_jobs(project):
    few = {"seeds": 2, "examples": 4, "datasets": 20, "power_datasets": 10, "intervals": 20}
    project.config(validate=few)
    try:
        planned = project.snakemake("--dry-run", "validate")
        tables = ["results/validate/selector-neox.parquet", "results/figures/validate/coverage.png"]
        project.snakemake(*tables)
    finally:
        project.config()
    assert planned.count("rule recover_planted:") == 14
    planted = pd.read_parquet(project.folder / tables[0])
    assert set(planted[planted["method"] == "eap-ig"]["auroc"]) == {1.0}
    assert set(planted["method"]) == {*METHODS, "activation-difference"} and len(planted) == 2 * (1 + len(METHODS))
    folder = project.folder / "results" / "tables" / "validate"
    for name in ("false_positives", "power", "coverage"):
        assert len(pd.read_csv(folder / f"{name}.csv")) > 10
        assert (project.folder / "results/figures/validate" / f"{name}.png").stat().st_size > 2000
