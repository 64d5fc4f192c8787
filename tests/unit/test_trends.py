"""Correlations with the null that imitates the selection, permutations, fits with their bands."""

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.studies.scaling import findings, fits, trends
from scipy import stats


def test_pearson_and_permutations_by_hand():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 9))
    for row in range(5):
        expected = stats.pearsonr(first[row], second[row]).statistic
        assert trends.pearson(first, second)[row] == pytest.approx(expected)
    assert np.isnan(trends.pearson(np.ones(4), np.arange(4.0)))
    groups = np.array([0, 0, 1, 1, 1, 2])
    order = trends.permutations(groups, 500, rng)
    assert (np.sort(order, axis=1) == np.arange(6)).all() and (groups[order] == groups).all()
    # Every order of the middle group comes up.
    assert len({tuple(row[2:5]) for row in order}) == 6


def test_the_published_selection_by_hand():
    first, second = np.array([-3.0, -2, -1, 0, 1, 2]), np.array([2.0, -1, -5, 1, 0, -3])
    # Kept: heads 0, 1 of the first task, 2, 5 of the second; the rest of each is 0.
    expected = stats.pearsonr([-3, -2, 0, 0], [0, 0, -5, -3]).statistic
    assert trends.selected(first, second, 2) == pytest.approx(expected)
    assert trends.selected(first, second, 6) == pytest.approx(stats.pearsonr(first, second).statistic)


def test_selection_alone_makes_independent_tasks_look_opposed():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 400, 144))
    null = trends.selected(first, second, 40)
    # The reference analysis gives about -0.52 for 144 heads and 40 kept of each task.
    assert null.mean() == pytest.approx(-0.52, abs=0.03)
    assert abs(trends.pearson(first, second).mean()) < 0.02


@pytest.mark.parametrize("rule", ["plain", "selected"])
def test_permutation_p_values_are_uniform_for_independent_tasks(rule):
    rng, found = np.random.default_rng(2), []
    for _ in range(300):
        first, second = rng.exponential(size=(2, 24))
        order = trends.permutations(np.zeros(24), 199, rng)
        if rule == "plain":
            found.append(
                trends.two_sided(float(trends.pearson(first, second)), trends.pearson(first[None], second[order]))
            )
        else:
            null = trends.selected(np.broadcast_to(first, order.shape), second[order], 6)
            found.append(trends.two_sided(float(trends.selected(first, second, 6)), null))
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    assert np.mean(np.array(found) <= 0.05) < 0.09


def test_within_layers_a_correlation_may_have_the_other_sign_and_is_reported_with_it():
    """Layers that matter for both tasks, and heads in them that divide the work."""
    rng, layers = np.random.default_rng(4), np.repeat(np.arange(6), 4)
    between, inside = layers * 1.0, rng.normal(size=24)
    values = [between + sign * inside + 0.1 * rng.normal(size=(40, 24)) for sign in (1, -1)]
    rows = pd.DataFrame({"layer": layers})
    drawn = [trends.resampled_means(part, 50, rng) for part in values]
    found = trends.correlations(values, rows, {"selection": 0.25, "draws": 199}, drawn, rng)
    assert found["correlation"] > 0.4 and found["correlation_within_layers"] < -0.9
    assert found["p_within_layers"] == pytest.approx(1 / 200)
    # Draws carry the noise of the examples once more, so it is taken off twice.
    noise = [trends.noise_of(part) for part in values]
    low, high = np.nanpercentile(trends.corrected(*drawn, noise, times=2), [2.5, 97.5])
    assert found["corrected_low"] == pytest.approx(min(low, found["corrected"]))
    assert found["corrected_high"] == pytest.approx(max(high, found["corrected"]))
    deltas = pd.DataFrame({"layer": layers, "first": values[0].mean(0), "second": values[1].mean(0)})
    less = deltas - deltas.groupby("layer").transform("mean").assign(layer=0)
    assert found["correlation_within_layers"] == pytest.approx(stats.pearsonr(less["first"], less["second"]).statistic)
    table = pd.DataFrame([found | {"model": "m", "q_within_layers": 0.01}])
    page = findings.correlation(table, 0.05)
    assert "positive at q <= 0.05 in 0 of 1 models and negative in 1" in page


def test_intervals_of_correlations_hold_the_truth():
    """Heads with true effects, measured on few examples with noise, of which a part is common to all heads."""
    rng, common, held, observed, point = np.random.default_rng(3), np.random.default_rng(9), 0, [], []
    for _ in range(200):
        true = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 24)
        deltas = [true[:, side] + rng.normal(0, 3, (48, 24)) + common.normal(0, 3, (48, 1)) for side in range(2)]
        drawn = [trends.resampled_means(part, 400, rng) for part in deltas]
        noise = [trends.noise_of(part) for part in deltas]
        means = [part.mean(axis=0) for part in deltas]
        observed.append(float(trends.pearson(*means)) - np.corrcoef(true.T)[0, 1])
        point.append(float(trends.corrected(*means, noise)) - np.corrcoef(true.T)[0, 1])
        low, high = np.nanpercentile(trends.corrected(*drawn, noise, times=2), [2.5, 97.5])
        held += low <= np.corrcoef(true.T)[0, 1] <= high
    assert held / 200 > 0.91
    # Noise takes correlations nearer to 0; the corrected one has no such bias.
    assert abs(np.mean(point)) < 0.02 < abs(np.mean(observed))


def test_a_p_counts_both_tails_from_the_middle_of_its_null():
    """Depths, say, lie around a half, not around 0."""
    null = np.linspace(0.4, 0.6, 99)
    assert trends.two_sided(0.1, null) == trends.two_sided(0.9, null) == 1 / 100
    assert trends.two_sided(0.5, null) == 1


def test_a_fit_is_that_of_scipy_and_its_band_holds_the_line():
    sizes, values = [1e5, 4e5, 1e6, 3e6], [0.1, 0.3, 0.35, 0.6]
    line, problem = fits.fit(sizes, values)
    expected = stats.linregress(np.log10(sizes), values)
    assert problem is None and line.slope == pytest.approx(expected.slope)
    middle, low, high = line.band(sizes)
    assert (low < middle).all() and (middle < high).all()
    # At the mean size the error of the line is that of the mean of the residuals.
    half = line.band([10**line.mean])[2][0] - line.band([10**line.mean])[0][0]
    assert half == pytest.approx(line.width * line.residual / 2)
    rng, held = np.random.default_rng(4), 0
    for _ in range(400):
        drawn, _ = fits.fit(sizes, 0.5 * np.log10(sizes) + rng.normal(0, 0.2, 4))
        _, low, high = drawn.band([1e6])
        held += low[0] <= 3 <= high[0]
    assert held / 400 == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(("sizes", "word"), [([], "no size"), ([1e5], "one size"), ([1e5, 1e6], "2 sizes")])
def test_too_few_sizes_are_refused_with_the_reason(sizes, word):
    line, problem = fits.fit(sizes, [0.1] * len(sizes))
    assert line is None and problem.startswith(word) and "3" in problem


def test_checkpoints_of_one_size_are_one_point():
    """As many of them as there are say nothing more of other sizes."""
    sizes, values = [1e5, 4e5, 1e6, 3e6], [0.1, 0.3, 0.35, 0.6]
    plain, _ = fits.fit(sizes, values)
    many, _ = fits.fit(sizes + [1e6] * 20, values + [0.35 + 0.01 * n for n in range(-10, 11) if n])
    assert many.p_value == pytest.approx(plain.p_value) and many.width == pytest.approx(plain.width)


def test_a_model_that_cannot_do_a_task_is_named_and_left_out_of_the_fit():
    models = pd.DataFrame(
        {
            "model": list("abcd"),
            "family": "f",
            "parameters": [1e5, 2e5, 4e5, 8e5],
            "able": [True, True, True, False],
            "corrected": [0.1, 0.2, 0.35, 9.0],
            "strong_share": [0.1, 0.2, 0.3, 0.4],
        }
    )
    rows = {row["measure"]: row for row in fits.fits(models)}
    assert rows["corrected"]["left_out"] == "d" and rows["corrected"]["n_sizes"] == 3
    row, line = rows["corrected"], stats.linregress(np.log10([1e5, 2e5, 4e5]), [0.1, 0.2, 0.35])
    assert row["slope"] == pytest.approx(line.slope) and row["p_value"] == pytest.approx(line.pvalue)
    half = stats.t.ppf(0.975, 1) * line.stderr
    assert [row["slope_low"], row["slope_high"]] == pytest.approx([line.slope - half, line.slope + half])
    refused = fits.fits(models.iloc[:2])
    assert all(row["problem"] and "slope" not in row for row in refused)


def test_a_trend_needs_a_fit_under_every_replacement():
    rows = pd.DataFrame(
        {
            "family": "f",
            "measure": "corrected",
            "replacement": ["corrupt", "zero"],
            "problem": [None, None],
            "slope": [1.0, 2.0],
            "slope_low": 0.5,
            "slope_high": 3.0,
            "q_value": [0.01, 0.02],
            "n_sizes": 4,
        }
    )
    assert "clear under every replacement" in findings.sizes(rows, "corrupt", 0.05)
    for columns in (
        {"problem": [None, "one size"], "slope": [1.0, np.nan], "q_value": [0.01, np.nan]},
        {"q_value": [0.01, 0.06]},
        {"slope": [1.0, -2.0]},
    ):
        assert "no trend that every replacement shows" in findings.sizes(rows.assign(**columns), "corrupt", 0.05)
    # The replacement that the page is about was not run for this family: said, not a crash.
    assert "no fit (nothing was measured with mean)" in findings.sizes(rows, "mean", 0.05)


def test_a_change_is_no_share_of_a_metric_that_is_not_above_0():
    row = {"matching": "plain", "n_heads": 3, "ranking": "all", "model": "m", "q_value": 0.01, "p_value": 0.01}
    row |= {
        "q_accuracy": 0.5,
        "p_accuracy": 0.5,
        "effect": -5.0,
        "effect_random": -1.0,
        "problem": None,
        "n_random": 99,
    }
    row |= {"accuracy_circuit": 0.2, "accuracy_random": 0.9}
    tests = pd.DataFrame([row | {"metric": 10.0}, row | {"metric": -0.4}])
    assert "-50% of itself (random sets -10%)" in findings.ablation(tests, 0.05)
    assert "no share that is defined" in findings.ablation(tests[1:], 0.05)
    # One ratio to a metric near 0 does not outweigh all others.
    near = pd.DataFrame([*([row | {"metric": 10.0}] * 11), row | {"metric": 0.1}])
    assert "-54% of itself" in findings.ablation(near, 0.05)
