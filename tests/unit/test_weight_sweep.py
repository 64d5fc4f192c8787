"""Weights removed: the right ones, never written to, a planted circuit told from its controls."""

import logging

import numpy as np
import pandas as pd
import planted_weights
import pytest
import tiny_families
import torch
from circuit_reuse.data import fingerprint
from circuit_reuse.engine import models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.weights import (
    matrices,
    measures,
    nodes,
    outcomes,
    random_masks,
    stage_sweep,
    sweep,
    weight_sets,
)
from scipy import stats

LOG = logging.getLogger(__name__)

ASKED = outcomes.Asked("cross_entropy", "logit_difference", "top1")
CFG = {"permutations": 999, "bootstrap": 200}


def draws(*names):
    return circuits.generator("test", *names)


@pytest.fixture(scope="module", params=["gpt2", "gpt_neox", "llama"])
def architecture(request, tmp_path_factory):
    """A model of random weights, and tokens."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    tiny_families.build(request.param, folder)
    tokens = torch.randint(1600, (3, 6), generator=torch.Generator().manual_seed(2))
    return models.load(folder, "cpu", threads=1), tokens


def test_a_weight_joins_the_nodes_that_it_is_said_to_join(architecture):
    """At the end that it writes only its node changes; a silent node at the end it reads makes it idle."""
    model, tokens = architecture
    for matrix in matrices.matrices(model):
        row, column = matrix.shape[0] // 3, matrix.shape[1] - 2
        number = matrix.start + row * matrix.shape[1] + column
        source, target = matrix.inputs[column], matrix.outputs[row]
        whole = torch.cat(nodes.values(model, tokens, whole=True), -1)
        stacks = matrices.without(model, [np.array([number])])
        with matrices.copied(matrices.matrices(model), stacks):
            without = torch.cat(nodes.values(model, tokens, whole=True), -1)
        site = next(s for s in nodes.sites(model) if s.part.start <= target < s.part.stop)
        moved = (without - whole)[..., site.part].abs().amax((0, 1)) > 1e-7
        writers = [int(n) + site.start for n in torch.nonzero(moved).flatten()]
        if matrix.name == "gate":
            # Gate and in meet in one neuron.
            assert site.location == "mlp_neuron"
        assert writers == [target]
        if matrix.name != "o" and matrix.name != "gate" and site.location != "mlp_neuron":
            change = -matrix.weight()[row, column] * whole[..., source]
            torch.testing.assert_close((without - whole)[..., target], change, rtol=1e-3, atol=1e-5)
        state = torch.zeros(1, nodes.total(model), dtype=torch.uint8)
        state[0, source] = nodes.REPLACED
        zeros = torch.zeros(nodes.total(model))
        silent = nodes.run(model, tokens, state, zeros)
        with matrices.copied(matrices.matrices(model), stacks):
            same = nodes.run(model, tokens, state, zeros)
        torch.testing.assert_close(silent, same, rtol=1e-5, atol=1e-5)


def test_a_circuit_weight_needs_both_ends(architecture):
    model, _ = architecture
    found = matrices.matrices(model)
    for matrix in found:
        active = np.zeros(nodes.total(model), dtype=bool)
        active[[matrix.inputs[1], matrix.outputs[2]]] = True
        joined = np.flatnonzero(matrices.joins(found, active)[matrix.part])
        shared = np.flatnonzero(matrix.inputs == matrix.inputs[1])
        # Heads of a group read the same value: then one node feeds several columns.
        assert list(joined) == [2 * matrix.shape[1] + column for column in shared]
        active[matrix.inputs[1]] = False
        assert not matrices.joins(found, active)[matrix.part].any()


def test_the_model_is_never_written_to_not_even_by_a_crash(architecture):
    model, tokens = architecture
    before = {name: p.clone() for name, p in model.bridge.original_model.named_parameters()}
    logits = models.logits(model, tokens)

    def crash(tensor, hook):
        raise KeyboardInterrupt

    removed = [np.arange(matrices.matrices(model)[-1].start)]
    with pytest.raises(KeyboardInterrupt), model.bridge.hooks(fwd_hooks=[("blocks.1.mlp.hook_in", crash)]):
        matrices.run(model, tokens, removed)
    after = dict(model.bridge.original_model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any("forward" in m.linear.__dict__ for m in matrices.matrices(model))
    assert torch.equal(models.logits(model, tokens), logits)


def test_weights_cut_in_place_are_put_back_bit_for_bit_even_by_a_crash(architecture):
    model, _ = architecture
    before = {name: p.clone() for name, p in model.bridge.original_model.named_parameters()}
    values = matrices.flat(model)
    mask = np.random.default_rng(0).random(len(values)) < 0.3
    with pytest.raises(KeyboardInterrupt), matrices.cut(model, mask, values):
        assert (matrices.flat(model) == np.where(mask, 0, values)).all()
        raise KeyboardInterrupt
    after = dict(model.bridge.original_model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_large_model_gives_what_a_small_one_gives(planted, monkeypatch):
    """Copies of several sets in one run, and one set after the other in the model itself; sets that stand twice too."""
    model, small = planted
    total, rng = len(small.values), np.random.default_rng(0)
    sets = [rng.choice(total, size, replace=False) for size in (0, 10, 200, total // 2)]
    sets += [sets[1][::-1], rng.random(total) < 0.2]
    monkeypatch.setattr(sweep, "LARGE", 1)
    large = sweep.Sweeper(model, small.values, small.batches, ASKED, 4096)
    one, other = small(sets), large(sets)
    assert np.allclose(one.loss, other.loss, atol=1e-4) and np.allclose(one.metric, other.metric, atol=1e-4)
    assert (one.correct == other.correct).all()
    assert (other.loss[1] == other.loss[4]).all() and len(large.known) == 5
    with pytest.raises(IndexError, match=f"of {total}"):
        large([np.array([total])])


def test_copies_beside_each_other_do_not_matter(architecture):
    model, tokens = architecture
    rng = np.random.default_rng(0)
    total = matrices.matrices(model)[-1].part.stop
    sets = [rng.choice(total, size, replace=False) for size in (0, 10, 200, 1000, total)]
    together = matrices.run(model, tokens, sets)
    for place, numbers in enumerate(sets):
        alone = matrices.run(model, tokens, [numbers])[0]
        torch.testing.assert_close(together[place], alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together[0], models.logits(model, tokens), rtol=1e-4, atol=1e-4)


def test_a_set_of_weights_is_the_same_as_numbers_and_as_a_mask(architecture):
    model, tokens = architecture
    mask = np.random.default_rng(0).random(matrices.matrices(model)[-1].part.stop) < 0.01
    by_number, by_mask = matrices.run(model, tokens, [np.flatnonzero(mask), mask])
    assert torch.equal(by_number, by_mask)
    assert (by_mask - models.logits(model, tokens)).abs().max() > 1e-4


def test_gradients_are_those_of_the_weights(architecture):
    """First-order importance is the limit of small changes."""
    model, tokens = architecture
    batch = planted_weights.batching.Batch([0, 1, 2], tokens, tokens, tokens[:, 0], tokens[:, 1])
    found = matrices.gradients(model, [batch], "cross_entropy")
    # However few examples are run at once.
    np.testing.assert_allclose(
        matrices.gradients(model, [batch], "cross_entropy", tokens=1), found, rtol=1e-3, atol=1e-6
    )
    for matrix in matrices.matrices(model)[::3]:
        number = matrix.start + 7
        stacks = [m.weight().contiguous()[None] for m in matrices.matrices(model)]
        losses = []
        for step in (-1e-2, 1e-2):
            moved = [stack.clone() for stack in stacks]
            moved[matrices.matrices(model).index(matrix)].view(1, -1)[0, 7] += step
            with matrices.copied(matrices.matrices(model), moved):
                last = models.logits(model, tokens)
            losses.append(outcomes.losses(last, batch.answer, batch.distractor, "cross_entropy").mean())
        slope = float(losses[1] - losses[0]) / 2e-2
        assert found[number] == pytest.approx(slope, rel=0.1, abs=2e-3)


def test_an_architecture_whose_matrices_are_not_known_is_refused(architecture):
    model, _ = architecture
    matrices.matrices(model)
    known = model.shortcuts.pop("matrices")
    bridge = model.bridge.blocks[1].mlp.out
    kept = bridge.original_component
    bridge._modules["_original_component"] = torch.nn.Embedding(4, 4)
    try:
        with pytest.raises(fingerprint.ModelError, match=r"matrix out in layer 1 .found: Embedding"):
            matrices.matrices(model)
    finally:
        bridge._modules["_original_component"] = kept
        model.shortcuts["matrices"] = known


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The planted model, its prompts, and a sweeper."""
    model = planted_weights.build(tmp_path_factory.mktemp("planted_weights"))
    batch = planted_weights.batch(model)
    return model, sweep.Sweeper(model, matrices.flat(model), [batch], ASKED, 4096)


def swept(model, sweeper, active, shares, trials, name):
    """Rows of the sweep table of a mask."""
    weights = planted_weights.weights_of(model, active)
    plan, _, _ = sweep.planned(
        weights, ["non_circuit", "quantile"], shares, trials, lambda *n: draws(name, *n), 4, True
    )
    found = sweeper([numbers for *_, numbers in plan])
    numbers = np.arange(found.loss.shape[1])
    return stage_sweep.rows_of(plan, found, "mask", pd.DataFrame({"example": numbers, "cluster": numbers}))


@pytest.fixture(scope="module")
def null(planted):
    """Random masks with as many nodes at each site as the planted one, and their sweeps."""
    model, sweeper = planted
    found, values = matrices.matrices(model), matrices.flat(model)
    parts = [site.part for site in nodes.sites(model)]
    masks = sweep.random_circuits(values, found, planted_weights.truth(model), parts, 199, draws)
    rows = sweep.sweep_random(sweeper, masks, ["non_circuit", "quantile"], weight_sets.shares(6), 3, draws, 4, LOG)
    return pd.DataFrame(rows)


def test_a_planted_circuit_is_told_from_weights_of_equal_size(planted, null):
    model, sweeper = planted
    rows = swept(model, sweeper, planted_weights.truth(model), weight_sets.shares(6), 10, "planted")
    for control in ("non_circuit", "quantile"):
        test = measures.compare(rows, null, control, CFG, ("planted",))
        assert test["p_value"] < 0.01 and test["p_trials"] < 0.01 and test["difference_low"] > 0
        assert test["loss_circuit"] > 3 and test["loss_control"] < test["loss_circuit"] / 2
    assert measures.against_random(rows, null, CFG, ("planted",))["p_value"] < 0.01


@pytest.mark.parametrize("control", [None, "quantile"])
def test_against_random_masks_as_many_weights_go_as_they_have(control):
    """Weights that each cost the same, a circuit of twice as many: it is in the middle of the random masks, with a control and without."""
    costs = {"circuit": 0.02} | ({control: 0.01} if control else {})
    rows = [
        {"condition": name, "trial": 0, "example": n, "cluster": str(n), "share": share}
        | {"n_removed": 200 * share, "loss": 200 * share * cost}
        for name, cost in costs.items()
        for n in range(3)
        for share in (0.0, 0.5, 1.0)
    ]
    null = [
        {"number": n, "condition": name, "trial": 0, "share": share}
        | {"n_removed": 100 * share, "loss": 100 * share * cost * (0.82 + 0.04 * n)}
        for name, cost in costs.items()
        for n in range(10)
        for share in (0.0, 1.0)
    ]
    found = measures.ranked(pd.DataFrame(rows), pd.DataFrame(null), control, CFG, ("equal",))
    assert found["ranked"] == pytest.approx(0.5 if control else 1.0)
    assert found["p_value"] == found["p_less"] == pytest.approx(6 / 11)
    # Beside random masks that cost a tenth it costs more, and not less.
    low = pd.DataFrame(null).assign(loss=lambda table: table["loss"] / 10)
    found = measures.ranked(pd.DataFrame(rows), low, control, CFG, ("low",))
    assert found["p_value"] == pytest.approx(1 / 11) and found["p_less"] == 1


def test_a_random_mask_without_room_for_its_controls_is_left_out(planted):
    model, sweeper = planted
    found, values = matrices.matrices(model), matrices.flat(model)
    everything = np.ones(len(planted_weights.truth(model)), dtype=bool)
    masks = [sweep.circuit(values, found, mask) for mask in (everything, planted_weights.truth(model))]
    rows = sweep.sweep_random(sweeper, masks, ["non_circuit"], weight_sets.shares(2), 1, draws, 4, LOG)
    assert {row["number"] for row in rows} == {1}


def test_random_masks_are_not(planted, null):
    """p_circuit is uniform for random masks; p_trials, which is about one circuit, is not."""
    model, sweeper = planted
    parts = [site.part for site in nodes.sites(model)]
    truth, found = planted_weights.truth(model), {"p_value": [], "p_trials": []}
    degrees = matrices.degrees(matrices.matrices(model), matrices.flat(model), len(truth))
    stratum = random_masks.strata(parts, degrees)
    for number in range(60):
        mask = random_masks.random_mask(truth, stratum, draws("under the null", number))
        rows = swept(model, sweeper, mask, weight_sets.shares(6), 3, f"null {number}")
        test = measures.compare(rows, null, "quantile", {"permutations": 99, "bootstrap": 2}, (number,))
        for name in found:
            found[name].append(test[name])
    p = np.array(found["p_value"])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() <= 0.15 and (p >= 0.95).mean() <= 0.15
    # Three trials against three: the least p is 0.1, and a random mask reaches it far too often.
    assert (np.array(found["p_trials"]) <= 0.1).mean() > 0.25


def test_at_the_end_every_weight_of_the_circuit_is_gone_and_no_other(planted):
    model, _ = planted
    weights = planted_weights.weights_of(model, planted_weights.truth(model))
    plan, _, _ = sweep.planned(weights, ["non_circuit"], weight_sets.shares(11), 3, draws, 4, True)
    values = matrices.flat(model)
    for condition, _, share, numbers in plan:
        assert len(numbers) == len(set(numbers)) == round(share * weights.circuit.sum())
        stacks = matrices.without(model, [numbers])
        left = np.concatenate([stack[0].numpy().reshape(-1) for stack in (make() for make in stacks)])
        gone = np.flatnonzero(left != values)
        assert sorted(gone) == sorted(numbers)
        if condition == "circuit" and share == 1:
            assert (left[weights.circuit] == 0).all()
            assert (left[~weights.circuit] == values[~weights.circuit]).all()


def test_a_gradient_is_a_mean_over_batches(architecture):
    model, tokens = architecture
    batch = planted_weights.batching.Batch([0, 1, 2], tokens, tokens, tokens[:, 0], tokens[:, 1])
    one, two = (matrices.gradients(model, [batch] * count, "cross_entropy") for count in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-6)


def test_orders_by_importance_hurt_more_than_random_ones(planted):
    model, sweeper = planted
    weights = planted_weights.weights_of(model, planted_weights.truth(model))
    gains = -weights.values * matrices.gradients(model, sweeper.batches, "cross_entropy")
    shares = [0.0, 0.1]
    best = sweep.by_importance(weights, gains, shares)
    plan, _, _ = sweep.planned(weights, ["non_circuit"], shares, 8, draws, 4, True)
    whole = sweep.by_importance(weights, gains, [1.0])
    for (_, _, _, order), pool in zip(whole, (weights.circuit, weights.outside()), strict=True):
        # The slow way: all of them sorted.
        slow = sorted(np.flatnonzero(pool), key=lambda n: (-gains[n], n))[: len(order)]
        assert list(order) == slow
        assert list(sweep.greatest(gains, pool, len(order), block=100)) == slow
    greedy = sweeper([best[1][-1]]).loss.mean()
    random = sweeper([n for c, _, s, n in plan if c == "circuit" and s == 0.1]).loss.mean()
    assert greedy > 2 * random
