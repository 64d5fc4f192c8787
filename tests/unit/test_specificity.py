"""Own components against those of another task: which sets are compared, with what random sets, and the paired test."""

import itertools

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data.tables import EFFECTS
from circuit_reuse.stats import circuits, testing
from circuit_reuse.studies.reuse import families, plots_specificity, shared_circuits, stage_cross_tests
from matplotlib import pyplot

SPACE = [f"a{layer}.h{head}" for layer in range(4) for head in range(4)] + [f"m{layer}" for layer in range(4)]
CFG = {"bootstrap": 400, "permutations": 999}
FOUND = {"x": ("x", ["a0.h0", "a1.h0", "m2"], []), "y": ("y", ["a0.h0", "a1.h1", "a3.h2"], []), "z": ("empty", [], [])}


def layers(names):
    return sorted(name.split(".")[0] for name in names)


@pytest.mark.parametrize("circuit", [["a0.h0"], ["a0.h0", "a0.h3", "a2.h1"], ["a1.h1", "a1.h2", "m3"]])
def test_layer_matched_sets_have_as_much_in_every_layer_and_are_not_the_circuit(circuit):
    sets = circuits.layer_matched_sets(circuit, SPACE, 12, "t")
    assert sets and all(layers(names) == layers(circuit) for names in sets)
    assert len({frozenset(names) for names in sets} - {frozenset(circuit)}) == len(sets) <= 12
    # All there are where there are few: no more can be drawn than every choice of each layer.
    everything = circuits.layer_matched_sets(circuit, SPACE, 10**6, "t")
    by_layer = [list(itertools.combinations(pool, sum(n in circuit for n in pool))) for pool in pools()]
    choices = {frozenset(itertools.chain(*parts)) for parts in itertools.product(*by_layer)}
    assert {frozenset(names) for names in everything} == choices - {frozenset(circuit)}


def pools():
    return [
        [name for name in SPACE if name.split(".")[0] == key] for key in sorted({name.split(".")[0] for name in SPACE})
    ]


def test_a_circuit_that_fills_its_layers_has_no_layer_matched_set():
    assert circuits.layer_matched_sets([f"a1.h{head}" for head in range(4)], SPACE, 5, "t") == []


def test_core_and_rest_make_up_each_circuit_and_rests_have_nothing_in_common():
    asked = {
        (each.source, target, each.component_set): each
        for target in FOUND
        for each in shared_circuits.contrasts(FOUND, target)
    }
    assert len(asked) == 3 * 2 * 3
    for source, target in itertools.permutations(FOUND, 2):
        whole, rest, core = (asked[source, target, name] for name in ("circuit", "residual", "core"))
        assert set(core.other) | set(rest.own) == set(whole.own) == set(FOUND[target][1]) == set(core.own)
        assert set(core.other) == set(whole.own) & set(whole.other) and not set(rest.own) & set(rest.other)
        back = asked[target, source, "residual"]
        assert (back.own, back.other) == (rest.other, rest.own)
    sets = shared_circuits.contrasted_sets(FOUND, "x")
    assert {frozenset(names) for names in sets.values()} == {
        frozenset(names) for each in shared_circuits.contrasts(FOUND, "x") for names in (each.own, each.other) if names
    }


def outcomes(**effects):
    """Effects of sets of components on 20 examples, from a metric that varies between examples far more."""
    rng = np.random.default_rng(0)
    metric = rng.normal(5, 10, 20)
    frames = []
    for circuit, change in {None: 0, **effects}.items():
        for control, each in enumerate(np.atleast_2d(change + np.zeros(20))):
            rows = {
                "example": range(20),
                "cluster": range(20),
                "metric": metric + each,
                "correct": True,
                "kl": 0.0,
                "control": None,
            }
            if circuit and circuit.startswith("layer"):
                rows["control"] = control
            direction = "remove" if circuit else "none"
            frames.append(pd.DataFrame(rows).assign(circuit=circuit, direction=direction))
    frame = pd.concat(frames, ignore_index=True)
    assert set(frame) <= set(EFFECTS.names)
    return testing.Outcomes(frame)


def test_own_and_other_effects_are_compared_on_the_same_examples():
    rng = np.random.default_rng(1)
    own, other = rng.normal(-3, 1, 20), rng.normal(-1, 1, 20)
    table = outcomes(own=own, other=other, **{"layer-matched own": np.array([[-1.0] * 20, [-2.0] * 20])})
    row = testing.specificity_row(table, "own", "other", CFG, ("t",))
    assert row["own"] == pytest.approx(own.mean()) and row["other"] == pytest.approx(other.mean())
    assert row["difference"] == pytest.approx((own - other).mean())
    # Examples differ by tens of logits, the paired difference by one.
    assert row["difference_low"] < row["difference"] < row["difference_high"] < -1 and row["p_value"] <= 0.002
    assert row["own_random"] == pytest.approx(-1.5) and row["n_random_own"] == 2
    assert row["other_random"] is None and row["n_random_other"] == 0
    back = testing.specificity_row(table, "other", "own", CFG, ("t",))
    assert back["difference"] == pytest.approx(-row["difference"]) and back["p_value"] <= 0.002


def test_an_effect_has_one_interval_whatever_it_is_compared_with():
    rng = np.random.default_rng(3)
    table = outcomes(x=rng.normal(-3, 1, 20), a=rng.normal(-1, 1, 20), b=rng.normal(-2, 1, 20))
    crossed = testing.cross_row(table, "x", CFG, ("t",))
    for partner in "ab":
        for side, pair in (("own", ("x", partner)), ("other", (partner, "x"))):
            row = testing.specificity_row(table, *pair, CFG, ("t",))
            assert (row[f"{side}_low"], row[f"{side}_high"]) == (crossed["effect_low"], crossed["effect_high"])


def test_one_example_has_effects_but_no_interval_and_no_p():
    frame = pd.DataFrame({"example": [0] * 3, "metric": [5.0, 2.0, 4.0], "correct": True, "kl": 0.0, "control": None})
    frame = frame.assign(cluster="one", circuit=[None, "own", "other"], direction=["none", "remove", "remove"])
    row = testing.specificity_row(testing.Outcomes(frame), "own", "other", CFG, ("t",))
    assert (row["own"], row["other"], row["difference"]) == (-3, -1, -2)
    assert row["difference_low"] is None and "p_value" not in row


def test_where_there_is_nothing_to_compare_there_is_no_p():
    table = outcomes(own=-3.0, other=-1.0)
    same = testing.specificity_row(table, "own", "own", CFG, ("t",))
    assert same["difference"] == 0 and "p_value" not in same
    for own, other in (("own", "empty"), ("empty", "other"), ("empty", "empty")):
        row = testing.specificity_row(table, own, other, CFG, ("t",))
        assert "p_value" not in row and row[{"own": "other", "empty": "own"}[own]] == 0


def test_a_tasks_circuit_that_every_task_needs_is_rarely_called_its_own():
    """With equal effects the paired test errs as often as it says."""
    rng = np.random.default_rng(2)
    found = []
    for number in range(200):
        table = outcomes(own=rng.normal(-2, 1, 20), other=rng.normal(-2, 1, 20))
        row = testing.specificity_row(table, "own", "other", CFG, (number,))
        found.append(row["p_value"] <= 0.05)
    assert 0.01 <= np.mean(found) <= 0.10


def test_two_tasks_with_one_circuit_are_no_overlap_and_any_third_is_compared_with_it_once(monkeypatch):
    rows = pd.DataFrame(
        {
            "model": "m",
            "method": "a",
            "circuit_first": ["x", "x", "x", "y", "x"],
            "circuit_second": ["x", "y", "y", "x", "z"],
            "p_value": [np.nan, 0.03, 0.03, 0.03, 0.2],
        }
    )
    monkeypatch.setattr(families.gather, "rows", lambda *_: rows)
    found = families.overlap([])
    # Two hypotheses: x with y, x with z.
    assert found["q_value"].tolist()[1:] == pytest.approx([0.06, 0.06, 0.06, 0.2]) and np.isnan(found["q_value"][0])
    assert "pair" not in found


def test_a_circuit_is_not_compared_with_itself():
    found = {"s": ("x", ["a0.h0", "a1.h0"], []), "t": ("x", ["a0.h0", "a1.h0"], []), "u": ("y", ["a0.h0", "a1.h1"], [])}
    names = [f"a{layer}.h{head}" for layer in range(2) for head in range(4)]
    within = dict.fromkeys(found, (0, None))
    cfg = {"cross_task": {"top_k": 2, "threshold": 0.5}}
    rows = list(stage_cross_tests.overlap_rows(found, list(found), within, names, cfg))
    assert [row["p_value"] is None for row in rows] == [True, False, False]
    assert rows[0]["circuit_first"] == rows[0]["circuit_second"] == "x" and rows[0]["jaccard"] == 1


@pytest.mark.parametrize(
    ("row", "sign"),
    [
        ({"own_high": -1, "other_high": -1, "difference_low": -2, "difference_high": -1}, "*"),
        ({"own_high": -1, "other_high": -1, "difference_low": 1, "difference_high": 2}, "°"),
        ({"own_high": 0.9, "other_high": 2.5, "difference_low": -2, "difference_high": -1}, ""),
        ({"own_high": 2.5, "other_high": 0.9, "difference_low": 1, "difference_high": 2}, ""),
    ],
)
def test_a_mark_says_which_hurts_more_only_where_one_hurts(row, sign):
    figure, ax = pyplot.subplots()
    plots_specificity.mark(ax, 0, row | {"q_value": 0.01}, 0.05)
    assert [text.get_text() for text in ax.texts] == [sign]
    pyplot.close(figure)
