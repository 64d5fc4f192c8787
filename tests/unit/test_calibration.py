"""The calibration study on few data sets; the workflow's run of it has more."""

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.stats import statistics
from circuit_reuse.validate import coverage as intervals
from circuit_reuse.validate import nulls as null
from circuit_reuse.validate import plots_calibration as figures
from circuit_reuse.validate import power as powers
from matplotlib import pyplot
from scipy import stats


@pytest.fixture(scope="module")
def nulls():
    return null.nulls(40, seed=1)


def at(table, level=0.05):
    return table[table["level"] == level]


def test_no_test_rejects_true_nulls_too_often(nulls):
    rows = at(nulls)
    own = rows[~rows["setting"].str.startswith(null.WARNING)]
    # A verdict goes by 95 per cent intervals, one in 40 of which is too high: with so many rows
    # of few data sets, what counts is that so many rejections have a chance of 1 in 1000.
    chance = stats.binom.sf(np.round(own["share"] * own["n_datasets"]) - 1, own["n_datasets"], 0.05)
    fine = own["verdict"].isin(["calibrated"]) | own["verdict"].str.startswith("conservative: ")
    assert (fine | (chance > 1e-3)).all() and fine.sum() >= len(own) - 2, own[~fine]
    assert {
        "p_permutation",
        "p_mcnemar",
        "p_heads",
        "p_rank",
        "p_uniform",
        "p_left",
        "p_equivalence",
        "p_independence",
        "p_minimality",
        "p_reuse",
        "p_reuse_other",
        "p_variant",
        "p_template",
        "q_value",
        "q_permutation",
        "q_mcnemar",
    } == set(own["test"])


def test_the_rank_among_disjoint_controls_is_told_apart(nulls):
    rows = at(nulls)
    disjoint = rows[rows["setting"].str.contains("disjoint")]
    assert (disjoint["verdict"] == "anti-conservative").all() and len(disjoint) == 1
    assert disjoint["setting"].iloc[0].startswith("NOT what the workflow does")


def test_the_shares_lie_in_their_intervals_and_rise_with_the_level(nulls):
    assert ((nulls["share_low"] <= nulls["share"]) & (nulls["share"] <= nulls["share_high"])).all()
    for _, rows in nulls.groupby(["test", "setting", "n_examples"]):
        assert rows["verdict"].nunique() == 1
        # False discoveries among many found may be fewer than among few.
        assert rows["share"].is_monotonic_increasing or "quarter real" in rows["setting"].iloc[0]


def test_a_test_over_single_examples_of_clusters_is_told_apart(nulls):
    rows = at(nulls)
    single = rows[rows["setting"].str.contains("of the examples: ")]
    assert len(single) == 4 and (single["share"] >= 0.1).all() and single["share"].mean() > 0.15


@pytest.mark.parametrize("wrong", [lambda p: p / 2, lambda p: p**2])
def test_a_broken_p_is_found_out(wrong, monkeypatch):
    right = statistics.sign_flip
    monkeypatch.setattr(statistics, "sign_flip", lambda *given: wrong(right(*given)))
    found = null.sign_flip_nulls(300, 0, (16,), ["normal differences"])
    values = found["p_permutation", "normal differences", 16]
    row = null.share_rows("p_permutation", "broken", 16, values)[1]
    assert row["level"] == 0.05 and row["verdict"] == "anti-conservative"


def test_verdicts():
    assert null.verdict("p_rank", 0.05, (0.04, 0.06)) == "calibrated"
    assert null.verdict("p_rank", 0.08, (0.06, 0.1)) == "anti-conservative"
    assert null.verdict("p_rank", 0.01, (0.0, 0.02)) == "conservative"
    assert null.verdict("p_mcnemar", 0.01, (0.0, 0.02)).startswith("conservative: the exact")


def test_power_rises_with_the_effect():
    table = powers.power(24, seed=0, counts=(16,), sizes=(0.0, 0.75, 3.0))
    for test, rows in table.groupby("test"):
        shares = rows.sort_values("size")["share"].to_numpy()
        assert shares[0] < 0.25 and (np.diff(shares) >= -0.1).all(), test
        assert shares[-1] > 0.6, (test, shares)
    figure = figures.power(table)
    assert len(figure.axes) == 1
    pyplot.close(figure)


def test_intervals_cover_what_they_say():
    """Within 2 points, and what 150 data sets can tell: from 16 examples, 32 if skewed or in clusters."""
    larger = [one for one in intervals.INTERVALS if intervals.SKEWED in one[1] or intervals.IN_CLUSTERS in one[1]]
    plain = [one for one in intervals.INTERVALS if one not in larger]
    parts = [intervals.coverage(150, 0, (16,), plain, draws=300), intervals.coverage(150, 0, (32,), larger, draws=300)]
    table = pd.concat(parts)
    noise = 3 * np.sqrt(0.95 * 0.05 / 150)
    assert len(table) == 17 and (table["share"] > 0.93 - noise).all(), table


def test_an_interval_too_narrow_is_found_out(monkeypatch):
    right = statistics.mean_interval
    monkeypatch.setattr(statistics, "mean_interval", lambda *given: right(*given[:3], 0.8))
    table = intervals.coverage(200, 0, (32,), intervals.INTERVALS[:1], draws=200)
    assert table["verdict"].iloc[0] == "covers too little"


def test_the_same_seed_gives_the_same_tables():
    first, second = (intervals.coverage(20, counts=(16,), draws=100) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_the_figure_of_false_positives_has_a_row_per_setting(nulls):
    figure = figures.false_positives(nulls)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == len(at(nulls)) and "NOT" in labels[-1] and "NOT" not in labels[0]
    pyplot.close(figure)


def test_the_figure_of_coverage_has_a_panel_per_interval():
    table = intervals.coverage(20, counts=(16, 32), draws=100)
    figure = figures.coverage(table)
    titles = {ax.get_title() for ax in figure.axes if ax.get_title()}
    assert titles == set(table["interval"])
    pyplot.close(figure)
