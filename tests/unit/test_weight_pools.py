"""Which weights are drawn, how they match, and what a curve's area says."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.studies.weights import (
    findings,
    large_draws,
    mask_files,
    measures,
    random_masks,
    stage_sweep,
    summary,
    weight_sets,
)
from scipy import stats


def weights(share=0.2, zeros=0.5, seed=0, sizes=None):
    """Three matrices in two layers; a share of the nonzero weights is the circuit's."""
    rng = np.random.default_rng(seed)
    count = (400, 300, 500)
    values = rng.normal(size=sum(count)) if sizes is None else sizes(rng, sum(count))
    values[rng.random(len(values)) < zeros] = 0
    joins = rng.random(len(values)) < share
    ends = np.where(joins, 2, rng.integers(0, 2, len(values)))
    return weight_sets.Weights(
        values,
        np.cumsum([0, *count]),
        np.array([0, 0, 1]),
        weight_sets.circuit_of(values, joins),
        ends,
        ("0.q", "0.k", "1.q"),
    )


@pytest.mark.parametrize("control", weight_sets.CONTROLS)
def test_a_control_has_as_many_different_weights_outside_and_none_is_zero(control):
    w = weights(share=0.1, zeros=0.2)
    rng = np.random.default_rng(1)
    order = w.inside()
    assert sorted(order) == list(np.flatnonzero(w.circuit)) and (w.values[order] != 0).all()
    numbers, levels = weight_sets.counterparts(w, control, rng, 5)
    assert len(set(numbers)) == len(numbers) == len(order) == sum(levels.values())
    assert not w.circuit[numbers].any() and (w.values[numbers] != 0).all()


def test_the_nth_weight_matches_the_nth_in_matrix_and_size():
    w = weights()
    order = w.inside()
    numbers, levels = weight_sets.counterparts(w, "quantile", np.random.default_rng(2), 5)
    assert levels == {"matrix": len(order)}
    matrix, theirs = (w.groups(each, "matrix") for each in (order, numbers))
    assert (theirs == matrix).all()
    own, other = np.abs(w.values[order]), np.abs(w.values[numbers])
    for number in range(3):
        mine = matrix == number
        edges = np.quantile(own[mine], np.linspace(0, 1, 6)[1:-1])
        assert (np.searchsorted(edges, own[mine], "right") == np.searchsorted(edges, other[mine], "right")).all()
        assert other[mine].min() >= 0.95 * own[mine].min() and other[mine].max() <= 1.05 * own[mine].max()


def test_layers_and_windows_match_as_they_say():
    w = weights()
    order = w.inside()
    layers, _ = weight_sets.counterparts(w, "layer", np.random.default_rng(2))
    assert (w.groups(layers, "layer") == w.groups(order, "layer")).all()
    for control, free in (("matrix", None), ("touching", 1)):
        numbers, _ = weight_sets.counterparts(w, control, np.random.default_rng(2), 3, True)
        same = (w.groups(numbers, "matrix") == w.groups(order, "matrix")).mean()
        assert same == 1 if free is None else (w.ends[numbers] == free).all() and same > 0.7
    window, _ = weight_sets.counterparts(w, "window", np.random.default_rng(2))
    own, sizes = np.abs(w.values[order]), np.abs(w.values[window])
    assert sizes.min() >= own.mean() - own.std() and sizes.max() <= own.mean() + own.std()


def test_a_pool_too_small_is_an_error_with_the_numbers_or_is_widened_and_counted():
    def large_circuit(rng, count):
        return rng.normal(size=count)

    w = weights(share=0.45, sizes=large_circuit)
    # The circuit takes the largest of the first matrix: there are no others of their size.
    first = np.flatnonzero(w.values[: w.starts[1]])
    w.circuit[first] = False
    w.circuit[first[np.argsort(-np.abs(w.values[first]))[:40]]] = True
    order = w.inside()
    with pytest.raises(
        weight_sets.WeightPoolTooSmall,
        match=r"\d+ of \d+ weights .* matrix 0\.q has 40 weights .*use fewer weights.sweep.quantiles",
    ):
        weight_sets.counterparts(w, "quantile", np.random.default_rng(2), 5)
    numbers, levels = weight_sets.counterparts(w, "quantile", np.random.default_rng(2), 5, True)
    assert len(set(numbers)) == len(order) == sum(levels.values()) and levels["matrix"] < len(order)
    assert not w.circuit[numbers].any() and (w.values[numbers] != 0).all()
    everything = weights(share=0.7)
    order = everything.inside()
    outside = everything.outside().sum()
    for control in ("non_circuit", "window", "quantile"):
        with pytest.raises(weight_sets.WeightPoolTooSmall, match=f"{len(order)} weights|{outside}"):
            weight_sets.counterparts(everything, control, np.random.default_rng(2), 5, True)


def test_shares_are_exact_and_nested():
    order = np.random.default_rng(0).permutation(237)
    shares = weight_sets.shares(11)
    assert shares[0] == 0 and shares[-1] == 1 and len(shares) == 11
    sets = [set(weight_sets.removed(order, share)) for share in shares]
    assert [len(each) for each in sets] == [0, 24, 47, 71, 95, 118, 142, 166, 190, 213, 237]
    assert all(small < large for small, large in pairwise(sets))


def test_a_random_mask_has_as_many_nodes_of_each_site_and_degree():
    rng = np.random.default_rng(0)
    active, sites = rng.random(120) < 0.3, [slice(0, 40), slice(40, 50), slice(50, 120)]
    degrees = rng.integers(0, 9, 120)
    stratum = random_masks.strata(sites, degrees)
    assert len(set(stratum)) > 6 and all(set(stratum[a]).isdisjoint(stratum[b]) for a, b in pairwise(sites))
    # Where all degrees are equal, as in a dense model, a site is one stratum.
    assert len(set(random_masks.strata(sites, np.full(120, 7)))) == 3
    masks = [random_masks.random_mask(active, stratum, np.random.default_rng(seed)) for seed in range(200)]
    for part in sites:
        assert {int(mask[part].sum()) for mask in masks} == {int(active[part].sum())}
    weights = np.array([degrees[mask].sum() for mask in masks])
    assert abs(weights.mean() / degrees[active].sum() - 1) < 0.1
    assert len({mask.tobytes() for mask in masks}) == 200


def test_the_most_active_nodes_are_those_of_largest_activity():
    active = np.array([True, False, False, False, True, True])
    mask = random_masks.most_active(active, [slice(0, 3), slice(3, 6)], np.array([1.0, 3, 2, 9, 1, 2]))
    assert list(mask) == [False, True, False, True, False, True]


def test_a_hash_tells_masks_and_models_apart():
    assert (
        len(
            {
                weight_sets.mask_hash("a", ["0.q.1"]),
                weight_sets.mask_hash("b", ["0.q.1"]),
                weight_sets.mask_hash("a", ["0.q.2"]),
            }
        )
        == 3
    )


def rows(condition, losses):
    """Rows of the sweep table: losses [trial][share], equal for three examples."""
    return pd.DataFrame(
        [
            {
                "condition": condition,
                "trial": trial,
                "share": share / max(1, len(curve) - 1),
                "n_removed": 10 * share,
                "example": example,
                "loss": loss + 0.01 * example,
                "metric": 0.0,
                "correct": True,
            }
            for trial, curve in enumerate(losses)
            for share, loss in enumerate(curve)
            for example in range(3)
        ]
    )


def test_an_area_is_the_mean_loss_over_the_shares():
    assert measures.area([0, 0.5, 1], np.array([0.0, 1.0, 2.0])) == pytest.approx(1)
    assert measures.area([0.2, 0.6, 1.0], np.array([3.0, 3.0, 3.0])) == pytest.approx(3)


def test_differences_of_areas_have_the_sign_that_they_are_read_by():
    """Curves that rise evenly to 6, 2, 5 and 3 have areas of half of that."""
    ends = {"circuit": 3, "quantile": 1, "active": 2.5, "active_matched": 1.5}
    sweep = pd.concat([rows(name, [[0, end, 2 * end]] * 2) for name, end in ends.items()]).assign(cluster="a")
    cfg = {"permutations": 99, "bootstrap": 50}
    assert measures.between(sweep, "circuit", "quantile", cfg, ("t",))["difference"] == pytest.approx(2)
    # 3 - 1 of the circuit, less 2.5 - 1.5 of the most active nodes.
    assert measures.beyond_active(sweep, "quantile", cfg, ("t",))["difference"] == pytest.approx(1)


def test_a_circuit_of_nodes_is_ranked_low_when_kept_and_high_when_removed():
    about = {"model": "m", "task": "t", "example": range(8), "cluster": range(8), "correct": True}
    losses = {"clean": 1.0, "sufficiency": 1.1, "necessity": 9.0}
    runs = pd.concat([pd.DataFrame(about | {"condition": name, "loss": loss}) for name, loss in losses.items()])
    null = pd.DataFrame({"model": "m", "task": "t", "sufficiency": [5.0] * 19, "necessity": [2.0] * 19})
    found = summary.node_tests(runs, null, {"seed": 0, "tests": {"bootstrap": 50}})
    assert (found["p_value"] == 1 / 20).all()


def test_areas_are_compared_by_exchanging_trials():
    assert measures.trials_p([5, 6, 7, 8], [1, 2, 3, 4], 9999, 0) == pytest.approx(2 / 70)
    assert measures.trials_p([1, 2, 3, 4], [1, 2, 3, 4], 9999, 0) == 1
    assert measures.trials_p([1], [2], 9999, 0) is None


SHOWN, ABSENT, OPEN, LESS = (
    {"q_value": 0.01, "q_less": 1.0, "difference_low": 0.4, "difference_high": 0.9},
    {"q_value": 0.5, "q_less": 0.5, "difference_low": -0.05, "difference_high": 0.05},
    {"q_value": 0.5, "q_less": 0.5, "difference_low": -0.5, "difference_high": 2},
    {"q_value": 1.0, "q_less": 0.01, "difference_low": -2, "difference_high": -1},
)


def reads(any_, matched, size):
    """The interpretation of these rows."""
    told = {"difference_low": 0.1 if size else -0.1, "q_trials": 0.001 if size else 0.5}
    return measures.interpretation({"non_circuit": any_, "quantile": matched}, told, 0.05, "quantile", 0.1)


def test_a_difference_that_no_number_of_trials_could_show_is_not_called_unsupported():
    """Two orders a side give no p below 1/3, five one of 0.008."""
    sweep = pd.concat([rows("one", [[0.1, 1, 2]] * 2), rows("other", [[0.1, 0.2, 0.3]] * 2)]).assign(cluster="a")
    found = measures.between(sweep, "one", "other", {"bootstrap": 99, "permutations": 99}, ("t",))
    assert found["p_trials_least"] == pytest.approx(1 / 3) and found["p_trials"] >= 1 / 3

    def page(least):
        row = {"model": "m", "task": "t", "interpretation": "unclear", "in_words": "-", "size_p_trials_least": least}
        row |= dict.fromkeys(("size_difference", "size_difference_low", "size_difference_high"), 0.1)
        row |= {"size_q_trials": 0.4, "active_difference": np.nan}
        test = {"model": "m", "task": "t", "control": ["non_circuit", "quantile"], "q_value": 0.5, "q_less": 0.5}
        test |= dict.fromkeys(("difference", "difference_low", "difference_high"), 0.1)
        cfg = {
            "models": ["m"],
            "tasks": ["t"],
            "titles": {"t": "T"},
            "matched": "quantile",
            "margin": 0.1,
            "tests": {"alpha": 0.05},
        }
        return findings.interpretations({"interpretations": pd.DataFrame([row]), "tests": pd.DataFrame(test)}, cfg)

    unsupported = page(1 / 126).split("Not supported here: ")[1].split(". A difference")[0]
    assert "large weights matter" in unsupported and "could not be shown" not in unsupported
    assert "large weights matter" not in page(1 / 3).split("Not supported here: ")[1].split(". That ")[0]
    assert "could not be shown: with so few orders of removal (weights.sweep.trials) no p is below 0.33" in page(1 / 3)


@pytest.mark.parametrize(("p_values", "expected"), [((0.04, 0.5), "unclear"), ((0.04, 0.04), "size")])
def test_equal_size_against_any_is_shown_by_a_rate_over_all_models(p_values, expected, monkeypatch):
    """A p of 0.04 in one of two models is a false discovery rate of 0.08."""
    rows = {
        "non_circuit": {"p_value": 0.01, "p_less": 1.0, "difference_low": 0.4, "difference_high": 0.9},
        "quantile": {"p_value": 0.5, "p_less": 0.5, "difference_low": -0.05, "difference_high": 0.05},
    }
    p_left = iter(p_values)
    monkeypatch.setattr(measures, "compare", lambda *given: {"control": given[2]} | rows[given[2]])
    monkeypatch.setattr(measures, "against_random", lambda *_: {"control": "random_circuit"} | rows["quantile"])
    monkeypatch.setattr(measures, "between", lambda *_: {"difference_low": 0.1, "p_trials": next(p_left)})
    monkeypatch.setattr(measures, "beyond_active", lambda *_: {"difference": None})
    sweep = pd.DataFrame({"model": ["a", "b"], "task": "t"})
    random = sweep.assign(share=1, condition="circuit", n_removed=5)
    cfg = {"seed": 0, "controls": list(rows), "matched": "quantile", "margin": 0.1, "tests": {"alpha": 0.05}}
    _, found = summary.tested(sweep, random, cfg)
    assert found["interpretation"][0] == expected and found["size_q_trials"][0] == pytest.approx(
        0.08 if expected == "unclear" else 0.04
    )


def test_a_reading_follows_from_the_tests():
    assert reads(SHOWN, SHOWN, True) == reads(SHOWN, SHOWN, False) == "weights"
    assert reads(SHOWN, ABSENT, True) == "size"
    assert reads(ABSENT, ABSENT, False) == "nothing"
    assert reads(LESS, LESS, False) == "less"
    # Below 0, but not below what random masks have by chance.
    assert reads(LESS, LESS | {"q_less": 0.5}, False) == "unclear"


def test_what_was_not_shown_is_not_shown_to_be_absent():
    # A large difference whose q missed the level, a test that could not be made, a wide interval.
    for missed in (SHOWN | {"q_value": 0.051}, SHOWN | {"q_value": None}, SHOWN | {"q_value": float("nan")}, OPEN):
        assert reads(SHOWN, missed, True) == reads(missed, missed, True) == "unclear"
        assert reads(missed, ABSENT, True) == "unclear"
    assert reads(SHOWN, ABSENT, False) == reads(ABSENT, SHOWN, False) == "unclear"


def test_the_results_have_the_keys_of_the_study_and_its_numbers():
    sweep = pd.concat(
        [
            rows("circuit", [[0.1, 1, 2], [0.1, 3, 2]]),
            rows("non_circuit", [[0.1, 0.2, 0.3]] * 2),
            rows("quantile", [[0.1, 0.4, 0.5], [0.1, 0.4, 0.7]]),
            rows("all_non_circuit", [[0.9]]).assign(share=1.0),
        ]
    )
    circuit = {"n_weights": 20, "n_weights_total": 100, "size_mean": 0.5, "size_std": 0.1, "mask": "abc"}
    found = json.loads(json.dumps(mask_files.results(sweep, circuit, "quantile")))
    assert set(found["baselines"]) == {"clean_loss", "non_circuit_weights_ablated_loss", "circuit_weights_ablated_loss"}
    assert found["baselines"]["clean_loss"] == pytest.approx(0.11)
    assert found["baselines"]["circuit_weights_ablated_loss"] == pytest.approx(2.01)
    assert found["baselines"]["non_circuit_weights_ablated_loss"] == pytest.approx(0.91)
    assert found["random_circuit_results"]["10"] == pytest.approx({"mean": 2.01, "std": 1.0})
    assert found["random_size_matched_results"]["20"] == pytest.approx({"mean": 0.61, "std": 0.1})
    assert set(found["random_all_results"]) == {"0", "10", "20"}
    assert found["metadata"] | {"mask": 0} == {
        "circuit_weight_count": 20,
        "total_weight_count": 100,
        "num_trials": 2,
        "num_examples": 3,
        "circuit_weight_mean": 0.5,
        "circuit_weight_std": 0.1,
        "mask": 0,
        "random_size_matched": "quantile",
    }


@pytest.mark.parametrize("control", weight_sets.CONTROLS)
def test_pools_too_large_to_list_are_drawn_from_as_evenly_and_match_as_well(control, monkeypatch):
    """The ways of large models, on small ones: the same properties, and each weight outside as likely."""
    w = weights(share=0.1, zeros=0.2)
    plain, _ = drawn_often(w, control)
    monkeypatch.setattr(large_draws, "LARGE", 20)
    monkeypatch.setattr(large_draws, "LISTED", 40)
    monkeypatch.setattr(large_draws, "MORE", 2)
    large, numbers = drawn_often(w, control)
    assert len(set(numbers)) == len(numbers) and not w.circuit[numbers].any()
    assert (w.values[numbers] != 0).all()
    # Counts of draws of each weight in 300 trials: the spread of their difference is that of chance.
    spread = np.sqrt(plain + large).clip(1)
    assert np.abs((plain - large) / spread).max() < 5.5


def drawn_often(w, control, trials=300):
    """How often each weight was drawn, and the last draw."""
    times = np.zeros(len(w.values))
    for seed in range(trials):
        rng = np.random.default_rng([seed, large_draws.LISTED])
        numbers, _ = weight_sets.counterparts(w, control, rng, 5)
        times[numbers] += 1
    return times, numbers


def test_of_a_large_circuit_the_most_important_weights_of_each_model_are_listed():
    edges = pd.DataFrame(
        {"model": list("aaaabb"), "task": "digits", "row": range(6), "importance": [0.1, -3, 2, 0, 5, 1]}
    )
    assert list(summary.most_important(edges, 2)["row"]) == [1, 2, 4, 5]
    assert summary.most_important(edges, 4).equals(edges)


@pytest.mark.parametrize(("total", "wanted"), [(0, 0), (1, 1), (7, 0), (30, 30), (30, 29), (41, 5)])
def test_some_numbers_are_as_many_as_wanted_and_every_set_is_as_likely(total, wanted):
    drawn = [large_draws.some_of(total, wanted, np.random.default_rng(seed), block=8) for seed in range(2000)]
    assert all(len(set(numbers)) == wanted and list(numbers) == sorted(numbers) for numbers in drawn)
    together = np.zeros((total, total))
    for numbers in drawn:
        together[np.ix_(numbers, numbers)] += 1
    # Each number, and each pair, of one block or of two, as often as of a permutation.
    pairs = wanted * (wanted - 1) / max(total * (total - 1), 1)
    expected = np.where(np.eye(total), wanted / max(total, 1), pairs)
    spread = np.sqrt(2000 * expected * (1 - expected)).clip(1)
    assert (np.abs(together - 2000 * expected) < 5 * spread).all()


@pytest.mark.parametrize("seed", range(10))
def test_the_distance_of_sizes_is_that_of_kolmogorov_and_smirnov(seed):
    rng = np.random.default_rng(seed)
    # With and without ties, within a sample and between the two.
    first, second = (np.sort(rng.normal(size=size).round(seed % 3 + 1)) for size in rng.integers(1, 60, 2))
    assert stage_sweep.distance(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic, abs=1e-12)


def test_likeness_of_controls_is_that_of_each_matrix():
    w = weights(seed=4, sizes=lambda rng, n: rng.normal(size=n))
    numbers, _ = weight_sets.counterparts(w, "non_circuit", np.random.default_rng(0))
    inside = w.inside()
    (row,) = stage_sweep.matches(
        {"circuit": [np.random.default_rng(1).permutation(inside)], "non_circuit": [numbers]},
        {"non_circuit": {"model": len(numbers)}},
        w,
    )
    sizes, worst = np.abs(w.values), []
    for first, end in pairwise(w.starts):
        one, other = ([n for n in each if first <= n < end] for each in (inside, numbers))
        if one and other:
            worst.append(stats.ks_2samp(sizes[one], sizes[other]).statistic)
    assert row["worst_distance"] == pytest.approx(max(worst))
    assert row["distance"] == pytest.approx(stats.ks_2samp(sizes[inside], sizes[numbers]).statistic)
    assert row["power"] == pytest.approx((sizes[numbers] ** 2).sum() / (sizes[inside] ** 2).sum())
    assert row["from_model"] == 1


def test_numbers_at_places_of_a_mask():
    mask = np.random.default_rng(0).random(1000) < 0.3
    places = np.sort(np.random.default_rng(1).permutation(int(mask.sum()))[:100])
    assert list(large_draws.numbers_at(mask, places, block=64)) == list(np.flatnonzero(mask)[places])


@pytest.mark.parametrize("seed", range(20))
def test_the_weights_near_some_sizes_hold_the_nearest_on_either_side(seed):
    """Against a sort of all of them."""
    rng = np.random.default_rng(seed)
    values, free = rng.normal(size=500) ** 3, rng.random(500) < 0.8
    sizes = np.abs(rng.choice(values, 3))
    for least in (1, 5, 450):
        found = set(weight_sets.near(values, free, sizes, least))
        order = np.flatnonzero(free)[np.argsort(np.abs(values[free]), kind="stable")]
        ends = np.searchsorted(np.abs(values[order]), [sizes.min(), sizes.max()])
        assert set(order[max(0, ends[0] - least) : ends[1] + least]) <= found <= set(np.flatnonzero(free))
