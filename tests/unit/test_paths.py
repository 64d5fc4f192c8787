"""Path patching: against the engine of edge circuits, by hand, and on planted circuits."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from circuit_reuse.data import components
from circuit_reuse.engine import edge_circuits, edges, interventions, models
from circuit_reuse.studies.sequences import acdc, evaluator, graphs, path_patching, stage_edges
from circuit_reuse.validate import planted_recovery, planted_tasks
from support import MODELS, examples_for

LOG = logging.getLogger("test")
METRIC = "logit_difference"
CIRCUIT = ["a0.h0", "a0.h2", "m0", "a1.h1", "m1", "a2.h3", "m2"]


def keeper_of(model, examples, replacement="mean"):
    return evaluator.CircuitEvaluator(model, examples, examples, replacement, METRIC, 2048)


@pytest.fixture(scope="module", params=["tiny-gpt2-small", "tiny-neox-small"])
def evaluate(request):
    folder = MODELS / request.param
    return keeper_of(models.load(folder, "cpu", threads=1), examples_for("digits", 6, folder))


@pytest.fixture(scope="module")
def measured(evaluate):
    pairs, found, alone = path_patching.effects(evaluate, CIRCUIT, LOG)
    return pd.DataFrame(pairs, columns=["writer", "reader"]), found, alone


def test_one_edge_at_a_time_is_the_edge_circuit_without_that_edge(evaluate, measured):
    table, found, alone = measured
    whole = edge_circuits.mask_of(evaluate.model, table)
    places = range(0, len(table), 7)
    masks = [whole]
    for place in places:
        masks.append(whole & ~edge_circuits.mask_of(evaluate.model, table.iloc[[place]]))
    values = stage_edges.run(evaluate, np.stack(masks))
    # All edges together are the node circuit.
    removed = set(evaluate.model.space.of_kinds()) - set(CIRCUIT)
    assert np.allclose(values[0], evaluate([removed])[0], atol=1e-4)
    assert np.allclose(values[0], alone, atol=1e-4)
    assert np.allclose(values[1:] - values[0], found[list(places)], atol=1e-4)


def test_readers_come_after_their_writers_and_parallel_mlps_not_after_their_own_heads(evaluate, measured):
    table, _, _ = measured
    pairs = set(zip(table["writer"], table["reader"], strict=True))
    assert ("m0", "a1.h1.q") in pairs and ("a1.h1", "a0.h0.k") not in pairs
    assert ("a0.h0", "a0.h2.v") not in pairs and ("a2.h3", "logits") in pairs
    assert (("a1.h1", "m1") in pairs) == (not evaluate.model.parallel)
    assert len(pairs) == len(table)


def test_a_path_with_everything_between_held_by_hand(evaluate, measured):
    """Three runs, as in the paper: sender replaced, all else frozen; then only the receiver put in."""
    table, found, alone = measured
    model = evaluate.model
    (batch, _, instead) = evaluate.prepared[0]
    removed = [name for name in model.space.of_kinds() if name not in CIRCUIT]
    own = interventions.Base(batch.clean)

    def frozen(sender, receiver, part):
        kept, hooks = {}, []
        names = interventions.hook_names(model)
        with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *names[1], *names[2])):
            interventions.replace(model, own, [removed], instead)
        # Hooks see what a component wrote before it is replaced: put that in here.
        for name in removed:
            at, which = components.place(name)
            if which is None:
                kept[names[2][at]] = instead.mlp[at]
            else:
                kept[names[1][at]] = kept[names[1][at]].clone()
                kept[names[1][at]][:, :, which] = instead.z[at][:, :, which]
        layer, head = sender
        for name in (*names[1], *names[2]):

            def hold(tensor, hook, name=name):
                value = kept[name].clone()
                if name == f"blocks.{layer}.attn.hook_z":
                    value[:, :, head] = instead.z[layer][:, :, head]
                return value if value.shape == tensor.shape else tensor

            hooks.append((name, hold))
        seen = {}
        place = f"blocks.{receiver[0]}.attn.{part}.hook_out"
        with torch.no_grad(), model.bridge.hooks(fwd_hooks=[*hooks, *interventions.keepers(seen, place)]):
            models.logits(model, batch.clean)
        return place, seen[place]

    for sender, receiver, part in (((0, 2), (1, 1), "q"), ((0, 0), (2, 3), "v"), ((1, 1), (2, 3), "k")):
        place, value = frozen(sender, receiver, part)
        width = model.space.d_head
        rows = slice(receiver[1] * width, (receiver[1] + 1) * width)

        def put(tensor, hook, value=value, rows=rows):
            flat = tensor.reshape(*tensor.shape[:2], -1).clone()
            flat[..., rows] = value.reshape(flat.shape)[..., rows]
            return flat.reshape(tensor.shape)

        with model.bridge.hooks(fwd_hooks=[(place, put)]):
            last = interventions.replace(model, own, [removed], instead)
        expected = evaluate.values(last, 0, 1)[0] - alone[batch.rows]
        edge = (table["writer"] == f"a{sender[0]}.h{sender[1]}") & (
            table["reader"] == f"a{receiver[0]}.h{receiver[1]}.{part}"
        )
        assert np.allclose(found[edge.to_numpy()][0][batch.rows], expected, atol=1e-4)


def test_a_small_change_is_what_edge_attribution_says():
    folder = MODELS / "tiny-gpt2-small"
    model, examples = models.load(folder, "cpu", threads=1), examples_for("digits", 4, folder)
    model.bridge.double()
    evaluate, tiny = keeper_of(model, examples, "corrupt"), 1e-3
    prepared = []
    for batch, base, instead in evaluate.prepared:
        _, clean = interventions.run(model, batch.clean, batch.prefix)
        near = interventions.add(clean.like(lambda t: (1 - tiny) * t), instead.like(lambda t: tiny * t))
        prepared.append((batch, base, near))
    evaluate.prepared = prepared
    whole = model.space.of_kinds()
    pairs, found, _ = path_patching.effects(evaluate, whole, LOG)
    (batch, _, _) = prepared[0]
    scores = edges.edge_scores(model, batch, METRIC, 0).numpy()
    readers = {name: n for n, name in enumerate(stage_edges.places.reader_names(model.space))}
    writers = {name: n for n, name in enumerate(model.space.names)}
    expected = np.array([scores[:, writers[w], readers[r]] for w, r in pairs])
    assert np.corrcoef(found.ravel() / tiny, expected.ravel())[0, 1] > 0.999


def planted_edges(name, seed):
    """The edges that a plan writes down: what a part writes and another reads."""
    plan, truth = planted_tasks.planted(name, seed)
    writes, reads = {"input": {key for token in plan.embedding for key in token}}, {}
    for (layer, head), spec in plan.heads.items():
        part = f"a{layer}.h{head}"
        if part in truth:
            writes[part] = {written for _, written, _ in spec.value}
            reads[f"{part}.v"] = {read for read, _, _ in spec.value}
            for kind, entries in (("q", spec.query), ("k", spec.key)):
                reads[f"{part}.{kind}"] = {key for _, values in entries for key in values}
    for layer, spec in plan.mlps.items():
        if f"m{layer}" in truth:
            writes[f"m{layer}"] = {key for _, _, written in spec.neurons for key in written}
            reads[f"m{layer}"] = {key for read, _, _ in spec.neurons for key in read}
    reads["logits"] = {key for values in plan.logits.values() for key in values}
    return truth, {(w, r) for w in writes for r in reads if writes[w] & reads[r] - {"one"}}


@pytest.mark.parametrize("architecture", ["gpt2", "neox"])
@pytest.mark.parametrize("name", ["successor", "induction", "chain", "and_gate"])
def test_the_edges_that_are_cut_are_those_that_were_not_planted(name, architecture):
    truth, expected = planted_edges(name, 5)
    model, _ = planted_recovery.load(name, architecture, 5)
    evaluate = keeper_of(model, planted_tasks.examples(name, 24, 5))
    pairs, found, alone = path_patching.effects(evaluate, sorted(truth), LOG)
    table = pd.DataFrame(pairs, columns=["writer", "reader"])
    table["score_change"] = found.mean(axis=1) / evaluate.full.mean()
    _, kept = graphs.cut_at(table["score_change"].to_numpy(), "change", 0.01)
    on_way = graphs.connected(table, kept)
    assert {(w, r) for w, r in zip(table["writer"][on_way], table["reader"][on_way], strict=True)} == expected
    values = stage_edges.run(evaluate, edge_circuits.mask_of(model, table[on_way])[None])
    assert values[0].mean() == pytest.approx(alone.mean(), rel=1e-3)


@pytest.mark.parametrize("name", ["successor", "induction", "chain", "and_gate"])
def test_acdc_leaves_the_edges_that_were_planted(name):
    truth, expected = planted_edges(name, 5)
    model, _ = planted_recovery.load(name, "gpt2", 5)
    evaluate = keeper_of(model, planted_tasks.examples(name, 24, 5))
    pairs, _, _ = path_patching.effects(evaluate, sorted(truth), LOG)
    table = pd.DataFrame(pairs, columns=["writer", "reader"])
    order = acdc.removal_order(model.space.names, stage_edges.places.reader_names(model.space), table)

    def score_of(sets):
        values = stage_edges.run(evaluate, np.stack([edge_circuits.mask_of(model, table[kept]) for kept in sets]))
        return values.mean(axis=1) / evaluate.full.mean()

    kept = acdc.kept_edges(score_of, order, 0.01)
    assert {(w, r) for w, r in zip(table["writer"][kept], table["reader"][kept], strict=True)} == expected
    # One at a time, as the paper has it, gives the same.
    assert (acdc.kept_edges(score_of, order, 0.01, ahead=1) == kept).all()


def test_acdc_looks_ahead_and_decides_as_one_by_one():
    rng = np.random.default_rng(3)
    for _ in range(20):
        weights, pairs = rng.normal(size=30) / 10, rng.normal(size=(30, 30)) / 40

        def score_of(sets, weights=weights, pairs=pairs):
            return sets @ weights + np.einsum("si,ij,sj->s", sets, pairs, sets)

        order = rng.permutation(30)
        kept, score = np.ones(30, dtype=bool), score_of(np.ones((1, 30)))[0]
        for edge in order:
            without = kept & (np.arange(30) != edge)
            found = score_of(without[None].astype(float))[0]
            if score - found < 0.05:
                kept, score = without, found
        seen = []
        assert (acdc.kept_edges(score_of, list(order), 0.05, ahead=7, step=seen.append) == kept).all()
        assert sum(seen) == 30


def test_edges_go_from_the_logits_back_the_latest_writer_first():
    table = pd.DataFrame(
        [("input", "a0.h0.q"), ("a0.h0", "m0"), ("input", "logits"), ("m0", "logits"), ("input", "m0")],
        columns=["writer", "reader"],
    )
    order = acdc.removal_order(["input", "a0.h0", "m0"], ["a0.h0.q", "m0", "logits"], table)
    assert order == [3, 2, 1, 4, 0]


def test_a_quantile_is_of_the_sizes_of_all_measured_edges_and_not_of_the_signed_values():
    effects = np.array([-9.0, -5.0, 0.0, 0.1, 1.0, 2.0])
    cut, kept = graphs.cut_at(effects, "quantile", 0.5)
    assert cut == pytest.approx(1.5) and list(kept) == [True, True, False, False, False, True]
    assert graphs.cut_at(effects, "change", 5.0)[1].sum() == 2
    assert graphs.cut_at(effects, "all", None)[1].all()
    listed = graphs.cuts({"rule": "change", "value": 2, "quantiles": [0.5], "acdc": []})
    assert [entry[2] for entry in listed] == [False, False, True]
    assert sum(e[2] for e in graphs.cuts({"rule": "quantile", "value": 0, "quantiles": [0.5], "acdc": []})) == 1


def test_what_is_on_no_way_from_the_input_to_the_logits_goes():
    table = pd.DataFrame(
        [
            ("input", "a0.h0.v"),
            ("a0.h0", "m1"),
            ("m1", "logits"),
            ("a0.h1", "m1"),
            ("input", "a0.h2.q"),
            ("input", "logits"),
        ],
        columns=["writer", "reader"],
    )
    found = graphs.connected(table, np.ones(6, dtype=bool))
    # a0.h1 has nothing coming in, nothing comes out of a0.h2.
    assert list(found) == [True, True, True, False, False, True]
    assert not graphs.connected(table, np.array([True, True, False, True, True, False])).any()
    assert graphs.nodes_of(table[found]) == ["a0.h0", "m1"]


def test_a_shared_key_belongs_to_every_head_that_shares_it():
    """Three heads share a key: the edge into it lies on a way if one of them leads on to the logits."""
    table = pd.DataFrame([("input", "a1.h3-5.k"), ("a1.h4", "logits"), ("a1.h3", "m1")], columns=["writer", "reader"])
    kept = graphs.connected(table, np.ones(3, dtype=bool))
    assert list(kept) == [True, True, False]
    assert graphs.nodes_of(table[kept]) == ["a1.h3", "a1.h4", "a1.h5"]
