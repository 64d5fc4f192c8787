"""Mistakes in the block `weights` of a config: one clear message each, before any job."""

from functools import partial

import pytest
import yaml
from circuit_reuse.config import errors
from circuit_reuse.data import tables
from circuit_reuse.studies.weights import checks as weight_checks
from circuit_reuse.studies.weights import schemas, weight_sets
from support import PROJECT, checked

CONFIG = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())


check = partial(checked, "weights", weight_checks.check)


def test_the_default_is_right_and_models_default_to_those_of_the_run(monkeypatch):
    block = check(monkeypatch, models=[])
    assert block["models"] == CONFIG["models"] and block["masks"]["target"]["excess"] == 0.15
    shipped = CONFIG["weights"]["sweep"]
    assert (block["sweep"]["trials"], block["sweep"]["points"]) == (shipped["trials"], shipped["points"])
    # What a config does not say is what the schema has, as the source has it.
    bare = check(monkeypatch, models=[], sweep={"pool_too_small": "widen"}, random={"circuits": 39})
    assert bare["sweep"]["trials"] >= 10 and bare["sweep"]["points"] == 11
    for each in (block, bare):
        assert each["sweep"]["quantiles"] == 10 and len(each["sweep"]["controls"]) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["tiny-gpt2-spars"]}, ["weights.models", "Did you mean tiny-gpt2-sparse?"]),
        ({"tasks": ["digit"]}, ["weights.tasks", "'digit'", "Did you mean digits?"]),
        ({"sweep__trials": 1}, ["weights.sweep.trials is 1", "at least 2"]),
        ({"sweep__controls": ["quantile", "matrix", "layer"]}, ["weights.sweep.controls", "non_circuit"]),
        ({"sweep__controls": ["non_circuit", "matrix", "layer"]}, ["quantile", "weights.sweep.matched"]),
        ({"random__circuits": 10}, ["weights.random.circuits is 10", "never below 0.091", "at least 19"]),
        ({"random__trials": 11}, ["weights.random.trials is 11", "weights.sweep.trials (5)"]),
        ({"sweep__matched": "windows"}, ["weights.sweep.matched", "Did you mean window?"]),
        ({"random__every": 4}, ["weights.random.every is 4", "must divide 6"]),
        ({"masks__temperature": 0}, ["weights.masks.temperature is 0", "more than 0"]),
        ({"masks__taus": 1}, ["unknown key weights.masks.taus"]),
        ({"replacement": "corrupt"}, ["weights.replacement", "mean, zero"]),
        ({"masks__files": {"gpt2": {"digits": "a.parquet"}}}, ["weights.masks.files.gpt2", "not in weights.models"]),
        ({"masks__files": {"tiny-gpt2-medium": {"ioi": "a.parquet"}}}, ["'ioi' is not in weights.tasks"]),
        ({"masks__files": {"tiny-gpt2-medium": {"digits": "a.parquet"}}}, ["there is no file a.parquet"]),
        ({"masks__files": {"tiny-gpt2-medium": {"digits": "../../a.parquet"}}}, ["there is no file", "a.parquet"]),
        (
            {"masks__files": {"tiny-gpt2-medium": {"digits": "results/tiny-gpt2-medium/weights/digits/masks.parquet"}}},
            ["copy it elsewhere"],
        ),
        ({"sweep__controls": ["random", "quantile"]}, ["'random'", "non_circuit, matrix, quantile"]),
        ({"examples": 8}, ["weights.examples"]),
    ],
)
def test_a_mistake_is_told(monkeypatch, changes, words):
    with pytest.raises(errors.ConfigError) as problem:
        check(monkeypatch, **changes)
    assert all(word in str(problem.value) for word in words), problem.value


def test_a_mask_of_other_weights_is_told(monkeypatch, tmp_path):
    file = tmp_path / "of_another_model.parquet"
    row = {
        "coefficient": None,
        "layer": 0,
        "location": "q",
        "channel": 0,
        "node": "0.q.0",
        "tau": None,
        "active": True,
        "chosen": True,
        "mask": weight_sets.mask_hash("other", ["0.q.0"]),
    }
    tables.write(file, schemas.MASKS, [row], model="other")
    with pytest.raises(errors.ConfigError, match=r"weights.masks.files.tiny-gpt2-medium.digits: .*fingerprint other"):
        check(monkeypatch, masks__files={"tiny-gpt2-medium": {"digits": str(file)}})
