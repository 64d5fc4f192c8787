"""Examples that are near copies count once: clusters as the units of intervals and tests."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.prompts import custom
from circuit_reuse.prompts.generate import generate
from circuit_reuse.prompts.tasks import TASKS
from circuit_reuse.stats import clusters, statistics
from circuit_reuse.stats.testing import faithfulness_of
from scipy import stats

# Tasks with so few different sequences that nothing can be tested on them.
FEW = {"days", "days_down", "months_by_two"}


def world(groups=10, size=3, seed=0):
    """Values of clusters that are alike, and the clusters, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(groups), size))
    return rng.normal(1, 1, groups)[labels] + 0.3 * rng.normal(size=len(labels)), labels.astype(str)


def test_the_standard_error_is_the_cluster_robust_one_by_hand():
    values, labels = world()
    values, labels = values[:-4], labels[:-4]
    total = sum(((values - values.mean())[labels == label].sum()) ** 2 for label in set(labels))
    groups = len(set(labels))
    by_hand = np.sqrt(groups / (groups - 1) * total) / len(values)
    assert clusters.standard_error(values, labels) == pytest.approx(by_hand)
    assert clusters.units(values, labels).mean() == pytest.approx(values.mean())
    frame = pd.DataFrame({"value": np.r_[values, 5 * values], "cluster": np.r_[labels, labels]})
    frame["key"] = ["a"] * len(values) + ["b"] * len(values)
    rows = clusters.means_by(frame, "value", ["key"]).set_index("key")
    half = stats.t.ppf(0.975, groups - 1) * by_hand
    assert rows.loc["a", ["mean", "low", "high"]].tolist() == pytest.approx(
        [values.mean(), values.mean() - half, values.mean() + half]
    )
    assert rows.loc["b", "standard_error"] == pytest.approx(5 * by_hand) and rows["n_clusters"].eq(groups).all()


def test_without_shared_clusters_nothing_changes():
    values, _ = world()
    own = np.arange(len(values))
    assert statistics.mean_interval(values, 200, 1, clusters=own) == statistics.mean_interval(values, 200, 1)
    assert statistics.sign_flip(values, 99, 1, own) == statistics.sign_flip(values, 99, 1)
    assert statistics.share_difference_interval(np.sign(values), clusters=own) == statistics.share_difference_interval(
        np.sign(values)
    )
    right = values > 1
    wilson = stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    assert statistics.share_interval(right) == pytest.approx((wilson.low, wilson.high))
    assert statistics.paired_outcomes(right, ~right, 99, 0, own) == statistics.mcnemar(right, ~right)


def test_flips_of_clusters_are_all_ways_to_flip_them():
    values, labels = world(groups=8)
    sums = np.array([values[labels == label].sum() for label in sorted(set(labels))])
    every = [abs(np.dot(signs, sums)) for signs in product((1, -1), repeat=8)]
    expected = np.mean(np.array(every) >= abs(sums.sum()) - 1e-9)
    assert statistics.sign_flip(values, 9999, 0, labels) == pytest.approx(expected)


def test_copies_of_examples_add_nothing():
    """Each example five times, in one cluster: the intervals are those of the examples, not narrower ones."""
    rng = np.random.default_rng(0)
    kept, floor = rng.normal(3, 1, 20), rng.normal(0, 0.3, 20)
    full = kept + rng.normal(1, 1, 20)
    labels = np.tile(np.arange(20), 5)
    columns = [np.tile(column, 5) for column in (kept, floor, full)]
    once = statistics.bootstrap((kept, floor, full), faithfulness_of, 2000, 0)
    assert statistics.bootstrap(columns, faithfulness_of, 2000, 0, clusters=labels) == pytest.approx(once, abs=0.03)
    assert statistics.mean_interval(columns[0], 2000, 0, clusters=labels) == pytest.approx(
        statistics.mean_interval(kept, 2000, 0), abs=0.05
    )
    assert np.ptp(statistics.mean_interval(columns[0], 2000, 0)) < 0.6 * np.ptp(statistics.mean_interval(kept, 2000, 0))
    right = kept > 3
    assert clusters.effective(np.tile(right, 5), labels) <= 20
    assert np.ptp(statistics.share_interval(np.tile(right, 5), labels)) >= np.ptp(statistics.share_interval(right))
    # Nothing lost in a hundred copies of twenty says no more than in the twenty.
    assert clusters.effective(np.ones(100), labels) <= 20


def test_too_few_clusters_carry_neither_p_nor_interval():
    values, labels = world(groups=5, size=8)
    assert np.isnan(statistics.sign_flip(values, 99, 0, labels))
    assert np.isnan(statistics.mean_interval(values, 99, 0, clusters=labels)).all()
    assert np.isnan(statistics.share_interval(values > 1, labels)).all()
    assert np.isnan(statistics.share_difference_interval(np.sign(values), clusters=labels)).all()


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_held_out_examples_of_a_task_fall_into_enough_clusters(task):
    made = [prompt for _, split, prompt in generate(task, 64) if split == "held_out"]
    number = len({prompt.cluster for prompt in made})
    assert (number < clusters.FEWEST) == (task in FEW), number
    # Prompts of one text but for their filler words are of one cluster.
    if TASKS[task].family == "sequence":
        shown = {prompt.cluster: prompt.answer for prompt in made}
        assert all(shown[prompt.cluster] == prompt.answer for prompt in made)


def test_a_file_names_its_clusters_or_has_none(tmp_path):
    rows = [
        {"clean": f"a {n}", "corrupt": f"b {n}", "answer": " x", "distractor": " y", "cluster": cluster}
        for n, cluster in enumerate(["one", "one", "", "7"])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    found, _ = custom.rows(tmp_path / "mine.csv", 0.5)
    assert [row["cluster"] for row in found] == ["one", "one", "000002", "7"]
    pd.DataFrame(rows).assign(cluster=[1, 1, None, 7]).to_parquet(tmp_path / "mine.parquet")
    found, _ = custom.rows(tmp_path / "mine.parquet", 0.5)
    assert [row["cluster"] for row in found] == ["1", "1", "000002", "7"]
