"""Strength against traced influence: heads of a layer are alike, and shared keys and values count once."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data import csv_tables
from circuit_reuse.studies.scaling import findings, influence, plots_backups, plots_runs, schemas
from scipy import stats

LAYERS, HEADS = 24, 8
WITHIN = "correlation_within_layers"


def drawn(rng, share, joined=0.0):
    """(first, second, layer) of heads whose values lie a share of their variance between layers; joined: correlation within layers."""
    layer = np.repeat(np.arange(LAYERS), HEADS)
    between = [np.sqrt(share) * rng.normal(size=LAYERS)[layer] for _ in range(2)]
    one, other = rng.normal(size=(2, len(layer)))
    other = joined * one + np.sqrt(1 - joined**2) * other
    return [b + np.sqrt(1 - share) * w for b, w in zip(between, (one, other), strict=True)] + [layer]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_heads_alike_within_layers_give_no_small_p_and_an_interval_that_holds_0(share, monkeypatch):
    monkeypatch.setattr(influence, "DRAWS", 199)
    found = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        found.append(influence.association(*drawn(rng, share), rng))
    p = np.array([each["p_value"] for each in found])
    assert (p <= 0.05).mean() <= 0.12 and stats.kstest(p, "uniform").pvalue > 1e-3
    held = np.mean(
        [each["correlation_within_layers_low"] <= 0 <= each["correlation_within_layers_high"] for each in found]
    )
    assert held >= 0.87
    # Heads taken as independent: what was done before.
    plain = [
        stats.pearsonr(*map(stats.rankdata, drawn(np.random.default_rng(seed), share)[:2])).pvalue
        for seed in range(120)
    ]
    assert share == 0 or np.mean(np.array(plain) <= 0.05) > 0.15


def test_what_goes_together_within_layers_is_found():
    rng = np.random.default_rng(0)
    found = influence.association(*drawn(rng, 0.3, 0.5), rng)
    assert found["p_value"] < 0.01 and found[f"{WITHIN}_low"] > 0
    first, second, layer = drawn(rng, 0.3)
    assert found.keys() == {"correlation", "p_value", WITHIN, f"{WITHIN}_low", f"{WITHIN}_high"}
    few = influence.association(first[:24], second[:24], layer[:24], rng)
    assert f"{WITHIN}_low" not in few and few["p_value"] is not None
    assert influence.association(first[:3], second[:3], layer[:3], rng) == {}


def test_what_goes_against_each_other_within_layers_is_no_agreement_because_both_grow_with_depth():
    """Overall the correlation is positive; the p is that of the order within layers, so the sign must be its own."""
    layer = np.repeat(np.arange(8), 8)
    within = np.tile(np.arange(8), 8)
    found = influence.association(8 * layer + within, 8 * layer - within, layer, np.random.default_rng(0))
    assert found["correlation"] > 0.5 and found["p_value"] < 0.01
    assert found[WITHIN] < -0.9 and found[f"{WITHIN}_high"] < 0
    row = found | {"model": "all", "task": "t", "part": "z", "direction": "restore", "same": False, "q_value": 0.001}
    text = findings.tracing(pd.DataFrame([row]), 0.05)
    assert "within layers -1" in text and "not clear" not in text
    # A head a layer: nothing within layers.
    alone = influence.association(np.arange(8), np.arange(8), np.arange(8), np.random.default_rng(0))
    assert alone.keys() == {"correlation"}


def test_a_redrawn_correlation_is_that_of_the_drawn_heads():
    rng = np.random.default_rng(1)
    first, second, layer = drawn(rng, 0.3)
    values = influence.redrawn(first, second, layer, np.random.default_rng(5))
    times = np.random.default_rng(5).multinomial(LAYERS, np.full(LAYERS, 1 / LAYERS), size=influence.DRAWS)
    # Clusters are numbered in the order of their names.
    order = sorted(range(LAYERS), key=str)
    for draw in (0, 7):
        chosen = np.concatenate([np.flatnonzero(layer == order[n]) for n in np.repeat(np.arange(LAYERS), times[draw])])
        assert values[draw] == pytest.approx(np.corrcoef(first[chosen], second[chosen])[0, 1])


def test_keys_and_values_that_heads_share_are_one_row_with_their_mean_strength():
    rows = pd.DataFrame(
        {"model": "m", "task": "t", "direction": "restore", "layer": 0, "head": list(range(4)) * 2}
        | {"part": ["v"] * 4 + ["q"] * 4, "strength": [1.0, 3, 5, 7] * 2, "size": [2.0, 2, 9, 9, 1, 2, 3, 4]}
    )
    found = influence.once_a_group(rows, {"m": {"heads": 4, "kv_heads": 2}})
    values = found[found["part"] == "v"]
    assert list(values["strength"]) == [2, 6] and list(values["size"]) == [2, 9]
    assert list(found[found["part"] == "q"]["size"]) == [1, 2, 3, 4]
    assert len(influence.once_a_group(rows, {"m": {"heads": 4, "kv_heads": 4}})) == 8


@pytest.mark.parametrize("kind", [object, "str"])
def test_where_no_head_was_traced_the_table_is_empty_and_has_its_columns(kind):
    """A column without a value may be of any kind."""
    columns = ["model", "task", "direction", "part", "layer", "head", "role", "influence"]
    tracing = pd.DataFrame(columns=columns, dtype=kind)
    heads = pd.DataFrame(
        {"model": "m", "layer": [0], "head": [0], "strength": [1.0], "split": "train", "replacement": "mean"}
    )
    found = influence.table_of(tracing, heads, "mean", {"m": {"heads": 4, "kv_heads": 4}}, 0)
    assert not len(found) and {"model", "over", "correlation", f"{WITHIN}_low", "q_value"} <= set(found)


def test_rows_are_those_of_each_model_and_of_all():
    rng = np.random.default_rng(2)
    places = [(m, layer, head) for m in "ab" for layer in range(6) for head in range(4)]
    about = pd.DataFrame(places, columns=["model", "layer", "head"])
    heads = about.assign(strength=rng.random(len(about)), split="train", replacement="corrupt")
    tracing = about.assign(task="t", direction="corrupt", part="z", role=None, influence=rng.normal(size=len(about)))
    shapes = {name: {"heads": 4, "kv_heads": 2} for name in "ab"}
    found = influence.table_of(tracing, heads, "corrupt", shapes, 0)
    assert list(found["model"]) == ["a", "b", "all"] and list(found["n_heads"]) == [24, 24, 48]
    # The scan itself, on other examples.
    assert set(found["over"]) == {"reliability"} and found[f"{WITHIN}_low"].notna().all()
    # Strength is that of the train split, as the traced examples are held out.
    more = pd.concat([heads, heads.assign(split="held_out", strength=-3 * heads["strength"])])
    pd.testing.assert_frame_equal(found, influence.table_of(tracing, more, "corrupt", shapes, 0))


def test_figures_say_so_where_no_head_was_traced():
    columns = ["model", "task", "direction", "part", "layer", "head", "role", "influence", "share"]
    context = SimpleNamespace(models=pd.DataFrame({"model": ["m"]}), titles=("A", "B"))
    heads = pd.DataFrame(columns=["model", "layer", "head", "strength", "category"])
    nothing = pd.DataFrame(columns=columns)
    for figure in (
        plots_runs.tracing_heads(nothing, context, ("a", "b"), {"m": (2, 2)}),
        plots_runs.influence_vs_strength(nothing, heads, nothing, context, ("a", "b")),
    ):
        assert "no head was traced" in figure.axes[0].texts[0].get_text()


@pytest.mark.parametrize(
    "rows", ["family,model,p_value\n", "family,model,task,ranking,n_heads,matching\nf,m,a,all,1,\n"]
)
def test_figures_say_so_where_no_head_is_strong(rows, tmp_path):
    """As the tables of such a study are written: without rows, or without the columns that nothing was computed for."""
    (tmp_path / "t.csv").write_text(rows)
    context = SimpleNamespace(models=pd.DataFrame({"model": ["m"]}), titles=("A", "B"))
    heroes, backups = (
        csv_tables.read(tmp_path / "t.csv", schemas.CSVS[name]) for name in ("hero_vs_random", "backups")
    )
    figures = [plots_runs.hero_vs_random(heroes, context, ("a", "b"))]
    if backups.empty:
        figures.append(plots_backups.backups(backups, context, ("a", "b"), "logit_difference"))
    for figure in figures:
        assert "no heroes to remove" in figure.axes[0].texts[0].get_text()
