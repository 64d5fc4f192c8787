"""The harness of the benchmarks, and that its committed figures are those of the page."""

import importlib.util
import json

import pytest
from support import PROJECT

HEADLINES = {
    "atp_fraction_of_limit",
    "ig_fraction_of_limit",
    "eap_over_atp",
    "intervention_fraction_of_limit",
    "head_scan_forwards_per_head",
    "examples_scaling_exponent",
    "default_run_seconds",
    "noop_seconds",
    "head_scan_seconds",
    "pruning_one_seconds",
    "pruning_candidates_per_second",
    "pruning_many_speedup_over_published_loop",
    "pruning_50_orders_3_tasks_seconds",
    "mask_training_seconds",
    "weight_sweep_seconds",
    "weight_trials_per_second",
    "weight_trials_speedup_over_published_loop",
    "weight_trials_speedup_over_plain_loop",
    "contrast_study_seconds",
    "contrast_speedup_over_published_loop",
    "contrast_slowdown_of_bare_model",
    "contrast_memory_of_10000_to_100_texts",
}


@pytest.fixture(scope="module")
def measure():
    path = PROJECT / "benchmarks" / "measure.py"
    spec = importlib.util.spec_from_file_location("measure", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_ratio_of_paired_runs_and_a_slope(measure, monkeypatch):
    """On a clock that only the work moves, and that drifts: every run takes a little longer than the one before."""
    clock = {"now": 0.0, "drift": 1.0}
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock["now"])

    def work(seconds):
        def run():
            clock["now"] += seconds * clock["drift"]
            clock["drift"] *= 1.01

        return run

    assert measure.paired(work(2), work(1), runs=4) == pytest.approx(2, rel=1e-3)
    assert measure.exponent([1, 10, 100], [2, 20, 200]) == pytest.approx(1)
    assert measure.exponent([1, 10, 100], [1, 100, 10_000]) == pytest.approx(2)


def test_every_headline_is_in_the_results_and_on_the_page():
    rows = json.loads((PROJECT / "benchmarks" / "results.json").read_text())
    assert {row["name"] for row in rows} >= HEADLINES
    page = (PROJECT / "docs" / "benchmarks.md").read_text()
    for row in rows:
        assert set(row) == {"name", "value", "unit", "peak_memory_mb", "command", "machine"}
        assert f"| {row['name']} | {row['value']:.3g} | {row['unit']} |" in page
