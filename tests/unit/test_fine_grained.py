"""Edges and components at positions: their scores add up to those of components, and reuse is found where it is planted."""

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.engine import attribution, batching, fine_scores, models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.common import scoring
from circuit_reuse.studies.reuse import removal, stage_fine_grained, stage_stability, stage_variants
from support import MODELS, examples_for

METRIC, STEPS = "logit_difference", 3
EDGES = stage_fine_grained.UnitRule("edge", 4, None)
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
    values, names = fine_scores.UnitScores(model, examples, METRIC, STEPS, 4096).positions()
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
    values, names = fine_scores.UnitScores(model, examples, METRIC, STEPS, 4096).edges()
    added = pd.DataFrame(values.T).groupby([writer for writer, _ in names]).sum().loc[model.space.names]
    np.testing.assert_allclose(added.to_numpy().T, whole, rtol=1e-2, atol=5e-3)


def test_what_is_planted_is_shared_and_noise_is_not():
    rng = np.random.default_rng(0)
    names = [(f"a{layer}.h{head}", f"m{other}") for layer in range(4) for head in range(8) for other in range(layer, 4)]
    noise = rng.normal(size=(16, len(names)))
    rows, shared = stage_fine_grained.reuse_of(noise, names, EDGES, range(16), CFG, ("t",))
    assert rows[1]["reuse"] == 0 and rows[1]["p_value"] == 1
    noise[:, [3, 7]] += 9
    rows, shared = stage_fine_grained.reuse_of(noise, names, EDGES, range(16), CFG, ("t",))
    assert [row["n_shared"] for row in rows] == [2, 2] and rows[1]["reuse"] == 0.5 and rows[1]["p_value"] == 0.01
    assert [(row["component"], row["place"]) for row in shared] == [names[3], names[7]]
    # Copies of one example share everything, and that is no reuse.
    copies = np.repeat(rng.normal(size=(1, len(names))), 16, axis=0)
    rows, _ = stage_fine_grained.reuse_of(copies, names, EDGES, ["one"] * 16, CFG, ("t",))
    assert rows[1]["reuse"] == 1 and rows[1]["p_value"] == 1


def test_circuits_at_positions_are_of_heads_and_mlps():
    """The input at the exchanged word has all of the score: were it removed, nothing else could matter."""
    names = [("input", "S2"), ("a0.h0", "S2"), ("m0", "end")]
    found = np.array([[9.0, 1.0, 2.0]]), names
    values, left, total = stage_fine_grained.selected(found, "position", {"kinds": ["head"]})
    assert left == names[1:] and values.tolist() == [[1, 2]] and total is None


def test_a_set_has_one_id_whichever_way_it_was_found():
    ids = {stage_fine_grained.set_id(units) for units in (["a0.h1", "m0"], ["m0", "a0.h1"])}
    assert len(ids) == 1 and stage_fine_grained.set_id([]) is None
    assert stage_fine_grained.set_id([(0, 12)]) != stage_fine_grained.set_id([(0, 1), (2, 0)])


def test_circuits_of_a_score_threshold_hold_what_has_its_share():
    scores = np.array([[5.0, -4.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert circuits.by_share(scores, 0.3).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert circuits.by_share(scores, 0.25).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    asked = stage_fine_grained.UnitRule("component", None, 0.3)
    rows, shared = stage_fine_grained.reuse_of(
        np.repeat(scores[:1], 8, axis=0), ["a0.h0", "a0.h1", "m0", "m1"], asked, range(8), CFG, ("t",)
    )
    assert rows[1]["k"] == 2 and rows[1]["n_shared"] == 2 and rows[1]["reuse"] == 1
    assert [row["component"] for row in shared] == ["a0.h0", "a0.h1"]
    # The share is of all heads and MLPs, whichever of them a circuit may hold: 1 of 10 here, not 1 of 1.
    names, cfg = ["input", "a0.h0", "a0.h1", "m0"], {"kinds": ["mlp"]}
    values, left, total = stage_fine_grained.selected((np.array([[90.0, 5.0, -4.0, 1.0]]), names), "component", cfg)
    assert left == ["m0"] and total.tolist() == [10]
    assert not circuits.by_share(values, 0.3, total).any() and circuits.by_share(values, 0.1, total).all()


def test_scores_of_blocks_are_sums_of_heads_and_those_of_neurons_add_up_to_their_mlp(scored):
    model, examples, whole = scored
    values, names = fine_scores.UnitScores(model, examples, METRIC, STEPS, 4096).blocks()
    assert names[:2] == ["a0", "m0"] and len(names) == 2 * model.space.layers
    heads = [place for place, name in enumerate(model.space.names) if name.startswith("a1.")]
    np.testing.assert_allclose(values[:, names.index("a1")], whole[:, heads].sum(1), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(values[:, 1], whole[:, model.space.names.index("m0")], rtol=1e-3, atol=1e-4)
    by_neuron, units = fine_scores.UnitScores(model, examples, METRIC, STEPS, 4096).neurons()
    atp = np.empty_like(whole)
    for batch in batching.batches(examples, 4096):
        atp[batch.rows] = scoring.score(model, batch, "atp", METRIC).numpy()
    for layer in range(model.space.layers):
        mine = [place for place, unit in enumerate(units) if unit[0] == layer]
        expected = atp[:, model.space.names.index(f"m{layer}")]
        np.testing.assert_allclose(by_neuron[:, mine].sum(1), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("replacement", ["zero", "mean", "corrupt"])
def test_removing_all_neurons_of_an_mlp_is_removing_the_mlp_but_for_its_bias(scored, replacement):
    """And a block is all its heads; what is removed is what the same names give one by one."""
    model, examples, _ = scored
    cfg = {"replacement": replacement, "metric": METRIC, "seed": 0}
    removed = removal.Removal(model, examples, examples, cfg, 4096)
    heads = [f"a1.h{head}" for head in range(model.space.heads)]
    found = removed("component", [["a1"], heads, ["a1.h0"], []])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(found[0] - found[2]).max() > 1e-3 and np.abs(found[3]).max() < 1e-5
    width = model.bridge.blocks[1].mlp.out.original_component.weight.numel() // model.space.d_model
    whole = removed("neuron", [[(1, neuron) for neuron in range(width)], []])
    assert np.abs(whole[1]).max() < 1e-4
    if replacement != "zero":
        np.testing.assert_allclose(whole[0], removed("component", [["m1"]])[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("replacement", ["zero", "mean", "corrupt"])
def test_removing_a_component_at_all_roles_is_removing_it(scored, replacement):
    """And at one role alone, it is the run with what a plain hook puts there."""
    model, examples, _ = scored
    cfg = {"replacement": replacement, "metric": METRIC, "seed": 0}
    removed = removal.Removal(model, examples, examples, cfg, 4096)
    roles = {role for row in fine_scores.roles_of(removed.examples) for role in row}
    one, two = "a0.h1", "m1"
    everywhere = [(name, role) for role in roles for name in (one, two)]
    found = removed("position", [everywhere, [(one, "S2")], [(one, "rest"), ("input", "end")], []])
    np.testing.assert_allclose(found[0], removed("component", [[one, two]])[0], rtol=1e-4, atol=1e-4)
    assert np.abs(found[3]).max() < 1e-5 and np.abs(found[1] - found[0]).max() > 1e-4
    if replacement != "zero":
        return
    for row, example in removed.examples.iterrows():
        (place,) = [role["position"] for role in example["roles"] if role["role"] == "S2"]

        def silence(tensor, hook, place=place):
            tensor = tensor.clone()
            tensor[:, place, 1] = 0
            return tensor

        batch = batching.batch_of(removed.examples, [row], "cpu")
        before = models.metric_values(models.logits(model, batch.clean), *batch.targets(), METRIC)
        with model.bridge.hooks(fwd_hooks=[("blocks.0.attn.hook_z", silence)]):
            after = models.metric_values(models.logits(model, batch.clean), *batch.targets(), METRIC)
        assert found[1, row] == pytest.approx(float(after - before), abs=1e-4)


def test_random_sets_match_and_are_not_the_set_itself():
    rng = np.random.default_rng(0)
    universe = [(layer, neuron) for layer in range(3) for neuron in range(10)]
    chosen = [(0, 1), (0, 2), (2, 5)]
    for drawn in removal.matched_sets("neuron", chosen, universe, 30, rng):
        assert sorted(layer for layer, _ in drawn) == [0, 0, 2] and len(set(drawn)) == 3 and set(drawn) != set(chosen)
    placed = [(f"a{layer}.h{head}", role) for layer in range(2) for head in range(4) for role in ("S2", "end")]
    for drawn in removal.matched_sets("position", [("a0.h1", "S2"), ("a1.h2", "end")], placed, 9, rng):
        assert sorted((name[:2], role) for name, role in drawn) == [("a0", "S2"), ("a1", "end")]
    # An MLP is the only one of its layer: another layer's stands for it, at the same role.
    placed = [(f"m{layer}", role) for layer in range(3) for role in ("S2", "end")]
    drawn = removal.matched_sets("position", [("m0", "S2")], placed, 9, rng)
    assert sorted(drawn) == [[("m1", "S2")], [("m2", "S2")]]
    drawn = removal.matched_sets("component", ["m0", "a0.h0"], ["m0", "m1", "a0.h0", "a0.h1", "a1.h0"], 9, rng)
    assert {frozenset(each) for each in drawn} == {
        frozenset(each) for each in (("m1", "a0.h0"), ("m0", "a0.h1"), ("m1", "a0.h1"))
    }
    blocks = ["a0", "m0", "a1", "m1"]
    assert {frozenset(each) for each in removal.matched_sets("block", ["a0", "m0"], blocks, 20, rng)} == {
        frozenset(each) for each in (("a0", "m1"), ("a1", "m0"), ("a1", "m1"))
    }


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


def test_each_set_has_the_effect_of_itself_and_of_its_own_random_sets():
    """All are run in one go: -1 for every unit that is removed, of four examples."""

    class Counting:
        examples = pd.DataFrame({"cluster": list("abcd")})

        def __call__(self, level, sets):
            return np.array([[-float(len(units))] * 4 for units in sets])

    drawn = {"x": (["a", "b"], [["c"], ["d"]]), "y": (["a"], [["c"] * 3]), "z": (["a"] * 5, [])}
    found = removal.columns_of(Counting(), "component", drawn, {"bootstrap": 20}, 0)
    assert [found[key]["effect"] for key in "xyz"] == [-2, -1, -5]
    assert [found[key]["n_random"] for key in "xyz"] == [2, 1, 0]
    assert (found["x"]["effect_random"], found["y"]["effect_random"]) == (-1, -3) and "effect_random" not in found["z"]
    assert found["x"]["p_effect"] == pytest.approx(1 / 3) and found["y"]["p_effect"] == 1
