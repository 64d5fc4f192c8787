"""Edges and components at positions: their scores add up to those of components, and reuse is found where it is planted."""

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.engine import attribution, batching, fine_scores, models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.common import scoring
from circuit_reuse.studies.reuse import stage_fine_grained, stage_stability, stage_variants
from support import MODELS, examples_for

METRIC, STEPS = "logit_difference", 3
CFG = {"top_k": {"edge": 4, "position": 4}, "thresholds": [0.5, 1], "draws": 99}


@pytest.fixture(scope="module", params=["tiny-gpt2-small", "tiny-neox-small"])
def scored(request):
    """A model, examples, and the scores of `ig` and of `eap-ig`'s edges."""
    model = models.load(MODELS / request.param, "cpu", threads=1)
    examples = examples_for("ioi", 6)
    found = np.empty((len(examples), len(model.space.names)))
    for batch in batching.batches(examples, 4096):
        found[batch.rows] = scoring.score(model, batch, "ig", METRIC, STEPS).numpy()
    return model, examples, found


def test_positions_of_a_component_add_up_to_it(scored):
    model, examples, whole = scored
    values, names = fine_scores.of_positions(model, examples, METRIC, STEPS, 4096)
    added = pd.DataFrame(values.T).groupby([component for component, _ in names]).sum().loc[model.space.names]
    np.testing.assert_allclose(added.to_numpy().T, whole, rtol=1e-3, atol=1e-4)
    # The last heads write at the end only, where the answer is read.
    last = {
        role: values[:, n] for n, (component, role) in enumerate(names) if component == f"a{model.space.layers - 1}.h0"
    }
    assert all(not values.any() for role, values in last.items() if role != "end")
    assert {role for _, role in names} >= {"IO", "S1", "S2", "end", "rest"}


def test_edges_of_a_writer_add_up_to_it(scored):
    model, examples, whole = scored
    values, names = fine_scores.of_edges(model, examples, METRIC, STEPS, 4096)
    added = pd.DataFrame(values.T).groupby([writer for writer, _ in names]).sum().loc[model.space.names]
    np.testing.assert_allclose(added.to_numpy().T, whole, rtol=1e-2, atol=5e-3)


def test_what_is_planted_is_shared_and_noise_is_not():
    rng = np.random.default_rng(0)
    names = [(f"a{layer}.h{head}", f"m{other}") for layer in range(4) for head in range(8) for other in range(layer, 4)]
    noise = rng.normal(size=(16, len(names)))
    rows, shared = stage_fine_grained.reuse_of(noise, names, "edge", range(16), CFG, ("t",))
    assert rows[1]["reuse"] == 0 and rows[1]["p_value"] == 1
    noise[:, [3, 7]] += 9
    rows, shared = stage_fine_grained.reuse_of(noise, names, "edge", range(16), CFG, ("t",))
    assert [row["n_shared"] for row in rows] == [2, 2] and rows[1]["reuse"] == 0.5 and rows[1]["p_value"] == 0.01
    assert [(row["component"], row["place"]) for row in shared] == [names[3], names[7]]
    # Copies of one example share everything, and that is no reuse.
    copies = np.repeat(rng.normal(size=(1, len(names))), 16, axis=0)
    rows, _ = stage_fine_grained.reuse_of(copies, names, "edge", ["one"] * 16, CFG, ("t",))
    assert rows[1]["reuse"] == 1 and rows[1]["p_value"] == 1


def test_few_of_very_many_are_moved_as_many_of_few_are():
    """The branch for sparse circuits has the distribution of a permutation of all."""
    containing = np.zeros((2, 400), dtype=int)
    containing[0, [3, 5]], containing[1, 7] = [4, 2], 3
    drawn = circuits.random_counts(containing, ["head"] * 400, 4000, np.random.default_rng(0))
    assert (drawn.sum(axis=1) == 9).all()
    where = [(drawn == value).any(axis=1).mean() for value in (4, 2, 3)]
    assert min(where) > 0.98 and np.ptp((drawn > 0).mean(axis=0)) < 0.012


def test_another_corruption_is_the_clean_prompt_of_another_example_with_another_answer():
    examples = examples_for("ioi", 40)
    found = stage_variants.against_others(examples, np.random.default_rng(0))
    clean = {tuple(tokens): answer for tokens, answer in zip(examples["clean_tokens"], examples["answer"], strict=True)}
    assert len(found) > 20
    for row in found.itertuples():
        assert clean[tuple(row.corrupt_tokens)] != row.answer and len(row.corrupt_tokens) == row.length
        assert all((row.clean_tokens[n] != row.corrupt_tokens[n]) == (n in row.positions) for n in range(row.length))


def test_a_variant_with_the_same_scores_has_the_same_circuit():
    names = [f"a0.h{head}" for head in range(6)]
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 6)) + np.array([5, 4, 0, 0, 0, 0])
    scores = pd.DataFrame({"example": np.repeat(range(8), 6), "component": names * 8, "score": values.ravel()})
    other = scores.assign(score=values[:, ::-1].ravel(), variant="other prompts")
    variants = pd.concat([scores.assign(variant="10 steps"), other[other["example"] < 5]])
    cfg = {"cross_task": {"top_k": 2, "threshold": 1}, "kinds": ["head"]}
    rows = list(stage_stability.varied(variants, scores, pd.Index(range(8)), cfg, names, "eap-ig"))
    assert [(row["kind"], row["jaccard"], row["n_examples_second"]) for row in rows] == [
        ("steps", 1, 8),
        ("corruption", 0, 5),
    ]


def test_scores_that_are_asked_for_at_positions_are_those_of_contract_summed():
    model = models.load(MODELS / "tiny-gpt2-small", "cpu", threads=1)
    batch = next(batching.batches(examples_for("greater_than", 4), 4096))
    acts, gradient = attribution.gradient_at(model, batch, METRIC)
    np.testing.assert_allclose(
        attribution.contract(acts, gradient, positions=True).sum(1),
        attribution.contract(acts, gradient),
        rtol=1e-4,
        atol=1e-4,
    )
