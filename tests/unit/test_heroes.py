"""Heroes against random heads: what is matched, and that a random hero is nothing special."""

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data import components
from circuit_reuse.studies.scaling import heroes, stage_heroes
from scipy import stats

NAMES = [f"a{layer}.h{head}" for layer in range(4) for head in range(8)]
CFG = {
    "rankings": ["all", "shared"],
    "sizes": [1, 3, 8, 32],
    "matchings": ["plain", "layer", "norm"],
    "random_sets": 30,
    "norm_strata": 4,
}


def table(seed=0):
    """A heads table with random effects, on the train split."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"component": NAMES, "split": "train", "replacement": "zero"})
    frame["strength"] = rng.exponential(size=32)
    frame["suppressing"] = ["first"] + ["none"] * 31
    frame["category"] = ["shared"] * 5 + ["weak"] * 27
    for side in ("first", "second"):
        frame[f"output_norm_{side}"] = rng.exponential(size=32)
    return frame


@pytest.fixture(scope="module")
def sets():
    return pd.DataFrame(heroes.hero_sets(table(), "zero", CFG, ("test",)))


def test_the_heroes_are_the_strongest_that_help(sets):
    frame = table()
    frame = frame[frame["suppressing"] == "none"].sort_values("strength", ascending=False)
    hero = sets[(sets["ranking"] == "all") & (sets["n_heads"] == 3) & sets["matching"].isna()].iloc[0]
    assert set(hero["components"]) == set(frame["component"][:3])


def test_random_sets_are_matched_different_and_never_the_heroes(sets):
    frame = table()
    frame = frame[frame["suppressing"] == "none"]
    norms = frame[["output_norm_first", "output_norm_second"]].mean(axis=1)
    strata = norms.rank().sub(1).mul(4).floordiv(31).astype(int)
    stratum = dict(zip(frame["component"], strata, strict=True))
    keys = {"plain": lambda n: 0, "layer": lambda n: components.place(n)[0], "norm": stratum.get}
    for (_, _size), part in sets.groupby(["ranking", "n_heads"]):
        hero = part[part["matching"].isna()].iloc[0]
        for matching, drawn in part[part["matching"].notna()].groupby("matching"):
            assert 1 <= len(drawn) <= 30
            assert not any("a0.h0" in names for names in drawn["components"])
            chosen = {tuple(names) for names in drawn["components"]}
            assert len(chosen) == len(drawn) and tuple(hero["components"]) not in chosen
            want = sorted(map(keys[matching], hero["components"]))
            assert all(sorted(map(keys[matching], names)) == want for names in chosen)


def test_what_cannot_be_compared_says_why(sets):
    problems = sets.dropna(subset=["problem"]).set_index(["ranking", "n_heads"])["problem"]
    assert "31 heads" in problems["all", 32] and "only 4 such heads" in problems["shared", 8]
    frame = table().iloc[:8].assign(suppressing="none")
    frame["category"] = "weak"
    one_layer = heroes.hero_sets(frame, "zero", CFG | {"sizes": [4]}, ("t",))
    assert all(row["problem"] is None for row in one_layer if row["ranking"] == "all")
    two = table().iloc[[0, 8]].assign(suppressing="none")
    rows = heroes.hero_sets(two, "zero", CFG | {"sizes": [1], "rankings": ["all"]}, ("t",))
    by_layer = [row for row in rows if row["matching"] == "layer"]
    assert "no other set" in by_layer[0]["problem"]


def test_every_set_is_a_unit_of_its_own_and_the_untouched_run_is_there(sets):
    units = {unit.circuit: unit for unit in stage_heroes.interventions_of(sets)}
    assert None in units and units["all 3"].sets[0][0] is None
    assert [number for number, _ in units["all 3 plain"].sets] == list(range(30))
    assert "all 32" not in units


def effects(values, sets):
    """An effects table from a metric of each head: removing a set takes off their sum."""
    rows = []
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 6)
    for unit in stage_heroes.interventions_of(sets):
        for control, names in unit.sets:
            metric = 10 - sum(values[name] for name in names) + noise
            rows.append(
                pd.DataFrame(
                    {
                        "circuit": unit.circuit,
                        "control": control,
                        "direction": unit.direction,
                        "example": range(6),
                        "cluster": range(6),
                        "metric": metric,
                        "correct": metric > 9.5,
                        "kl": 0.0,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True).astype({"control": "Int32"})


def test_the_rank_of_heads_that_matter_and_the_effects_by_hand(sets):
    frame = table()
    strength = dict(zip(NAMES, frame["strength"], strict=True))
    rows = heroes.hero_tests(effects(strength, sets), sets, {"bootstrap": 200}, ("t",))
    row = next(r for r in rows if (r["ranking"], r["n_heads"], r["matching"]) == ("all", 3, "plain"))
    top = frame[frame["suppressing"] == "none"]["strength"].nlargest(3).sum()
    assert row["effect"] == pytest.approx(-top, abs=1e-6)
    assert row["p_value"] == pytest.approx(1 / 31) and row["n_random"] == 30
    assert row["effect_random_low"] <= row["effect_random"] <= row["effect_random_high"]
    assert row["effect_low"] <= row["effect"] <= row["effect_high"]
    refused = next(r for r in rows if r["n_heads"] == 32)
    assert refused["n_random"] == 0 and "31 heads" in refused["problem"]


@pytest.mark.parametrize("matching", ["plain", "layer", "norm"])
def test_heroes_chosen_by_chance_have_a_uniform_rank(matching):
    """Strength on train says nothing of the effect: so must the rank."""
    found = []
    for seed in range(100):
        frame = table(seed).assign(suppressing="none")
        cfg = CFG | {"rankings": ["all"], "sizes": [3], "matchings": ["plain", matching], "random_sets": 19}
        drawn = pd.DataFrame(heroes.hero_sets(frame, "zero", cfg, (seed,)))
        drawn = drawn[drawn["matching"].isna() | (drawn["matching"] == matching)]
        drawn = drawn.drop_duplicates(["matching", "control"])
        # Two heads matter much: the case in which ranks among disjoint sets go wrong.
        rng = np.random.default_rng(seed + 1000)
        values = dict(zip(NAMES, rng.permutation([8.0, 6.0, *rng.exponential(0.1, 30)]), strict=True))
        rows = heroes.hero_tests(effects(values, drawn), drawn, {"bootstrap": 100}, (seed,))
        found.append(next(row["p_value"] for row in rows if row["matching"] == matching))
    # 20 equally likely values, ties upwards.
    hits = int((np.array(found) <= 0.05 + 1e-9).sum())
    assert stats.binom.sf(hits - 1, 100, 0.05) > 1e-3
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.17)
