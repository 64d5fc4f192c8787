"""Mistakes in the block `sequences`, told before any job."""

import copy
import json

import pytest
import yaml
from circuit_reuse.config import errors
from circuit_reuse.studies.sequences import checks as sequence_checks
from support import PROJECT, after_checks

BASE = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())


@pytest.fixture(autouse=True)
def in_project(monkeypatch):
    monkeypatch.chdir(PROJECT)


def check(change):
    config = copy.deepcopy(BASE)
    change(config)
    return after_checks(config, sequence_checks.check)["sequences"]


def block(**keys):
    return lambda config: config.setdefault("sequences", {}).update(keys)


def test_the_default_block_is_filled_in():
    found = check(block())
    assert found["models"] and found["edges"]["tasks"] == found["tasks"]


@pytest.mark.parametrize(
    "change, message",
    [
        (block(tasks=["digit"]), r"sequences\.tasks: unknown task 'digit'.*Did you mean digits"),
        (block(models=["gpt9"]), r"sequences\.models: 'gpt9' is not in model_sources"),
        (block(tasks=["digits", "boolean"]), r"'boolean' continues no sequence; put it into sequences\.control_tasks"),
        (block(control_tasks=["digits"]), r"sequences\.control_tasks: 'digits' is in sequences\.tasks already"),
        (block(examples=6), r"sequences\.examples: 6 examples give 3"),
        (block(pruning={"thresholds": [0.1], "threshold": 0.2}), r"threshold is 0\.2; it must be one of .*: 0\.1"),
        (block(pruning={"strategies": ["forward"]}), r"strategy is backward_first; it must be one of"),
        (block(pruning={"thresholds": [0]}), r"thresholds\.0 is 0; it must be more than 0"),
        (block(pruning={"means": "published"}, replacement="corrupt"), r"means is published, which needs"),
        (block(edges={"tasks": ["ioi"]}), r"edges\.tasks: 'ioi' is not in sequences\.tasks"),
        (block(edges={"rule": "quantile", "value": 3}), r"edges\.value is 3; a quantile must be below 1"),
        (block(prunning={}), r"unknown key sequences\.prunning.*Did you mean pruning"),
        (block(diagrams={"colours": ["red", "blue", "green"]}), r"colours\.0 is 'red'; it must be of the form"),
        (block(circuits={"mine": {"file": "config/none.json"}}), r"there is no file config/none\.json"),
        (block(circuits={"mine": {"file": "../out.json"}}), r"sequences\.circuits\.mine\.file: there is no file"),
        (
            block(circuits={"p": {"file": "resources/published/sequence-circuits/circuits.json"}}),
            r"has 3 layers of \d heads and so no .*a9\.h1",
        ),
    ],
)
def test_a_mistake_gets_one_message_that_names_the_key(change, message):
    with pytest.raises(errors.ConfigError, match=message):
        check(change)


def own(**sequence):
    def change(config):
        config["custom_tasks"] = {"mine": {"sequence": sequence}}
        config.setdefault("sequences", {})["variants"] = ["mine"]

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (own(members="days", step=2), r"custom_tasks\.mine\.sequence: 4 steps of 2 do not fit into 7 days.*wrap"),
        (own(members="days", frame="no slot"), r"the frame 'no slot' has the slots none"),
        (own(member="days"), r"custom_tasks\.mine\.sequence\.member is unknown.*Did you mean members"),
        (lambda c: c.update(task_options={"digits": {"length": 30}}), r"task_options\.digits: length is 30"),
        (lambda c: c.update(custom_tasks={"mine": {"title": "x"}}), r"needs either file or sequence"),
    ],
)
def test_a_sequence_that_cannot_be_is_told_before_any_job(change, message):
    with pytest.raises(errors.ConfigError, match=message):
        check(change)


def test_a_sequence_of_ones_own_needs_no_file():
    found = check(own(members=["Monday", "Friday", "May", "Sunday", "June", "July"], frame="{item}", language="mixed"))
    assert found["variants"] == ["mine"]


def test_a_circuit_file_of_ones_own_is_read_for_the_models_that_it_is_for():
    path = PROJECT / "config" / "test_circuits.json"
    try:
        path.write_text(json.dumps({"circuits": {"digits": ["a0.h1", "m2"]}}))
        found = check(block(circuits={"mine": {"file": "config/test_circuits.json"}}))
        assert found["circuits"]["mine"]["models"] == []
        with pytest.raises(errors.ConfigError, match=r"circuits\.mine\.models: 'x' is not in"):
            check(block(circuits={"mine": {"file": "config/test_circuits.json", "models": ["x"]}}))
        path.write_text(json.dumps({"circuits": {"digit": ["m0"]}}))
        with pytest.raises(
            errors.ConfigError,
            match=r"circuits\.mine\.file: config/test_circuits\.json: unknown task 'digit'.*Did you mean digits",
        ):
            check(block(circuits={"mine": {"file": "config/test_circuits.json"}}))
    finally:
        path.unlink(missing_ok=True)


def test_lengths_that_no_task_has_are_refused_before_anything_runs():
    """A week has seven days: six of them can be continued."""
    assert check(block(tasks=["days"], lengths={"values": [6, 9], "examples": 4}))
    with pytest.raises(errors.ConfigError, match=r"sequences\.lengths\.values is \[9\].*\(days\)"):
        check(block(tasks=["days"], lengths={"values": [9], "examples": 4}))
