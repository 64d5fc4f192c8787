"""Work that is done once: the shared prefix and the layers below a change, against full runs."""

import itertools
import math

import numpy as np
import pytest
import torch
from circuit_reuse.data.components import Space
from circuit_reuse.engine import batching, interventions, models, shortcuts
from circuit_reuse.studies.common import scoring
from support import examples_for

close = torch.testing.assert_close
METRIC = "logit_difference"


@pytest.fixture
def plainly(model, monkeypatch):
    """Turns the shortcuts off."""

    def off():
        monkeypatch.setattr(shortcuts, "prefix", lambda *_: None)
        monkeypatch.setitem(model.shortcuts, "skip", False)

    return off


@pytest.mark.parametrize("method", ["atp", "ig", "eap", "eap-ig", "patching"])
def test_scores_are_those_of_full_runs(model, batch, method, plainly):
    found = scoring.score(model, batch, method, METRIC)
    assert batch.shared() > 2 and batch.shortened(model).clean.shape < batch.clean.shape
    plainly()
    assert batch.shortened(model) is batch
    whole = scoring.score(model, batch, method, METRIC)
    close(found, whole, rtol=1e-4, atol=1e-5 * whole.abs().max().item())


def test_every_set_of_a_scan_is_that_of_a_full_run(model, batch):
    """The scan runs them in another order, from the layer of the first change."""
    sets = [["m2"], ["a0.h1"], [], ["input"], ["a1.h0", "a2.h3"], ["m0", "m2"], ["a2.h1"]]
    _, corrupt = interventions.run(model, batch.corrupt)
    whole = interventions.replace(model, interventions.Base(batch.clean), sets, corrupt)
    base, _ = interventions.base(model, batch.clean)
    assert base.streams is not None
    for tokens in (1, 3 * batch.clean.numel(), 10**6):
        seen = []
        for places, last in interventions.scan(model, base, sets, corrupt, tokens):
            seen += places
            expected = whole.view(len(sets), len(batch.rows), -1)[places]
            close(last.view(expected.shape), expected, rtol=1e-4, atol=1e-4)
        assert sorted(seen) == list(range(len(sets)))


def test_layers_below_are_not_run_and_come_back_whatever_happens(model, batch):
    base, _ = interventions.base(model, batch.clean)
    before = list(shortcuts.layer_list(model))
    ran = []
    handles = [
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer)) for layer, block in enumerate(before)
    ]
    with pytest.raises(KeyError), shortcuts.starting(model, (2, base.streams[2])):
        models.logits(model, batch.clean)
        raise KeyError
    for handle in handles:
        handle.remove()
    assert set(ran) == set(range(2, model.space.layers))
    assert list(shortcuts.layer_list(model)) == before
    close(models.logits(model, batch.clean), base.last, rtol=0, atol=0)


def test_equal_beginnings_are_run_once(model):
    examples = examples_for("digits", 12)
    batch = next(batching.batches(examples, 10**6))
    batch = batching.batch_of(examples, [0, 0, 1, 1, 0], "cpu") if len(batch.rows) < 5 else batch
    found = shortcuts.prefix(model, batch.clean, 3)
    distinct = len(batch.clean[:, :3].unique(dim=0))
    assert found.layers[0][0].shape[0] == distinct < len(batch.rows)


def test_a_shortcut_that_gives_other_logits_is_not_used(model, batch, monkeypatch, caplog):
    model.shortcuts.clear()
    monkeypatch.setitem(shortcuts.CHECKS, "prefix", lambda model, *lengths: False)
    assert batch.shortened(model) is batch
    assert "runs are made in full" in caplog.text
    model.shortcuts.clear()


def test_a_prompt_longer_than_a_sliding_window_is_run_in_full(model, batch, monkeypatch):
    config = model.bridge.original_model.config
    monkeypatch.setattr(config, "sliding_window", 8, raising=False)
    assert shortcuts.prefix(model, batch.clean, 4) is None


def test_a_model_spread_over_the_devices_there_are_gives_the_same_scores(batch):
    from support import MODELS

    found = [
        scoring.score(models.load(MODELS / "tiny-gpt2-medium", device, threads=1), batch, "atp", METRIC)
        for device in ("cpu", "spread")
    ]
    close(found[1].cpu(), found[0], rtol=1e-4, atol=1e-4)


def test_what_is_wholly_replaced_is_not_computed_and_changes_nothing(model, batch, monkeypatch):
    """A small circuit kept alone: layers without any of its components neither attend nor run their MLP."""
    circuit = {"input", "a1.h0", "m2"}
    sets = [[name for name in model.space.names if name not in circuit | extra] for extra in (set(), {"m1"})]
    base, _ = interventions.base(model, batch.clean)
    _, corrupt = interventions.run(model, batch.corrupt)
    ran = []
    blocks = model.bridge.blocks
    # Shortcuts are checked by whole runs when they are first used.
    interventions.replace(model, base, sets, corrupt)
    handles = [
        part.register_forward_hook(lambda *_, name=f"{kind}{layer}": ran.append(name))
        for layer, block in enumerate(blocks)
        for kind, part in (("m", block.mlp.original_component), ("a", block.attn.q))
    ]
    ran.clear()
    found = [interventions.replace(model, base, sets, corrupt, by_row=by_row) for by_row in (False, True)]
    assert sorted(set(ran)) == ["a1", "m1", "m2"], ran
    ran.clear()
    monkeypatch.setitem(model.shortcuts, "replaced", False)
    whole = interventions.replace(model, base, sets, corrupt)
    assert {"a0", "m0", "a2"} <= set(ran)
    for handle in handles:
        handle.remove()
    # Whole outputs that are not computed leave all else as it is, to the bit: a pruning run decides by it.
    close(found[0], whole, rtol=0, atol=0)
    close(found[1], whole, rtol=1e-5, atol=1e-5)


def test_what_was_not_computed_comes_back_whatever_happens(model, batch):
    before = models.logits(model, batch.clean)
    with pytest.raises(KeyError), shortcuts.without(model, [0, 1], {1: None}):
        raise KeyError
    close(models.logits(model, batch.clean), before, rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(5))
def test_runs_go_together_where_that_costs_less_than_what_they_then_run_for_nothing(seed):
    """Every run is in one piece, highest layers first, and the pieces cost no more than all runs together or one piece a layer."""
    rng, space = np.random.default_rng(seed), Space(30, 9, 576, 64)
    firsts = [*rng.integers(0, 30, 60).tolist(), -1, math.inf]
    pieces = batching.by_depth(firsts, space, 5, 40, "cpu")
    assert sorted(place for piece in pieces for place in piece) == list(range(62))
    lowest = [min(firsts[place] for place in piece) for piece in pieces]
    assert all(min(firsts[p] for p in a) > max(firsts[p] for p in b) for a, b in itertools.pairwise(pieces))

    def cost(parts):
        """Tokens times layers, and about 17 tokens for each layer of a run."""
        depths = [30 - min(max(min(firsts[place] for place in part), 0), 30) for part in parts]
        return sum(d * (5 * len(p) + math.ceil(len(p) / 40) * 17) for d, p in zip(depths, parts, strict=True))

    each = [[p for p, first in enumerate(firsts) if first == layer] for layer in sorted(set(firsts), reverse=True)]
    assert cost(pieces) <= min(cost([list(range(62))]), cost(each)) * 1.01 and len(pieces) > 1
    assert lowest == sorted(lowest, reverse=True)
    # A GPU takes all at once.
    assert len(batching.by_depth(firsts, space, 5, 40, "cuda")) == 1
    assert batching.by_depth([], space, 5, 40, "cpu") == []
