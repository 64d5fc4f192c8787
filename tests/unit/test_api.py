"""The library's boundary: errors for wrong names and numbers name the nearest right one; edges and positions are those of the studies."""

import numpy as np
import pandas as pd
import pytest
from circuit_reuse import api
from circuit_reuse.stats import circuits
from support import MODELS

pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = str(MODELS / "tiny-gpt2-small")
NAMES = ["Mary", "John", "David", "Anna", "James", "Sarah"]
TEXT = "When {} and {} went to the store, {} gave a drink to"
PAIRS = [
    {"clean": TEXT.format(a, b, a), "corrupt": TEXT.format(a, b, b), "answer": f" {b}", "distractor": f" {a}"}
    for a, b in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True)
]


@pytest.fixture(scope="module")
def ready():
    model = api.load(FOLDER, device="cpu", threads=1)
    return model, api.examples(model, FOLDER, "ioi", count=24)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda m, e: api.examples(m, FOLDER, "ioy"), ["task is 'ioy'", "Did you mean ioi?"]),
        (lambda m, e: api.score(m, e, "eap_ig"), ["method is 'eap_ig'", "Did you mean eap-ig?"]),
        (lambda m, e: api.score(m, e, metric="logit"), ["metric is 'logit'", "logit_difference"]),
        (lambda m, e: api.score(m, e, steps=0), ["steps is 0"]),
        (lambda m, e: api.circuit(api.score(m, e, "atp"), e, threshold=75), ["threshold is 75", "from 0 to 1"]),
        (lambda m, e: api.circuit(api.score(m, e, "atp"), e, kinds=("heads",)), ["Did you mean head?"]),
        (lambda m, e: api.ablate(m, e, ["a0.h0"], replacement="means"), ["Did you mean mean?"]),
        (lambda m, e: api.prune(m, e, threshold=20), ["threshold is 20"]),
        (lambda m, e: api.edge_circuit(m, e, api.edges(m, e).assign(reader="logit")), ["reader is 'logit'", "logits"]),
        (lambda m, e: api.examples(m, FOLDER, "digits", lenght=5), ["lenght is unknown", "Did you mean length?"]),
        (lambda m, e: api.examples(m, FOLDER, "ioi", file=PAIRS), ["a built-in task", "another name"]),
        (lambda m, e: api.examples(m, FOLDER, "mine", file=PAIRS, shot=2), ["option is 'shot'", "Did you mean shots?"]),
        (lambda m, e: api.examples(m, FOLDER, "mine", file=[{"clean": "a"}]), ["the table has no column corrupt"]),
        (lambda m, e: api.examples(m, "nowhere", "ioi"), ["nowhere"]),
        (lambda m, e: api.examples(m, FOLDER, "ioi", count=0), ["count is 0"]),
        (lambda m, e: api.load("gpt2"), ["there is no folder gpt2", "docs/sources.md"]),
        (lambda m, e: api.load(FOLDER, dtype="float8"), ["dtype is 'float8'", "bfloat16"]),
        (lambda m, e: api.circuit(api.score(m, e, "atp"), e, top_k=0), ["top_k is 0", "whole number from 1 to 12"]),
        (lambda m, e: api.circuit(api.score(m, e, "atp"), e, top_k=2.5), ["top_k is 2.5"]),
        (lambda m, e: api.circuit(api.score(m, e, "atp"), e, top_k=500), ["top_k is 500", "to 12"]),
        (lambda m, e: api.ablate(m, e, []), ["circuit is empty", "threshold"]),
        (lambda m, e: api.ablate(m, e, "a9.h4"), ["circuit is 'a9.h4'"]),
        (lambda m, e: api.ablate(m, e, ["m1"], kinds="head"), ["circuit is 'm1'"]),
        (lambda m, e: api.ablate(m, e, "a0.h0", controls=0), ["controls is 0"]),
        (lambda m, e: api.ablate(m, e[e["split"] == "train"], "a0.h0"), ["no usable row of the split held_out"]),
        (lambda m, e: api.score(m, e.assign(used=False, reason="no")), ["no usable row", "most often: no"]),
        (lambda m, e: api.prune(m, e, strategy="backwards"), ["Did you mean backward?"]),
    ],
)
def test_a_wrong_argument_is_told_with_what_is_right(ready, call, parts):
    with pytest.raises(ValueError) as caught:
        call(*ready)
    assert all(part in str(caught.value) for part in parts)


def test_prompts_of_a_notebook_are_those_of_a_file(ready, tmp_path):
    model, _ = ready
    pd.DataFrame(PAIRS).to_csv(tmp_path / "mine.csv", index=False)
    found = [
        api.examples(model, FOLDER, "mine", file=each) for each in (PAIRS, pd.DataFrame(PAIRS), tmp_path / "mine.csv")
    ]
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0], other)
    assert found[0]["clean"].tolist() == [row["clean"] for row in PAIRS] and found[0]["clean_metric"].dtype == float
    bare = [row | {name: row[name].strip() for name in ("answer", "distractor")} for row in PAIRS]
    with pytest.warns(UserWarning, match="have no space in front.*did you mean ' "):
        api.examples(model, FOLDER, "mine", file=bare)
    longer = [PAIRS[0] | {"corrupt": "Well, " + PAIRS[0]["corrupt"]}, *PAIRS[1:]]
    with pytest.warns(UserWarning, match="1 of 6 rows cannot be used; the first, 000000: the clean prompt has"):
        api.examples(model, FOLDER, "mine", file=longer)


def test_a_circuit_is_compared_with_random_ones_of_its_own_layers(ready):
    """By hand, one set after the other; what the p-value ranks among is what is returned and drawn."""
    model, examples = ready
    names = ["a0.h1", "a1.h2", "a2.h0"]
    result = api.ablate(model, examples, names, controls=12)
    layered = circuits.layer_matched_sets(names, model.space.of_kinds(("head",)), 12, "api 0")
    alone = [api.ablate(model, examples, each, controls=1)["effect"] for each in layered]
    np.testing.assert_allclose(result.attrs["random"], alone, rtol=1e-4, atol=1e-5)
    assert result["effect_random"] == pytest.approx(np.mean(alone), rel=1e-4)
    assert result["difference_random"] == pytest.approx(result["effect"] - np.mean(alone), rel=1e-3)
    assert result["p_value"] == pytest.approx((1 + sum(each <= result["effect"] for each in alone)) / 13)
    assert result["difference_random_low"] < result["difference_random"] < result["difference_random_high"]
    assert api.ablate(model, examples, (names, 0.5), controls=12)["effect"] == result["effect"]
    assert len(api.plot(result).patches) > 3 and repr(model).startswith("<Model GPT2LMHeadModel: 3 layers")


def test_edges_among_a_circuit_are_its_own(ready):
    model, examples = ready
    found = api.edges(model, examples, steps=0, among=["a0.h1", "m1"])
    assert set(found["writer"]) <= {"input", "a0.h1", "m1"}
    assert set(found["reader"]) == {"a0.h1.q", "a0.h1.k", "a0.h1.v", "m1", "logits"}


def test_only_what_is_meant_for_use_is_listed():
    assert set(dir(api)) == set(api.__all__) and len(dir(api)) == 13


def test_edges_of_a_writer_add_up_to_its_score_and_all_of_them_are_the_model(ready):
    model, examples = ready
    found = api.edges(model, examples, steps=3)
    train = examples[examples["used"] & (examples["split"] == "train")]["example"]
    scores = api.score(model, examples, "ig", steps=3).loc[train].mean()
    np.testing.assert_allclose(found.groupby("writer")["score"].sum()[scores.index], scores, rtol=1e-2, atol=5e-3)
    assert api.edge_circuit(model, examples, found) == pytest.approx(1, abs=1e-3)
    assert api.edge_circuit(model, examples, found.head(0)) == pytest.approx(0, abs=1e-3)
    some = api.edge_circuit(model, examples, found.head(40))
    assert some > api.edge_circuit(model, examples, found.tail(40)) + 0.2


def test_positions_of_a_component_add_up_to_its_score(ready):
    model, examples = ready
    found = api.positions(model, examples, steps=3)
    whole = found.T.groupby(level="component").sum().T[model.space.names]
    np.testing.assert_allclose(whole, api.score(model, examples, "ig", steps=3), rtol=1e-2, atol=1e-3)
    assert {"IO", "S1", "S2", "end", "rest"} <= set(found.columns.get_level_values("role"))
