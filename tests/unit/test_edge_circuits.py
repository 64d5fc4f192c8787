"""Runs in which only some edges are kept, against runs in which nodes are replaced."""

import numpy as np
import pytest
import torch
from circuit_reuse.engine import edge_circuits, interventions

close = torch.testing.assert_close


@pytest.fixture
def corrupt(model, batch):
    return interventions.run(model, batch.corrupt)[1]


def keep(model, batch, corrupt, kept):
    return edge_circuits.keep(model, batch.clean, None, corrupt, np.asarray(kept))


def test_a_prefix_and_many_sets_at_once_change_nothing(model, batch):
    rng = np.random.default_rng(0)
    kept = edge_circuits.exist(model) & (rng.random((5, *edge_circuits.exist(model).shape)) < 0.7)
    whole = keep(model, batch, interventions.run(model, batch.corrupt)[1], kept)
    short = batch.shortened(model)
    corrupt = interventions.run(model, short.corrupt, short.prefix)[1]
    for places, last in edge_circuits.scan(model, short, corrupt, kept):
        expected = whole.view(5, len(batch.rows), -1)[places]
        close(last.view(expected.shape), expected, rtol=1e-4, atol=1e-3)
