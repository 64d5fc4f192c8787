"""Checkpoints of one model: one entry of model_sources is one model a revision."""

import pytest
from circuit_reuse.config import series
from circuit_reuse.config.errors import ConfigError


def config(source, **more):
    """A config with a series called run and a model called other."""
    sources = {"run": source, "other": {"path": "models/other"}}
    return {"model_sources": sources, "models": ["other", "run"], "scaling": {"models": None}} | more


HUB = {"hub": "me/run", "revisions": ["step0", "stage1-step1000-tokens3B", "step20000"]}


def test_a_series_stands_for_its_models_everywhere():
    found = config(dict(HUB, family="mine"), weights={"models": ["run"]})
    series.expand(found)
    names = ["run-step0", "run-stage1-step1000-tokens3B", "run-step20000"]
    assert found["models"] == ["other", *names] and found["weights"]["models"] == names
    assert found["scaling"]["models"] is None and "run" not in found["model_sources"]
    about = found["model_sources"][names[1]]
    assert about == {
        "hub": "me/run",
        "revision": "stage1-step1000-tokens3B",
        "family": "mine",
        "series": "run",
        "step": 1000,
    }
    assert series.of_models(found["models"], found["model_sources"]) == {
        "run": [[0, names[0]], [1000, names[1]], [20000, names[2]]]
    }
    again = {**found, "models": list(found["models"])}
    series.expand(again)
    assert again["models"] == found["models"]


def test_checkpoints_on_disk_lie_where_the_path_says():
    found = config({"path": "runs/{revision}/hf", "revisions": ["10", "a/200"]})
    series.expand(found)
    assert found["model_sources"]["run-a-200"] == {"path": "runs/a/200/hf", "series": "run", "step": 200}
    # One alone is no curve.
    assert series.of_models(["other", "run-10"], found["model_sources"]) == {}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"path": "models/run", "revisions": ["a"]}, "a path with {revision}"),
        (HUB | {"revision": "main"}, "hub without revision"),
        ({"path": "models/{revision}", "revisions": ["a", "b"]}, "'run-a' is there twice"),
    ],
)
def test_a_series_that_is_none_is_refused(source, words):
    found = config(source)
    found["model_sources"]["run-a"] = {"path": "x"}
    with pytest.raises(ConfigError, match=words):
        series.expand(found)


def test_the_figure_over_training_has_each_checkpoint_at_its_step():
    """Whatever the order of the tables; a checkpoint that was left out is no point."""
    import pandas as pd
    from circuit_reuse.studies.reuse import plots_curves

    at = {"task": "ioi", "top_k": 4.0, "threshold": 0.5}
    reuse = pd.DataFrame(
        [at | {"model": m, "reuse": r, "reuse_null": 0.1} for m, r in (("c", 0.9), ("a", 0.2), ("b", 0.4))]
    )
    ends = {"effect_low": -9.0, "effect_high": 0.0, "effect_random": -0.5}
    tests = pd.DataFrame([at | ends | {"model": m, "effect": e} for m, e in (("c", -3.0), ("a", -1.0))])
    members = {"run": [[10, "a"], [100, "b"], [1000, "c"]]}
    figure = plots_curves.checkpoints(
        tests, reuse, members, ["ioi"], {"ioi": "IOI"}, "logits", {"top_k": 4, "threshold": 0.5}
    )
    above, below = figure.axes
    assert above.lines[0].get_xydata().tolist() == [[10, 0.2], [100, 0.4], [1000, 0.9]]
    assert below.lines[1].get_xydata().tolist() == [[10, -1.0], [1000, -3.0]] and above.get_xscale() == "log"
