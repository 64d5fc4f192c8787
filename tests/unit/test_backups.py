"""Heads that take over when others are gone: which are called so, and which are not."""

import numpy as np
import pandas as pd
from circuit_reuse.stats import statistics
from circuit_reuse.studies.scaling import backups

NAMES = ["a0.h0", "a0.h1", "a1.h0", "a1.h1"]
HEADS = pd.DataFrame({"component": NAMES, "state_first": ["absent"] * 3 + ["strong"]})


def runs(alone, given, count=16, groups=16):
    rng = np.random.default_rng(0)
    rows = []
    for name, a, b in zip(NAMES, alone, given, strict=True):
        for example in range(count):
            noise = 0.05 * rng.normal(size=2)
            row = {"component": name, "example": example, "cluster": example % groups, "n_heroes": 2}
            rows.append(row | {"delta_alone": a + noise[0], "delta_given": b + noise[1]})
    return pd.DataFrame(rows)


def table(*given, **more):
    frame = pd.DataFrame(backups.rows_of(runs(*given, **more), HEADS, "first"))
    frame = statistics.with_q(frame, "p_value")
    return frame.assign(backup=backups.called(frame, 0.05)).set_index("component")


def test_a_head_that_hurts_only_without_the_heroes_is_a_backup_and_no_other():
    # A backup, a head that never matters, one whose work went through the heroes, one that matters as before.
    found = table([0.0, 0.0, -1.0, -2.0], [-1.0, 0.0, 0.0, -2.0])
    assert found["backup"].tolist() == [True, False, False, False]
    assert found.loc["a1.h0", "difference"] > 0.9 and found.loc["a0.h0", "state"] == "absent"
    assert (found["n_clusters"] == 16).all()


def test_a_head_that_helps_to_lose_is_no_backup():
    """Removing it alone helps, and no longer once the heroes are gone: the difference is below 0, but it does not hurt."""
    # In the second case the mean lies below 0 by less than it is known.
    found = table([1.0, 1.0, 0.0, 0.0], [0.3, -0.001, 0.0, 0.0])
    assert (found["q_value"][:2] < 0.05).all() and not found["backup"].any()


def test_few_clusters_carry_no_p():
    found = table([0.0] * 4, [-1.0] * 4, groups=3)
    assert found["p_value"].isna().all() and not found["backup"].any()


def test_the_heroes_are_the_largest_set_that_is_asked_for():
    sets = pd.DataFrame(
        {
            "ranking": ["all", "all", "shared", "all", "all"],
            "n_heads": [1, 2, 2, 4, 2],
            "matching": [None, None, None, None, "plain"],
            "problem": None,
            "components": [["a0.h0"], ["a0.h0", "a1.h1"], ["a1.h0"], NAMES, ["a0.h1"]],
        }
    )
    assert backups.gone(sets, 3) == ["a0.h0", "a1.h1"] and backups.gone(sets, 8) == NAMES
    assert backups.gone(sets.assign(problem="too few"), 3) == []
