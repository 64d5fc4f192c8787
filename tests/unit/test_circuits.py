import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data import components
from circuit_reuse.data.components import Space
from circuit_reuse.stats import circuits, example_similarity, sharing
from circuit_reuse.studies.reuse import overlap as reuse

SPACE = Space(layers=3, heads=4, d_model=16, d_head=4)
HEADS = SPACE.of_kinds(["head"])


def test_component_names_round_trip_and_cost_what_they_write():
    assert SPACE.names[:6] == ["input", "a0.h0", "a0.h1", "a0.h2", "a0.h3", "m0"]
    assert sorted(SPACE.names, key=components.order) == SPACE.names
    assert [SPACE.write_cost(name) for name in ("input", "a1.h2", "m2")] == [16, 4, 16]
    with pytest.raises(ValueError, match="names no component"):
        components.kind("h3.a1")


def test_top_k_takes_the_largest_absolute_scores_whatever_their_sign():
    member = circuits.top_k(np.array([[0.1, -5.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0]]), 2)
    assert member.tolist() == [[False, True, True, False], [True, True, False, False]]


def test_components_that_do_nothing_are_in_no_circuit_and_make_no_reuse():
    """Two components of each example have a score, all different ones: nothing is shared."""
    scores = np.zeros((6, 24))
    for example in range(6):
        scores[example, 12 + 2 * example : 14 + 2 * example] = [1.0, -2.0]
    member = circuits.top_k(scores, 8)
    assert (member.sum(1) == 2).all() and circuits.reuse(member, 1, 8) == 0
    assert not circuits.tied(scores, 8).any()


def test_ties_at_the_end_of_a_circuit_are_reported():
    scores = np.array([[3.0, -2.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    assert circuits.tied(scores, 2).tolist() == [True, False, False] and not circuits.tied(scores, 4).any()


@pytest.mark.parametrize(
    ("threshold", "examples", "needed"),
    [(0.07, 100, 7), (0.5, 3, 2), (1, 40, 40), (0.97, 40, 39), (0.005, 10, 1), (0.29, 100, 29), (0.58, 50, 29)],
)
def test_the_number_needed_is_not_rounded_up_by_floating_point(threshold, examples, needed):
    assert circuits.needed(threshold, examples) == needed


def test_reuse_is_a_share_of_k_for_counts_and_for_shares():
    member = np.zeros((4, 15), dtype=bool)
    member[:, 0] = True
    for row in range(4):
        member[row, 1 + row : 7 + row] = True
    # The reference study reported 2.0 here, because it divided by the per cent.
    assert components.resolve_k(0.5, 15) == 8 and components.resolve_k(7, 15) == 7
    assert circuits.reuse(member, 1.0, 7) == pytest.approx(4 / 7)
    assert circuits.reuse(member, 0.01, 7) == 1
    with pytest.raises(ValueError, match="only 15"):
        components.resolve_k(16, 15)


def test_identical_examples_share_all_and_disjoint_ones_nothing():
    same = np.tile(np.arange(8.0), (5, 1))
    member = circuits.top_k(same, 3)
    assert circuits.reuse(member, 1, 3) == 1 and circuits.identifiability(member, same, 3) == 1
    apart = np.eye(6)
    assert circuits.reuse(circuits.top_k(apart, 1), 0.5, 1) == 0


def test_random_circuits_have_the_make_of_the_real_ones_and_are_as_alike_within_a_cluster():
    rng = np.random.default_rng(0)
    member = circuits.top_k(rng.normal(size=(7, 12)), 5)
    kinds = ["head"] * 8 + ["mlp"] * 4
    drawn = circuits.random_counts(member.astype(int), kinds, 200, rng)
    for columns in (slice(0, 8), slice(8, 12)):
        assert (drawn[:, columns].sum(1) == member[:, columns].sum()).all()
        # Every component is as likely as any other of its kind.
        assert np.ptp(drawn.mean(0)[columns]) < 0.5
    # Examples of one cluster that hold the same component hold the same one still.
    same = circuits.random_counts(np.array([[5, 5, 0, 0]]), ["head"] * 4, 50, rng)
    assert (np.sort(same, axis=1) == [0, 0, 5, 5]).all()


def test_controls_are_disjoint_different_matched_and_named_by_a_stream():
    circuit = ["a0.h1", "a2.h3", "m1"]
    found = circuits.controls(circuit, SPACE.names, ("head", "mlp"), 50, "x")
    assert len(found) == 50 == len({tuple(names) for names in found})
    for names in found:
        assert not set(names) & set(circuit)
        assert sorted(map(components.kind, names)) == ["head", "head", "mlp"]
    assert found == circuits.controls(circuit, SPACE.names, ("head", "mlp"), 50, "x")
    assert found != circuits.controls(circuit, SPACE.names, ("head", "mlp"), 50, "y")
    # More controls begin with the same ones.
    assert circuits.controls(circuit, SPACE.names, ("head", "mlp"), 60, "x")[:50] == found


def test_controls_of_the_same_layers():
    for names in circuits.controls(["a0.h1", "a2.h3"], HEADS, ("head",), 9, "x", same_layers=True):
        assert [components.place(name)[0] for name in names] == [0, 2]


def test_when_there_are_few_controls_all_are_taken():
    found = circuits.controls(["a0.h0"], HEADS, ("head",), 100, "x")
    assert len(found) == 11 and found != sorted(found)


def test_a_pool_that_is_too_small_is_an_error_that_says_how_small():
    with pytest.raises(circuits.PoolTooSmall, match="2 mlps and leaves 1"):
        circuits.controls(["m0", "m1"], SPACE.names, ("head", "mlp"), 10, "x")


def test_a_planted_circuit_is_found_and_shared():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(40, len(HEADS)))
    planted = [HEADS.index(name) for name in ("a0.h2", "a1.h1", "a2.h0")]
    scores[:, planted] += 6 * rng.choice([-1, 1], size=3)
    cfg = {
        "top_k": [3],
        "thresholds": [0.9],
        "halves": 4,
        "draws": 99,
        "rarefaction": 20,
        "controls": {"count": 20, "random_sets": 9, "same_layers": False, "pool_too_small": "error"},
    }
    rows = sharing.task_circuits(scores, HEADS, range(40), cfg, ("x",))
    shared = next(row for row in rows if row["kind"] == "shared")
    assert shared["components"] == ["a0.h2", "a1.h1", "a2.h0"]
    assert sum(row["kind"] == "control" for row in rows) == 20
    halves = [row for row in rows if row["kind"] == "half"]
    assert [row["control"] for row in halves] == list(range(8)) and all(
        set(row["components"]) >= {"a0.h2", "a1.h1", "a2.h0"} for row in halves
    )
    drawn = sharing.random_sets(pd.DataFrame(rows))
    layered = f"layer-matched {shared['circuit']}"
    assert set(drawn) == {"3 head", layered} and all(len(sets) == 9 for sets in drawn.values())
    assert all([name[:2] for name in names] == ["a0", "a1", "a2"] for names in drawn[layered])


def test_reuse_of_noise_is_that_of_its_null_and_p_is_not_small():
    cfg = {"top_k": [4], "thresholds": [0.5], "draws": 199, "rarefaction": 10}
    examples = pd.DataFrame({"variant": ["a", "b"] * 15, "template": ["t"] * 30, "cluster": range(30)})
    p_values = []
    for seed in range(60):
        scores = np.random.default_rng(seed).normal(size=(30, 12))
        row = reuse.reuse_table("t", scores, HEADS, examples, {}, cfg, (seed,))[0]
        p_values.append(row["p_reuse"])
        assert row["reuse_other"] is None and row["p_template"] is None
    assert np.mean(np.array(p_values) <= 0.05) <= 0.12


def test_reuse_beyond_what_every_task_shares():
    """A task that shares only what all tasks share is not above its cross-task null."""
    rng = np.random.default_rng(0)
    generic = rng.normal(size=(30, 12))
    generic[:, :3] += 8
    own = rng.normal(size=(30, 12))
    own[:, :2] += 8
    own[:, 8:10] += 8
    cfg = {"top_k": [4], "thresholds": [0.9], "draws": 199, "rarefaction": 10}
    examples = pd.DataFrame({"variant": ["a"] * 30, "template": ["t"] * 30, "cluster": range(30)})

    def p_other(scores, other):
        return reuse.reuse_table("t", scores, HEADS, examples, {"o": (other, None)}, cfg, ("x",))[0]["p_reuse_other"]

    assert p_other(own, generic) < 0.05
    assert p_other(generic, generic + rng.normal(size=(30, 12)) * 0.01) > 0.05


def test_the_null_of_another_task_is_calibrated():
    """Where both tasks use the same circuits, as many p-values are small as should be."""
    cfg = {"top_k": [4], "thresholds": [0.75], "draws": 99, "rarefaction": 10}
    examples = pd.DataFrame({"variant": ["a"] * 20, "template": ["t"] * 20, "cluster": range(20)})
    small = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        own, other = rng.normal(size=(2, 20, 12)) + np.r_[2.0, 1.5, 1.0, 1.0, np.zeros(8)]
        row = reuse.reuse_table("t", own, HEADS, examples, {"o": (other, None)}, cfg, (seed,))[0]
        small += row["p_reuse_other"] <= 0.1
    assert small <= 20


def test_the_null_of_another_task_has_as_many_examples_where_clusters_differ_in_size():
    """Every component is in nine of ten circuits of both tasks; reuse at p = 1 falls with the number of examples alone."""
    sixteen, four = np.ones(16, dtype=int), np.full(4, 4)

    def share(counts, n):
        return (counts == np.reshape(n, (-1, 1))).mean(axis=1)

    for own, other, most in ((sixteen, four, 0.1), (four, sixteen, 0.1)):
        small = 0
        for seed in range(200):
            rng = np.random.default_rng(seed)
            mine, theirs = (rng.binomial(sizes[:, None], 0.9, size=(len(sizes), 8)) for sizes in (own, other))
            observed = share(mine.sum(axis=0)[None], own.sum())[0]
            _, p = reuse.against_other_tasks(mine, own, {"o": (theirs, other)}, share, observed, 99, rng)
            small += p <= 0.05
        assert small / 200 <= most


def test_one_example_without_a_ranking_spoils_only_itself():
    ranks = example_similarity.rank_correlations(np.array([[1.0, 2, 3], [2.0, 2, 2], [3.0, 2, 1]]))
    assert np.isnan(ranks[0, 1]) and ranks[0, 2] == pytest.approx(-1)


def test_rarefaction_makes_different_n_comparable():
    rng = np.random.default_rng(2)
    values = []
    for n in (20, 200):
        scores = rng.normal(size=(n, 12))
        scores[:, :2] += 2.5
        counts, size = circuits_counts(scores, rng)
        values.append(np.mean((counts >= circuits.needed(0.9, size)).sum(1)))
    assert abs(values[0] - values[1]) < 0.7


def circuits_counts(scores, rng):
    return reuse.rarefied(circuits.top_k(scores, 3), 10, 400, rng)


def test_two_planted_families_are_found_and_follow_their_label():
    from circuit_reuse.stats import statistics

    rng = np.random.default_rng(3)
    scores = rng.normal(size=(40, 12)) * 0.3
    label = np.repeat([0, 1], 20)
    scores[label == 0, :3] += 5
    scores[label == 1, 6:9] += 5
    overlap = example_similarity.pairwise_jaccard(circuits.top_k(scores, 3))
    families, order = example_similarity.clusters(1 - overlap)
    assert example_similarity.adjusted_rand(families, label) == 1.0 and sorted(order) == list(range(40))
    assert statistics.label_permutation(overlap, label, 199, 0) == 1 / 200
    one, _ = example_similarity.clusters(np.ones((40, 40)) - np.eye(40))
    assert set(one) == {1}


def test_pairwise_measures_by_hand():
    member = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 0]], dtype=bool)
    assert example_similarity.pairwise_jaccard(member)[0].tolist() == [1, 1 / 3, 0]
    ranks = example_similarity.rank_correlations(np.array([[1.0, -2, 3], [3.0, 2, 1]]))
    assert ranks[0, 1] == pytest.approx(-1)
    assert example_similarity.adjusted_rand([0, 0, 1, 1], [1, 1, 0, 0]) == 1
    assert example_similarity.adjusted_rand([0, 1, 0, 1], [0, 0, 1, 1]) == pytest.approx(-0.5)


def test_norm_matched_sets_have_as_many_of_each_kind_and_stratum_of_norm():
    space = [f"a{layer}.h{head}" for layer in range(4) for head in range(4)] + [f"m{layer}" for layer in range(4)]
    norms = {name: float(value) for name, value in zip(space, np.random.default_rng(0).gamma(2, size=20), strict=True)}
    circuit = ["a0.h0", "a2.h1", "a3.h3", "m1"]
    ordered = {kind: sorted((n for n in space if n[0] == kind), key=norms.get) for kind in "am"}
    strata = {
        name: (kind, place * 2 // len(names)) for kind, names in ordered.items() for place, name in enumerate(names)
    }
    sets = circuits.norm_matched_sets(circuit, space, norms, 2, 25, "x")
    assert len({frozenset(names) for names in sets} - {frozenset(circuit)}) == 25
    assert all(sorted(map(strata.get, names)) == sorted(map(strata.get, circuit)) for names in sets)
