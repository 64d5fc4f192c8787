from itertools import product

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.stats import statistics, testing
from scipy import stats


def test_labels_that_differ_between_clusters_only_move_with_the_clusters():
    """Copies of a few examples are alike, whatever their label: with clusters, no label stands out for that."""
    p_values, plain = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        clusters = np.repeat(np.arange(8), 4)
        similarity = (clusters[:, None] == clusters) + rng.normal(scale=0.01, size=(32, 32))
        similarity = similarity + similarity.T
        labels = (clusters < 4).astype(int)
        p_values.append(statistics.label_permutation(similarity, labels, 99, seed, clusters))
        plain.append(statistics.label_permutation(similarity, labels, 99, seed))
    assert np.mean(np.array(plain) <= 0.05) > 0.9 and np.mean(np.array(p_values) <= 0.05) < 0.15
    # Within clusters labels are exchanged, and an effect of theirs is found.
    labels = np.tile([0, 0, 1, 1], 8)
    assert statistics.label_permutation((labels[:, None] == labels).astype(float), labels, 99, 0, clusters) == 0.01
    assert statistics.label_permutation(similarity, (clusters < 4) * 1, 99, 0, np.repeat(np.arange(4), 8)) is None
    # Labels that are the clusters ask whether clusters matter.
    same = (clusters[:, None] == clusters).astype(float)
    assert statistics.label_permutation(same, clusters, 99, 0, clusters) == 0.01


def test_what_differs_by_rounding_alone_is_no_rank():
    assert statistics.rank_p(-4.200001, np.full(99, -4.2), larger=False) == 1


def test_mcnemar_equals_swapping_every_pair():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 10)) < [[0.3], [0.7]]
        d = (a.astype(int) - b)[a != b]
        flips = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product([1, -1], repeat=len(d))]
        slow = np.mean([value >= abs(d.sum()) for value in flips])
        assert statistics.mcnemar(a, b) == pytest.approx(slow)
    assert statistics.mcnemar(a, a) == 1.0


def test_smallest_mcnemar_p():
    """With m discordant pairs all one way the p-value is 2 ** (1 - m)."""
    assert statistics.mcnemar(np.ones(6, bool), np.zeros(6, bool)) == pytest.approx(2**-5)


def test_sign_flip_equals_enumeration_and_is_never_zero():
    d = np.array([0.3, -0.1, 0.8, 0.5, 0.9, -0.2])
    means = [abs(np.mean(np.array(s) * d)) for s in product([1, -1], repeat=6)]
    slow = np.mean([value >= abs(d.mean()) - 1e-12 for value in means])
    assert statistics.sign_flip(d, 9999, 0) == pytest.approx(slow)
    assert statistics.sign_flip(np.ones(40), 999, 0) == pytest.approx(2 / 1000, abs=1.1e-3)
    assert statistics.sign_flip(np.zeros(5), 99, 0) == 1.0


@pytest.mark.parametrize("test", ["sign_flip", "rank", "mcnemar"])
def test_p_values_are_uniform_under_the_null(test):
    """The share of p at or below each level is no more than the level, and not far below."""
    rng = np.random.default_rng(5)
    p_values = []
    for seed in range(1000):
        if test == "sign_flip":
            p_values.append(statistics.sign_flip(rng.normal(size=12), 199, seed))
        elif test == "rank":
            values = rng.normal(size=100)
            p_values.append(statistics.rank_p(values[0], values[1:], larger=False))
        else:
            a, b = rng.random((2, 60)) < 0.5
            p_values.append(statistics.mcnemar(a, b))
    for level in (0.05, 0.1, 0.2, 0.5):
        share = np.mean(np.array(p_values) <= level + 1e-12)
        # The exact McNemar test is discrete and so a little below its level.
        low = 0.4 * level if test == "mcnemar" else level - 4 * np.sqrt(level / 1000)
        assert low <= share <= level + 4 * np.sqrt(level * (1 - level) / 1000)


def test_rank_counts_ties_against_the_circuit():
    assert statistics.rank_p(1.0, [0.0, 1.0, 2.0]) == 3 / 4
    assert statistics.rank_p(-5.0, np.zeros(99), larger=False) == 1 / 100
    # Nothing is small about what is not a number.
    assert np.isnan(statistics.rank_p(np.nan, [0.0, 1.0]))
    assert statistics.rank_p(3.0, [0.0, np.nan]) == statistics.rank_p(-3.0, [0.0, np.nan], larger=False) == 2 / 3


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(7)
    hits = 0
    for seed in range(300):
        low, high = statistics.mean_interval(rng.normal(size=40), 400, seed)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_intervals_of_degenerate_data():
    """Equal values give a point, an undefined ratio nothing, and the value is never outside."""
    assert statistics.mean_interval(np.full(16, 0.1), 200, 0) == pytest.approx((0.1, 0.1))
    nothing = (np.ones(5), np.zeros(5), np.zeros(5))
    assert np.isnan(statistics.bootstrap(nothing, testing.lift_of, 200, 0)).all()
    assert np.isnan(statistics.mean_interval([1.0], 200, 0)).all()
    rng = np.random.default_rng(3)
    for seed in range(20):
        for n in (2, 3, 5, 16):
            values = rng.standard_cauchy(n) ** 3
            low, high = statistics.mean_interval(values, 100, seed)
            assert values.min() - 1e-9 <= low <= values.mean() <= high <= values.max() + 1e-9


@pytest.mark.parametrize("drop", [0.1, 0.05, 0.02])
@pytest.mark.parametrize("n", [16, 32, 64])
def test_intervals_of_accuracy_drops_hold_near_the_boundary(n, drop):
    """A bootstrap held drops of 10, 5 and 2 points in 77, 51 and 28 per cent of data sets of 16."""
    rng, held = np.random.default_rng(n), 0
    for _ in range(400):
        low, high = statistics.share_difference_interval(1.0 * (rng.random(n) < drop))
        held += low <= drop <= high
    assert held / 400 > 0.92
    nothing = statistics.share_difference_interval(np.zeros(n))
    assert nothing[0] < 0 < nothing[1] and nothing[1] == pytest.approx(-nothing[0])


def test_the_interval_of_paired_proportions_by_hand():
    """Bonett and Price's formula, of 3 lost and 1 gained of 10."""
    lost, gained, n = (3 + 1) / 12, (1 + 1) / 12, 10
    half = 1.959964 * np.sqrt((lost + gained - (lost - gained) ** 2) / (n + 2))
    found = statistics.share_difference_interval([1, 1, 1, -1, 0, 0, 0, 0, 0, 0])
    assert found == pytest.approx((lost - gained - half, lost - gained + half))
    assert testing.lift_interval([1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0]) == pytest.approx(
        tuple(2 * end for end in statistics.share_difference_interval([1, 1, 0, 0]))
    )


def test_an_interval_is_bca_at_the_expanded_level():
    """scipy's own BCa, asked for the level that is Student's t for as many examples."""
    values = np.random.default_rng(1).exponential(size=20)
    level = 1 - 2 * stats.norm.sf(stats.t.ppf(0.975, 19) * np.sqrt(20 / 19))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=9999, confidence_level=level, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert statistics.mean_interval(values, 9999, 0) == pytest.approx(tuple(theirs), rel=0.01)


def test_paired_columns_stay_paired():
    """A difference that is the same for all examples has an interval of no width."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=30)
    low, high = statistics.bootstrap(
        (first, first - 2), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), 200, 0
    )
    assert low == pytest.approx(2) and high == pytest.approx(2)


def test_false_discovery_equals_the_step_up_procedure_and_keeps_missing_ones():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.2])
    known = np.sort(p[~np.isnan(p)])
    q = statistics.false_discovery(p)
    assert np.isnan(q[2])
    for level in (0.02, 0.05, 0.06, 0.3):
        passed = [k for k in range(4) if known[k] <= level * (k + 1) / 4]
        count = passed[-1] + 1 if passed else 0
        assert np.nansum(q <= level + 1e-12) == count


def test_similarity_that_ignores_the_labels_gives_uniform_p():
    rng = np.random.default_rng(2)
    p_values = []
    for seed in range(200):
        x = rng.normal(size=(20, 3))
        similarity = -np.linalg.norm(x[:, None] - x[None], axis=2)
        p_values.append(statistics.label_permutation(similarity, rng.integers(0, 2, 20), 99, seed))
    assert stats.kstest([p for p in p_values if p], "uniform").pvalue > 0.001
    assert statistics.label_permutation(similarity, np.zeros(20), 99, 0) is None


def effects_table(circuit_shift, seed=0, controls=99, n=40):
    """Effects of a circuit and its controls, all from one distribution but for a shift."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = [("none", None, "none", rng.normal(5, 1, n))]
    sets = [("c", control) for control in (None, *range(controls))]
    sets += [(name, control) for name in ("1 head", "layer-matched c") for control in range(controls)]
    sets.append(("d", None))
    for name, control in sets:
        # Sets differ from each other, and examples within a set.
        shift = rng.normal(-1, 0.5) + (circuit_shift if control is None else 0)
        rows.append((name, control, "remove", rows[0][3] + shift + rng.normal(0, 0.3, n)))
    frames = [
        pd.DataFrame(
            {
                "circuit": None if circuit == "none" else circuit,
                "control": control,
                "direction": direction,
                "replacement": "corrupt",
                "example": np.arange(n),
                "cluster": np.arange(n),
                "metric": metric,
                "correct": metric > 0,
                "kl": 0.1,
            }
        )
        for circuit, control, direction, metric in rows
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame["control"] = frame["control"].astype("Int32")
    return frame


CFG = {"permutations": 199, "bootstrap": 200}


def test_a_circuit_that_matters_is_told_from_one_that_does_not():
    strong = testing.test_one(testing.Outcomes(effects_table(-4)), "c", "1 head", CFG, ("x",))
    assert strong["p_value"] == strong["p_uniform"] == 1 / 100 and strong["p_permutation"] < 0.02
    assert strong["effect_high"] < strong["effect_control_low"] and strong["lift"] < 0
    ranks = [
        testing.test_one(testing.Outcomes(effects_table(0, seed, 19)), "c", "1 head", CFG, ("x",))["p_value"]
        for seed in range(60)
    ]
    assert stats.kstest(ranks, "uniform").pvalue > 0.001


def test_the_rank_of_a_random_circuit_is_uniform_though_few_heads_matter():
    """Two heads of 24 carry the whole effect; among disjoint controls the rank is not uniform.

    A random circuit that holds such a head is compared with sets that cannot hold it, and so
    looks special; among all sets of its composition it does not.
    """
    from circuit_reuse.data.components import Space
    from circuit_reuse.stats import circuits

    heads = Space(layers=3, heads=8, d_model=1, d_head=1).of_kinds(["head"])
    weight = dict.fromkeys(heads, 0.0) | {"a0.h3": -5.0, "a1.h6": -4.0}
    rng = np.random.default_rng(0)
    weight = {name: value + 0.1 * rng.normal() for name, value in weight.items()}
    ranks = {"disjoint": [], "same make": []}
    for draw in range(300):
        circuit = [heads[place] for place in rng.choice(24, 6, replace=False)]
        sets = {
            "disjoint": circuits.controls(circuit, heads, ("head",), 49, draw),
            "same make": circuits.random_sets({"head": 6}, heads, 49, draw),
        }
        effect = sum(weight[name] for name in circuit)
        for kind, found in sets.items():
            null = [sum(weight[name] for name in names) for names in found]
            ranks[kind].append(statistics.rank_p(effect, null, larger=False))
    at = {kind: np.mean(np.array(values) <= 0.06) for kind, values in ranks.items()}
    assert at["same make"] < 0.06 + 3 * np.sqrt(0.06 * 0.94 / 300) and at["disjoint"] > 0.15


def test_an_empty_circuit_and_one_without_controls_get_no_test_but_a_reason():
    import pandas as pd

    shared = {"kind": "shared", "top_k": 2.0, "k": 2, "control": None}
    table = pd.DataFrame(
        [
            shared | {"threshold": 1, "circuit": "empty", "components": [], "problem": None},
            shared | {"threshold": 0.9, "circuit": "d", "components": ["m0"], "problem": "pool"},
            shared | {"threshold": 0.5, "circuit": "c", "components": ["a0.h0"], "problem": None},
        ]
    )
    rows = testing.tests_table(effects_table(-4), table, CFG, ("x",))
    assert rows[0]["p_value"] is None and rows[0]["effect"] is None and rows[2]["p_value"] == 0.01
    assert "no component is shared" in rows[0]["problem"] and rows[1]["problem"] == "pool"
    # What needs no control is there all the same.
    assert rows[1]["effect"] < -4 and rows[1]["lift"] is None and rows[1]["n_controls"] == 0


def test_a_circuit_is_not_ranked_against_itself():
    """With every set of its composition drawn, the best circuit of N has p = 1 / N."""
    import pandas as pd

    effects = effects_table(0, controls=9)
    mine = (effects["circuit"] == "1 head") & (effects["control"] == 4)
    circuit = (effects["circuit"] == "c") & effects["control"].isna()
    effects.loc[mine, "metric"] -= 50
    effects.loc[circuit, "metric"] = effects.loc[mine, "metric"].to_numpy()
    row = {"top_k": 1.0, "k": 1, "threshold": 0.5, "problem": None}
    shared = row | {"kind": "shared", "circuit": "c", "control": None, "components": ["a0.h4"]}
    sets = [row | {"kind": "random", "circuit": "1 head", "control": n, "components": [f"a0.h{n}"]} for n in range(9)]
    found = testing.tests_table(effects, pd.DataFrame([shared, *sets]), CFG, ("x",))[0]
    assert found["n_random_uniform"] == 8 and found["p_uniform"] == pytest.approx(1 / 9)


def test_a_random_circuit_of_the_layers_that_matter_is_no_find_among_sets_of_its_layers():
    """Statistics A5: among sets from any layer it is found too often."""
    from circuit_reuse.validate import worlds

    rng = np.random.default_rng(0)
    rows = [worlds.planted_test(rng, 8, 8, f"early {draw}", by_layer=(5, 3, 0)) for draw in range(400)]
    share = {name: np.mean([row[name] <= 0.05 for row in rows]) for name in ("p_value", "p_uniform")}
    assert share["p_value"] < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400) < share["p_uniform"]


def test_faithfulness_is_zero_with_nothing_and_one_with_everything():
    floor, full = np.array([0.0, 1.0]), np.array([4.0, 5.0])
    assert testing.faithfulness_of(floor, floor, full, axis=0) == 0
    assert testing.faithfulness_of(full, floor, full, axis=0) == 1


def test_a_family_is_named_where_one_of_its_columns_has_no_value():
    table = pd.DataFrame({"ranking": "all", "matching": ["layers", None, np.nan], "p_value": [0.01, 0.02, None]})
    found = statistics.with_q(table, "p_value", within=("ranking", "matching"))
    assert list(found["q_family"]) == ["all, layers", "all, none", "all, none"]
    assert list(found["q_value"][:2]) == [0.01, 0.02]
    assert len(statistics.with_q(table[:0], "p_value", within=("ranking", "matching"))) == 0


def test_accuracies_have_the_intervals_of_their_own_runs():
    intact, removed, clusters = np.ones(20), np.repeat([0.0, 1.0], 10), np.arange(20)
    found = testing.accuracies(intact, removed, clusters)
    assert found["accuracy_low"] > 0.8 and found["accuracy_high"] == pytest.approx(1)
    assert (
        found["accuracy_circuit"] == 0.5
        and 0.2 < found["accuracy_circuit_low"] < 0.5 < found["accuracy_circuit_high"] < 0.8
    )


def test_accuracy_that_is_lost_is_a_drop_above_0():
    row = testing.cross_row(testing.Outcomes(effects_table(-9)), "c", {"bootstrap": 50}, ("x",))
    assert row["accuracy_drop"] > 0.9 > 0.2 > row["accuracy_drop_control"] >= 0


def test_agreement_is_over_the_sizes_of_scores_and_the_largest_of_them():
    (row,) = testing.agreement(np.array([[3.0, -2, 1]]), np.array([[-3.0, 2, 0.5]]), [7], 2)
    assert row["example"] == 7 and row["top_overlap"] == 1 and row["rank_correlation"] == pytest.approx(1)
    (row,) = testing.agreement(np.array([[3.0, -2, 1]]), np.array([[1.0, 2, 3]]), [7], 1)
    assert row["top_overlap"] == 0 and row["rank_correlation"] == pytest.approx(-1)


def test_rows_outside_a_family_have_no_q_and_weigh_nothing():
    table = pd.DataFrame({"p_value": [0.01, 0.5]})
    found = statistics.with_q(table, "p_value", where=pd.Series([True, False]))["q_value"]
    assert found[0] == 0.01 and np.isnan(found[1])
