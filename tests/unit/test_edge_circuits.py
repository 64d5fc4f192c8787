"""Runs in which only some edges are kept, against runs in which nodes are replaced."""

import numpy as np
import pytest
import torch
from circuit_reuse.data import components
from circuit_reuse.engine import edge_circuits, edges, interventions, models

close = torch.testing.assert_close


@pytest.fixture
def corrupt(model, batch):
    return interventions.run(model, batch.corrupt)[1]


def keep(model, batch, corrupt, kept):
    return edge_circuits.keep(model, batch.clean, None, corrupt, np.asarray(kept))


def test_all_edges_give_the_clean_run_and_none_the_corrupt_one(model, batch, corrupt):
    there = edge_circuits.exist(model)
    found = keep(model, batch, corrupt, [there, np.zeros_like(there)])
    clean, other = found.chunk(2)
    close(clean, models.logits(model, batch.clean), rtol=1e-4, atol=1e-4)
    close(other, models.logits(model, batch.corrupt), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["input", "a0.h2", "a1.h0", "m0", "m1"])
def test_a_node_without_its_edges_out_is_a_node_that_is_patched(model, batch, corrupt, name):
    kept = edge_circuits.exist(model)
    kept[model.space.names.index(name)] = False
    patched = interventions.replace(model, interventions.Base(batch.clean), [[name]], corrupt)
    close(keep(model, batch, corrupt, [kept]), patched, rtol=1e-4, atol=1e-3)


def test_one_edge_into_a_query_by_hand(model, batch, corrupt):
    """The head's query is computed again from a stream in which one writer is corrupt."""
    writer, reader = "m0", "a2.h1.q"
    kept = edge_circuits.exist(model)
    kept[model.space.names.index(writer), edges.reader_names(model.space).index(reader)] = False
    found = keep(model, batch, corrupt, [kept])
    block, seen = model.bridge.blocks[2], {}
    names = ("blocks.2.ln1.hook_in", "blocks.0.hook_mlp_out")
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=interventions.keepers(seen, *names)):
        models.logits(model, batch.clean)
        stream = seen[names[0]] + corrupt.mlp[0] - seen[names[1]]
        query = block.attn.q.original_component(block.ln1.original_component(stream))

    def swap(tensor, hook):
        tensor = tensor.clone()
        tensor.view(*query.shape[:2], model.space.heads, -1)[:, :, 1] = query.view(
            *query.shape[:2], model.space.heads, -1
        )[:, :, 1]
        return tensor

    with torch.no_grad(), model.bridge.hooks(fwd_hooks=[("blocks.2.attn.q.hook_out", swap)]):
        expected = models.logits(model, batch.clean)
    close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_prefix_and_many_sets_at_once_change_nothing(model, batch):
    rng = np.random.default_rng(0)
    kept = edge_circuits.exist(model) & (rng.random((5, *edge_circuits.exist(model).shape)) < 0.7)
    whole = keep(model, batch, interventions.run(model, batch.corrupt)[1], kept)
    short = batch.shortened(model)
    corrupt = interventions.run(model, short.corrupt, short.prefix)[1]
    for places, last in edge_circuits.scan(model, short, corrupt, kept):
        expected = whole.view(5, len(batch.rows), -1)[places]
        close(last.view(expected.shape), expected, rtol=1e-4, atol=1e-3)


def test_edges_exist_where_scores_can_be(model, batch):
    scores = edges.edge_scores(model, batch, "logit_difference")
    there = torch.tensor(edge_circuits.exist(model))
    assert not scores[:, ~there].any() and scores[:, there].abs().mean() > 0
    heads = sum(components.kind(name) == "head" for name in model.space.names)
    assert there[:, -1].sum() == 1 + heads + model.space.layers
