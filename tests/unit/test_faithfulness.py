"""Curves of faithfulness: sizes, areas, and what must hold at both ends."""

import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data import jobs, tables
from circuit_reuse.studies.reuse import faithfulness, stage_curves
from scipy.integrate import trapezoid
from support import MODELS, examples_for


def test_circuits_of_a_ranking_are_nested_and_of_the_sizes_of_mib():
    scores = np.array([0.5, -3.0, 1.0, -0.2] * 50)
    for ranking in faithfulness.RANKINGS:
        found = faithfulness.members(faithfulness.order_of(scores, ranking, 1))
        assert found.sum(1).tolist() == [0, 0, 1, 2, 4, 10, 20, 40, 100, 200]
        assert not (found[:-1] & ~found[1:]).any()
    assert abs(scores[faithfulness.order_of(scores, "absolute")[0]]) == 3
    # Corrupting what helps lowers the metric: the most negative score comes first.
    assert scores[faithfulness.order_of(np.abs(scores), "signed")[-1]] == -3


def test_areas_equal_the_trapezoid_by_hand():
    """Two examples; faithfulness rises with size and overshoots in the signed ranking."""
    runs = SimpleNamespace(clean=pd.Series([4.0, 2.0]), corrupt=pd.Series([0.0, 0.0]), clusters=pd.Series(["a", "b"]))
    parts, values = [], {"absolute": np.linspace(0, 1, 10), "signed": np.linspace(0, 1.5, 10), "random": np.zeros(10)}
    for ranking, shares in values.items():
        for size, share in zip(faithfulness.SIZES, shares, strict=True):
            parts.append(
                pd.DataFrame(
                    {
                        "ranking": ranking,
                        "draw": None,
                        "share_kept": size,
                        "n_kept": 1,
                        "example": [0, 1],
                        "metric": [4 * share, 2 * share],
                    }
                )
            )
    rows = pd.concat(parts)
    found = faithfulness.areas(rows, runs, 50, ("x",))
    assert found["cpr"][0] == pytest.approx(trapezoid(values["signed"], faithfulness.SIZES))
    assert found["cmd"][0] == pytest.approx(trapezoid(1 - values["absolute"], faithfulness.SIZES))
    assert found["cmd_random"][0] == pytest.approx(0.999)
    line = faithfulness.curve(rows, runs, 50, ("x",))
    assert [row["faithfulness"] for row in line[:10]] == pytest.approx(values["absolute"])
    # A model that does better with everything corrupted: a share of that way is none.
    turned = SimpleNamespace(clean=runs.corrupt, corrupt=runs.clean, clusters=runs.clusters)
    assert all(values == (None, None, None) for values in faithfulness.areas(rows, turned, 50, ("x",)).values())
    assert all(row["faithfulness"] is None for row in faithfulness.curve(rows, turned, 50, ("x",)))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """The stage run once on a small model: its tables."""
    return curves_by("eap-ig", tmp_path_factory.mktemp("curves"))


def curves_by(method, out):
    """The tables of the stage on a small model, in a folder."""
    from circuit_reuse.data import fingerprint
    from circuit_reuse.engine import models
    from circuit_reuse.studies.common import stage_scores

    folder = MODELS / "tiny-gpt2-small"
    model = models.load(folder, "cpu", threads=1)
    prompts = examples_for("ioi", 16, folder)
    cfg = {"metric": "logit_difference", "steps": 2}
    prompts["used"] = True
    scores = stage_scores.scores(model, prompts, method, cfg, 1024, logging.getLogger())
    for column in ("clean_metric", "corrupt_metric", "correct", "rank"):
        prompts[column] = None
    tables.write(out / "examples.parquet", tables.EXAMPLES, prompts.to_dict("records"))
    tables.write(out / "scores.parquet", tables.SCORES, scores)
    (out / "model.json").write_text('{"fingerprint": "x"}')
    names = ("curves", "runs", "edges", "completeness", "hypotheses")
    output = {name: str(out / f"{name}.parquet") for name in names}
    given = {
        "model": [str(path) for path in fingerprint.files(folder)],
        "about": str(out / "model.json"),
        "examples": [str(out / "examples.parquet")],
        "scores": [str(out / "scores.parquet")],
    }
    settings = {
        "seed": 0,
        "k": 0.25,
        "min_valid": 4,
        "dtype": "float32",
        "bootstrap": 50,
        "random_draws": 2,
        "subsets": 3,
        "inflated": 12,
        "quantile": 0.9,
        "permutations": 99,
    }
    params = {"cfg": settings | cfg, "compute": {"device": "cpu", "batch_tokens": 512}}
    of = {"model": "m", "task": "ioi", "method": method}
    stage_curves.task_curves(jobs.Job(given, output, params, of, 1, logging.getLogger()))
    return {name: tables.read(path) for name, path in output.items()}


def test_nothing_kept_is_0_and_everything_is_1(stage):
    table = stage["curves"]
    assert set(table["level"]) == {"node", "edge"}
    whole = table[table["share_kept"] == 1]
    assert whole["faithfulness"].to_numpy() == pytest.approx(1, abs=1e-3)
    nothing = table[table["n_kept"] == 0]
    assert len(nothing) and nothing["faithfulness"].to_numpy() == pytest.approx(0, abs=1e-3)


def test_scores_without_a_sign_put_the_strongest_first_in_both_rankings(tmp_path):
    runs = curves_by("atp-star", tmp_path)["runs"]
    metric = runs.pivot_table(index=["share_kept", "example"], columns="ranking", values="metric")
    assert metric["signed"].to_numpy() == pytest.approx(metric["absolute"].to_numpy(), abs=1e-5)
    assert metric["random"].to_numpy() != pytest.approx(metric["absolute"].to_numpy(), abs=1e-2)


def test_edges_by_score_beat_random_edges(stage):
    row = stage["curves"].query("level == 'edge'").iloc[0]
    assert row["cmd"] < 0.5 * row["cmd_random"]


def test_hypotheses_are_tested_of_the_circuit_and_of_each_component(stage):
    table = stage["hypotheses"]
    members = set(stage["completeness"].query("kind == 'minimality'")["left_out"].explode())
    assert list(table["test"])[:2] == ["equivalence", "independence"]
    single = table[table["test"] == "minimality"]
    # All that is outside, without the input: it is never removed.
    assert set(single["component"]) == members and (single["n_random"] == 11).all() and "input" not in members
    assert table["p_value"].between(0, 1).all()


def test_completeness_and_minimality_have_the_members_of_the_circuit(stage):
    table = stage["completeness"]
    single = table[table["kind"] == "minimality"]
    assert len(single) == 4 and (table["kind"] == "completeness").sum() == 3
    members = {names[0] for names in single["left_out"]}
    halves = table[table["kind"] == "completeness"]["left_out"]
    assert all(set(half) <= members for half in halves)
    loss = table["faithfulness"] - table["faithfulness_without"]
    assert single["difference"].to_numpy() == pytest.approx(loss[single.index].to_numpy())


def test_the_edges_table_holds_every_edge_once(stage):
    edges = stage["edges"]
    assert not edges.duplicated(["writer", "reader"]).any()
    assert len(edges) == stage["curves"].query("level == 'edge'")["n_total"].iloc[0]
