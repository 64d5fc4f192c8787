"""Whether a task's circuit hangs on the examples, the template or the method."""

import numpy as np
import pytest
from circuit_reuse.stats import circuits
from circuit_reuse.studies.reuse import stage_stability

NAMES = [f"a{layer}.h{head}" for layer in range(3) for head in range(4)]


def test_halves_are_of_equal_size_and_have_no_example_in_common():
    found = list(stage_stability.halves(9, 5, ("t",)))
    assert len(found) == 5
    for _, (_, first), (_, second) in found:
        assert len(first) == len(second) == 4 and len({*first, *second}) == 8
    assert len({tuple(first) for _, (_, first), _ in found}) > 1


def test_halves_of_the_frames_have_no_frame_in_common_and_few_examples_are_left_out():
    templates = np.array(["a"] * 4 + ["b"] * 6 + ["c"] * 3 + ["d"] * 5)
    found = list(stage_stability.frames(templates, 6, ("t",)))
    assert len(found) == 6
    for kind, (_, first), (_, second) in found:
        assert kind == "template" and len(first) + len(second) == 18
        assert not set(templates[first]) & set(templates[second])
    assert not list(stage_stability.frames(np.array(["a"] * 9 + ["b"] * 3), 6, ("t",)))
    assert not list(stage_stability.frames(np.array(["a"] * 9), 6, ("t",)))


def test_chance_is_that_of_random_sets_of_the_same_layers():
    first, second = ["a0.h0", "a0.h1", "a2.h0"], ["a0.h1", "a1.h0", "a2.h0", "a2.h1"]
    row = stage_stability.compared(first, second, NAMES)
    assert row["jaccard"] == pytest.approx(2 / 5)
    sets = [second, *circuits.layer_matched_sets(second, NAMES, 10**6, "t")]
    assert row["jaccard_null"] == pytest.approx(np.mean([circuits.jaccard(first, each) for each in sets]))
    assert stage_stability.compared([], [], NAMES)["jaccard"] is None
