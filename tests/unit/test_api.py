"""The library's boundary: errors for wrong names and numbers name the nearest right one; edges and positions are those of the studies."""

import numpy as np
import pytest
from circuit_reuse import api
from support import MODELS

pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = str(MODELS / "tiny-gpt2-small")


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
    ],
)
def test_a_wrong_argument_is_told_with_what_is_right(ready, call, parts):
    with pytest.raises(ValueError) as caught:
        call(*ready)
    assert all(part in str(caught.value) for part in parts)


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
