"""Optimal ablation: constants that do least harm, and what they say of components that do nothing but write a constant."""

import numpy as np
import pandas as pd
import pytest
import torch
from circuit_reuse.engine import interventions, models, optimal_ablation
from circuit_reuse.studies.reuse import optimal
from support import MODELS, examples_for

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ready():
    """A model, batches of prompts with the intact logits, and the mean outputs."""
    model = models.load(MODELS / "tiny-gpt2-small", "cpu", threads=1)
    batches, clean = optimal_ablation.prepared(model, examples_for("ioi", 12), 4096)
    return model, batches, clean, interventions.mean_outputs(model, [batch.clean for batch in batches])


def test_learning_does_less_harm_than_means_and_changes_neither_model_nor_start(ready):
    model, batches, clean, start = ready
    names = ["a1.h0", "a2.h1", "m1"]
    before = [parameter.clone() for parameter in model.bridge.parameters()]
    kept = start.z[1].clone()
    _, best, first = optimal_ablation.learn(model, batches, clean, names, start, 15, 0.1)
    assert best < 0.8 * first
    means = optimal_ablation.outcomes(
        model, batches, clean, optimal_ablation.Constants(names, start), "logit_difference"
    )
    assert means[1].mean() == pytest.approx(first, rel=1e-4)
    assert all(torch.equal(*pair) for pair in zip(before, model.bridge.parameters(), strict=True))
    assert torch.equal(kept, start.z[1]) and all(p.grad is None for p in model.bridge.parameters())


def test_constants_are_put_where_a_plain_run_puts_them(ready):
    """The slow twin: the engine's own replacement with the same values at all positions but the first."""
    model, batches, clean, start = ready
    names = ["a0.h1", "m2"]
    batch, logits = batches[0], clean[0]
    hooks = optimal_ablation.Constants(names, start).hooks()
    _, last = optimal_ablation.divergence(model, batch, hooks, logits)
    base, own = interventions.base(model, batch.clean)

    def spread(mean, mine):
        return torch.cat([mine[:, :1], mean.expand_as(mine)[:, 1:]], dim=1)

    instead = interventions.Activations(
        own.embedding,
        [spread(*pair) for pair in zip(start.z, own.z, strict=True)],
        [spread(*pair) for pair in zip(start.mlp, own.mlp, strict=True)],
    )
    expected = interventions.replace(model, base, [names], instead)
    torch.testing.assert_close(last.detach(), expected, rtol=1e-4, atol=1e-4)


def test_a_component_that_writes_a_constant_is_worth_nothing(ready):
    """Zero in its place would do harm; the constant that it writes does none."""
    model, batches, _, _ = ready
    name = "blocks.2.hook_mlp_out"
    constant = 3 * torch.randn(model.space.d_model, generator=torch.Generator().manual_seed(0))
    with model.bridge.hooks(
        fwd_hooks=[(name, lambda tensor, hook: torch.cat([tensor[:, :1], constant.expand_as(tensor[:, 1:])], 1))]
    ):
        logits = [models.logits(model, batch.clean).float() for batch in batches]
        mean = interventions.mean_outputs(model, [batch.clean for batch in batches])
    torch.testing.assert_close(mean.mlp[2][0, 0], constant)
    _, kl = optimal_ablation.outcomes(
        model, batches, logits, optimal_ablation.Constants(["m2"], mean), "logit_difference"
    )
    assert kl.max() < 1e-5
    zero = mean.like(torch.zeros_like)
    _, kl = optimal_ablation.outcomes(
        model, batches, logits, optimal_ablation.Constants(["m2"], zero), "logit_difference"
    )
    assert kl.mean() > 1e-2


def test_the_row_by_hand():
    count = 12
    base = {"example": range(count), "cluster": range(count), "clean_metric": 5.0, "circuit": "c", "n_components": 3}
    runs = [pd.DataFrame(base | {"metric": 2.0, "metric_mean": 1.0, "kl": 0.5, "kl_mean": 0.9, "control": None})]
    for control, metric in enumerate([4.0, 3.0, 1.0]):
        runs.append(
            pd.DataFrame(base | {"metric": metric, "metric_mean": 0.0, "kl": 0.2, "kl_mean": 0.3, "control": control})
        )
    row = optimal.row_of(pd.concat(runs), {"bootstrap": 50}, ("t",))
    assert (row["effect"], row["effect_mean"], row["n_random"], row["n_clusters"]) == (-3, -4, 3, count)
    # One of three sets hurts as much.
    assert row["p_value"] == 0.5 and row["effect_random"] == pytest.approx(np.mean([-1, -2, -4]))
    assert row["kl"] == 0.5 and row["kl_random"] == pytest.approx(0.2)
    # Without random sets there is nothing to rank among.
    alone = optimal.row_of(runs[0], {"bootstrap": 50}, ("t",))
    assert alone["n_random"] == 0 and alone["effect"] == -3
    assert alone["p_value"] is alone["effect_random"] is alone["kl_random"] is None
