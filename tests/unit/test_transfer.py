"""Counterparts by function: a model with its heads shuffled is recognised, noise is not."""

import numpy as np
import pytest
from circuit_reuse.studies.scaling import transfer
from scipy import stats

CFG = {"top_share": 0.25, "pairings": 199, "draws": 39}
TASKS = ["ioi", "anti"]
NAMES = [f"a{layer}.h{head}" for layer in range(3) for head in range(8)]


def model(seed, shared=0.0, names=NAMES):
    """Profiles of two tasks with heads of few large effects; `shared` mixes the tasks."""
    rng = np.random.default_rng(seed)
    count = len(names)
    base = {task: rng.exponential(size=count) ** 2 for task in TASKS}
    if shared:
        base["anti"] = shared * base["ioi"] + (1 - shared) * base["anti"]
    return of(base, rng, names)


def of(base, rng, names):
    profile = {
        task: {
            f: value * scale + rng.normal(0, 0.02, len(names))
            for f, scale in (("zero", 1), ("mean", 0.8), ("at end", 0.5))
        }
        for task, value in base.items()
    }
    effects = {task: np.abs(value + rng.normal(0, 0.02, len(names))) for task, value in base.items()}
    return {"profile": profile, "effects": effects, "names": names, "base": base}


def shuffled(first, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(first["names"]))
    return of({task: value[order] for task, value in first["base"].items()}, rng, first["names"])


def by_rule(rows, task="ioi"):
    return {row["rule"]: row for row in rows if row["task"] == task}


def test_shuffled_heads_are_found_by_function_and_not_by_index():
    first = model(0, shared=0.5)
    rows = by_rule(transfer.transfer(first, shuffled(first, 1), TASKS, CFG, ("t",)))
    assert rows["function"]["correlation"] > 0.95 and rows["function"]["n_missing"] == 0
    assert rows["function"]["mean_fractional_rank"] < 0.2
    assert rows["function"]["p_distance"] == pytest.approx(1 / 40)
    assert rows["other_task"]["p_rank"] < 0.05 and rows["other_task"]["correlation"] > 0.4
    assert rows["index"]["mean_fractional_rank"] > 0.25 and rows["index"]["p_rank"] > 0.05


def test_the_other_task_tells_nothing_where_tasks_are_independent():
    p_values = []
    for seed in range(60):
        rows = transfer.transfer(model(seed), model(seed + 500), TASKS, CFG | {"draws": 19}, (seed,))
        p_values += [row["p_rank"] for row in rows if row["rule"] in ("index", "other_task")]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_nearness_of_profiles_by_chance_is_not_significant():
    """Both models have strong heads in each task, but not the same heads in both."""
    p_values = []
    for seed in range(60):
        rows = transfer.transfer(model(seed), model(seed + 500), TASKS, CFG | {"draws": 19}, (seed,))
        p_values += [row["p_distance"] for row in rows if "p_distance" in row]
    assert np.mean(np.array(p_values) <= 0.05) < 0.17
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.13)


def test_strength_alone_finds_heads_that_are_strong_in_general_and_profiles_add_nothing():
    """Where heads differ in nothing but how strong they are, the rules must not differ either."""
    ranks = {"strength": [], "other_task": []}
    for seed in range(20):
        rows = transfer.transfer(
            model(seed, shared=1.0), model(seed + 500, shared=1.0), TASKS, CFG | {"draws": 19}, (seed,)
        )
        for rule in ranks:
            ranks[rule].append(by_rule(rows)[rule]["mean_fractional_rank"])
    assert np.mean(ranks["strength"]) < 0.25
    assert np.mean(ranks["other_task"]) == pytest.approx(np.mean(ranks["strength"]), abs=0.05)


def test_a_model_without_examples_left_or_without_a_partner_gives_an_empty_table():
    first, second = model(0), model(1)
    first["effects"]["anti"] = None
    rows = transfer.transfer(first, second, TASKS, CFG, ("t",))
    assert {row["task"] for row in rows} == {"ioi"}


def test_ties_share_their_rank_and_the_order_does_not_matter():
    ranks = transfer.fractional_ranks(np.array([0.5, 0, 0, 0.2]))
    np.testing.assert_allclose(ranks, [0.25, 0.875, 0.875, 0.5])


def test_heads_that_the_target_does_not_have_are_missing_and_counted():
    small = [f"a{layer}.h{head}" for layer in range(2) for head in range(4)]
    first, second = model(0), model(1, names=small)
    rows = by_rule(transfer.transfer(first, second, TASKS, CFG, ("t",)))
    pairs = transfer.by_index(NAMES, small)
    assert len(pairs) == 8 and all(NAMES[a] == small[b] for a, b in pairs.items())
    top = np.argsort(-first["effects"]["ioi"])[:6]
    assert rows["index"]["n_missing"] == sum(NAMES[n] not in small for n in top)
    # The small model has a counterpart for eight heads at the most.
    assert 0 <= rows["function"]["n_missing"] <= 6


def test_features_that_do_not_vary_are_left_out():
    first, second = model(0), model(1)
    first["profile"]["ioi"]["flat"] = second["profile"]["ioi"]["flat"] = np.zeros(24)
    values, others, owners = transfer.table_of(first["profile"], second["profile"], TASKS)
    assert values.shape == others.shape == (24, 6) and list(owners).count("ioi") == 3
