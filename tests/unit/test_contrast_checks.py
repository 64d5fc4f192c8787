"""Mistakes in the block `contrast` of a config: one clear message each, before any job."""

import json
import warnings
from functools import partial

import pytest
import yaml
from circuit_reuse.config import errors
from circuit_reuse.studies.contrast import checks as contrast_checks
from support import PROJECT, checked

CONFIG = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
SHAPE = {"layers": 12, "heads": 12, "d_model": 768, "d_head": 64}
PUBLISHED = "resources/published/sarcasm-circuits/original.json"


check = partial(checked, "contrast", contrast_checks.check)


def test_the_default_is_right_and_the_models_default_to_those_of_the_run(monkeypatch):
    block = check(monkeypatch, models=[])
    assert block["models"] == CONFIG["models"]
    assert block["sets"]["sarcasm"]["paired"] is True and block["replicate"]["persistence"] == 0.95
    assert block["scorings"]["aligned"]["mlp_threshold"] is None


@pytest.mark.parametrize(
    ("sets", "models", "most"),
    [
        (99, ["tiny-gpt2-medium"], None),
        (99, ["tiny-gpt2-medium", "tiny-gpt2-large"], 6),
        (59, ["tiny-gpt2-medium"], None),
        (118, ["tiny-gpt2-medium", "tiny-gpt2-large"], 6),
        (119, ["tiny-gpt2-medium", "tiny-gpt2-large"], None),
    ],
)
def test_one_circuit_alone_that_could_not_be_shown_is_noted_with_the_size_of_its_family(
    monkeypatch, sets, models, most
):
    """Three rules of two scorings for each model and set share a q; what is attributed has another."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always", errors.ConfigNote)
        check(monkeypatch, random_sets=sets, models=models)
    found = [str(note.message) for note in noted if "share a q" in str(note.message)]
    assert len(found) == (most is not None)
    if most:
        assert f"up to {most} tests" in found[0] and f"at least {20 * most - 1} show" in found[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["tiny-gpt2-mediun"]}, ["contrast.models", "Did you mean tiny-gpt2-medium?"]),
        ({"sets__sarcasm": {"task": "sarcasme"}}, ["contrast.sets.sarcasm.task", "Did you mean sarcasm?"]),
        (
            {"sets__names": {"task": "ioi", "first": "ABBA"}},
            ["contrast.sets.names.first is 'ABBA'", "ioi are not of two classes", "leave first out"],
        ),
        ({"sets__sums": {"task": "addition", "first": "carry"}}, ["contrast.sets.sums.first", "not of two classes"]),
        (
            {"sets__truth": {"task": "boolean", "first": "tru"}},
            ["classes of boolean are false, true", "Did you mean true?"],
        ),
        ({"sets__sarcasm": {}}, ["contrast.sets.sarcasm needs either task or file", "none"]),
        ({"sets__sarcasm": {"task": "ioi", "file": "a.csv"}}, ["either task or file", "task, file"]),
        ({"sets__sarcasm": {"task": "sarcasm", "paired": False}}, ["paired is false", "prompts of a task are pairs"]),
        ({"sets__sarcasm": {"task": "sarcasm", "behaviour": "io"}}, ["contrast.sets.sarcasm.behaviour", "'io'"]),
        ({"sets__Own Texts": {"task": "ioi"}}, ["Own Texts"]),
        ({"sets__own": {"file": "none.csv"}}, ["contrast.sets.own.file: there is no file none.csv"]),
        ({"sets__own": {"file": "../nowhere/passwd"}}, ["contrast.sets.own.file: there is no file"]),
        ({"budget": 0.05}, ["contrast.budget, model tiny-gpt2-medium", "costs 96", "at least 96 or 0.143"]),
        ({"budget": 95}, ["contrast.budget", "95 of 672 dimensions"]),
        ({"budgets": [0.5, 0.1]}, ["contrast.budgets", "0.1", "costs 96"]),
        ({"budget": 9999}, ["contrast.budget: 9999 is more than the 672 dimensions"]),
        ({"flips": 10}, ["contrast.flips is 10", "never below 0.091", "at least 19"]),
        ({"random_sets": 10}, ["contrast.random_sets is 10", "at least 19"]),
        ({"random_sets": 58}, ["contrast.random_sets is 58", "of 3 tests", "at least 59"]),
        ({"sets__own": {"file": PUBLISHED, "cluster": "words"}}, ["cluster is 'words'", "a column cluster"]),
        ({"scorings__file": {}}, ["contrast.scorings.file", "taken"]),
        ({"scorings__aligned__mlp_threshold": 7}, ["contrast.scorings.aligned.mlp_threshold is 7", "knapsack, ratio"]),
        ({"scorings__aligned__positions": "begin"}, ["contrast.scorings.aligned.positions is 'begin'", "start, end"]),
        ({"reference": "publishd"}, ["contrast.reference", "Did you mean published?"]),
        ({"attribution": "eapig"}, ["contrast.attribution", "Did you mean eap-ig?"]),
        ({"circuits__c": {"file": "none.json", "shape": SHAPE}}, ["contrast.circuits.c.file", "no such file"]),
        (
            {"circuits__c": {"file": PUBLISHED}},
            ["contrast.circuits.c.file", "give its shape", "contrast.circuits.c.models"],
        ),
        (
            {"circuits__c": {"file": PUBLISHED, "models": ["tiny-gpt2-medium"]}},
            ["3 layers of 8 heads and so no", "m11", "a11.h8", "a9.h10"],
        ),
        ({"circuits__c": {"file": PUBLISHED, "models": ["tiny-gpt2-large"]}}, ["not in contrast.models"]),
        (
            {"circuits__c": {"file": PUBLISHED, "shape": SHAPE | {"d_head": 32}}},
            ["states a write cost of 11200", "make 9824"],
        ),
        ({"circuits__c": {"file": "circuit.pt", "shape": SHAPE}}, ["contrast.circuits.c.file", "json"]),
        (
            {"replicate__pairs__p": {"first": "sarcasm_45", "second": "sarcasm_54"}},
            ["contrast.replicate.pairs.p.first", "Did you mean sarcasm_54?"],
        ),
        (
            {"replicate__pairs__p": {"first": {"sets": "x"}, "second": "sarcasm_54"}},
            ["unknown key sets", "model, set, scoring"],
        ),
        (
            {"replicate__pairs__p": {"first": {"scoring": "align"}, "second": "sarcasm_54"}},
            ["first.scoring is 'align'", "Did you mean aligned?"],
        ),
        (
            {"replicate__pairs__p": {"first": {"scoring": "aligned", "rule": "published"}, "second": "sarcasm_54"}},
            ["first.rule is 'published'", "knapsack, ratio"],
        ),
        (
            {"replicate__pairs__p": {"first": {"scoring": "eap-ig", "condition": "padded"}, "second": "sarcasm_54"}},
            ["of real texts only"],
        ),
        (
            {"replicate__pairs__p": {"first": "sarcasm_54", "second": {"scoring": "aligned"}}},
            ["contrast.replicate.pairs.p", "two shapes", "12 layers of 12 heads and 3 layers of 8 heads"],
        ),
        ({"circuits__sarcasm_54__models": ["tiny-gpt2-medium"]}, ["contrast.circuits.sarcasm_54.file", "layers"]),
        (
            {"replicate__thresholds__jacard": 0.5},
            ["unknown key contrast.replicate.thresholds.jacard", "Did you mean jaccard?"],
        ),
        ({"longest": 0}, ["contrast.longest is 0", "at least 1"]),
        ({"sets__sarcasm__bos": "never"}, ["contrast.sets.sarcasm.bos is 'never'", "no effect", "bos of the task"]),
        ({"examples": 10}, ["contrast.examples"]),
    ],
)
def test_a_mistake_is_told(monkeypatch, changes, words):
    with pytest.raises(errors.ConfigError) as error:
        check(monkeypatch, **changes)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_an_overlay_can_take_an_entry_out(monkeypatch, tmp_path):
    (tmp_path / "texts.csv").write_text(PAIRS)
    block = check(
        monkeypatch,
        tmp_path,
        sets__sarcasm=None,
        sets__own={"file": str(tmp_path / "texts.csv")},
        scorings__published=None,
        reference="aligned",
    )
    assert list(block["sets"]) == ["own"] and list(block["scorings"]) == ["aligned"]


PAIRS = "id,first,second\n" + "".join(f"{n},great the phone {n},the phone {n}\n" for n in range(12))


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("first,other\na,b\n", {}, ["no column second", "found: first, other"]),
        (
            PAIRS.replace("3,great the phone 3,the phone 3", "3,great the phone 3,"),
            {},
            ["id '3': second is empty", "paired: false"],
        ),
        (PAIRS + "4,again,again\n", {}, ["the id '4' twice"]),
        ("first,second\na,b\nc,d\ne,f\ng,h\n", {}, ["2 train pairs; use at least 3, and at least 6 for a p"]),
        (
            PAIRS.replace(",the phone 4\n", ",the phone" + " a" * 80 + "\n"),
            {},
            ["id '4': second has", "4 of padding", "64 positions"],
        ),
        (
            PAIRS.replace("great the phone 4,", "great the phone" + " a" * 80 + ","),
            {},
            ["id '4': first has", "64 positions"],
        ),
        ("text,set\n" + "a,x\n" * 20, {"paired": False, "first": "x", "second": "y"}, ["0 train texts of a set"]),
        (
            "text,set\na,z\n",
            {"paired": False, "first": "x", "second": "y"},
            ["set is 'z'", "x and y", "the column holds z"],
        ),
        ("text,set\na,z\n", {"paired": False, "first": "x"}, ["has no second"]),
        ("split,first,second\ntrial,a,b\n", {}, ["split is 'trial'", "train or held_out"]),
    ],
)
def test_texts_that_cannot_be_compared_are_told(monkeypatch, tmp_path, text, more, words):
    (tmp_path / "texts.csv").write_text(text)
    own = {"file": str(tmp_path / "texts.csv")} | more
    with pytest.raises(errors.ConfigError) as error:
        check(monkeypatch, tmp_path, sets={"own": own})
    for word in ("contrast.sets.own", *words):
        assert word in str(error.value), str(error.value)


def test_a_circuit_without_components_is_refused(monkeypatch, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"nodes": ["input"]}))
    circuit = {"file": str(tmp_path / "c.json"), "models": ["tiny-gpt2-medium"]}
    with pytest.raises(errors.ConfigError, match=r"contrast\.circuits\.mine\.file: there is no head and no MLP"):
        check(monkeypatch, tmp_path, circuits__mine=circuit)


def test_only_second_texts_need_room_for_what_they_are_padded_with(monkeypatch, tmp_path):
    """Texts of 62 tokens (a word without a space before it is two) fit into 64 positions, but not with four more."""
    for columns in ("first,second", "second,first"):
        rows = [f"{'the ' * 60}the,the phone {n}\n" for n in range(12)]
        (tmp_path / "texts.csv").write_text(f"{columns}\n" + "".join(rows))
        own = {"own": {"file": str(tmp_path / "texts.csv"), "bos": "never"}}
        if columns == "first,second":
            check(monkeypatch, tmp_path, sets=own)
        else:
            with pytest.raises(errors.ConfigError, match="second has 62 tokens and up to 4 of padding"):
                check(monkeypatch, tmp_path, sets=own)


def test_a_file_of_texts_and_a_circuit_that_fit_are_taken(monkeypatch, tmp_path):
    (tmp_path / "texts.csv").write_text(PAIRS)
    circuit = {"nodes": ["input", "m2", "a0.h7"], "metadata": {"write_budget_used": 204}}
    (tmp_path / "c.json").write_text(json.dumps(circuit))
    block = check(
        monkeypatch,
        tmp_path,
        sets={"own": {"file": str(tmp_path / "texts.csv")}},
        circuits__mine={"file": str(tmp_path / "c.json"), "models": ["tiny-gpt2-medium"]},
        replicate__pairs__p={"first": "mine", "second": {"scoring": "aligned", "condition": "half_1"}},
    )
    assert contrast_checks.behaviour(block["sets"]["own"]) is None
