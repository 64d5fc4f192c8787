"""Models in which the circuit is known: the methods find it, and what was planted is the circuit."""

import re

import numpy as np
import pytest
import torch
from circuit_reuse.engine import interventions
from circuit_reuse.validate import planted_recovery, planted_summary, planted_tasks
from support import PROJECT

pytestmark = pytest.mark.usefixtures("one_thread")

NECESSARY = [name for name, task in planted_tasks.TASKS.items() if not task.redundant]


@pytest.fixture(scope="module", params=["gpt2", "neox"])
def architecture(request):
    return request.param


@pytest.mark.parametrize("name", planted_tasks.TASKS)
def test_what_was_planted_is_the_circuit_and_the_methods_find_it(name, architecture):
    rows = {row["method"]: row for row in planted_recovery.recover(name, architecture, 7, 12, 5)}
    any_row = rows["eap-ig"]
    assert any_row["accuracy"] == 1
    assert any_row["necessity"] == pytest.approx(1, abs=0.05)
    assert any_row["sufficiency"] == pytest.approx(1, abs=0.05)
    assert (rows["eap-ig"]["auroc"], rows["eap-ig"]["precision"]) == (1, 1)
    if name in NECESSARY:
        assert any_row["weakest"] > 0.9
        assert (rows["patching"]["auroc"], rows["patching"]["precision"]) == (1, 1)
    else:
        assert abs(any_row["weakest"]) < 0.05
        assert rows["patching"]["auroc"] < 1 and "stands in" in rows["patching"]["why"]
    # Decoys are the busiest components, so what changes most is not what matters.
    assert rows["activation-difference"]["auroc"] < 0.9
    assert "decoy" in rows["activation-difference"]["why"]


def test_decoys_are_active_and_vary_with_the_input(architecture):
    model, circuit = planted_recovery.load("chain", architecture, 3)
    batch = planted_recovery.batching.batch_of(planted_tasks.examples("chain", 6, 3), range(6), "cpu")
    _, clean = interventions.run(model, batch.clean)
    _, corrupt = interventions.run(model, batch.corrupt)
    for layer in range(model.space.layers):
        change = (clean.z[layer] - corrupt.z[layer]).flatten(0, 1).norm(dim=2).amax(0)
        assert (change > 0.01).all()
        if f"m{layer}" not in circuit:
            assert (clean.mlp[layer] - corrupt.mlp[layer]).norm() > 0.1


def test_a_hidden_rotation_and_places_change_with_the_seed(architecture):
    first, _ = planted_recovery.load("induction", architecture, 1)
    second, _ = planted_recovery.load("induction", architecture, 2)
    assert not torch.allclose(first.bridge.blocks[0].attn.W_O, second.bridge.blocks[0].attn.W_O)
    places = {tuple(sorted(planted_tasks.planted("induction", seed)[1])) for seed in range(8)}
    assert len(places) > 4


def test_area_and_precision_by_hand():
    truth = np.array([True, False, True, False])
    assert (
        planted_recovery.auroc([4, 3, 2, 1], truth) == 0.75 and planted_recovery.precision([4, 3, 2, 1], truth) == 0.5
    )
    # All equal: the anchored curve is the diagonal.
    assert planted_recovery.auroc([1, 1, 1, 1], truth) == 0.5
    assert planted_recovery.auroc([1, 2, 1, 2], truth) == 0.0


def test_every_planted_task_is_in_the_workflow():
    text = (PROJECT / "rules" / "validate.smk").read_text()
    listed = re.search(r"task=\[(.*?)\]", text, re.DOTALL)[1]
    assert re.findall(r'"(\w+)"', listed) == list(planted_tasks.TASKS)


def test_an_interval_over_seeds_holds_the_mean_and_stays_within_bounds():
    low, high = planted_summary.seed_interval(np.array([0.9, 1.0, 1.0]))
    assert 0 <= low < 2.9 / 3 < high <= 1
    assert planted_summary.seed_interval(np.ones(3)) == (1, 1)
