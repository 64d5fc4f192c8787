"""Checkpoints of one model: one entry of model_sources is one model a revision."""

import pytest
from circuit_reuse.config import series
from circuit_reuse.config.errors import ConfigError


def config(source, **more):
    """A config with a series called run and a model called other."""
    sources = {"run": source, "other": {"path": "models/other"}}
    return {"model_sources": sources, "models": ["other", "run"], "scaling": {"models": None}} | more


HUB = {"hub": "me/run", "revisions": ["main", "stage1-step1000-tokens3B", "step20000"]}


def test_a_series_stands_for_its_models_everywhere():
    found = config(dict(HUB, family="mine"), weights={"models": ["run"]})
    series.expand(found)
    names = ["run-main", "run-stage1-step1000-tokens3B", "run-step20000"]
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
