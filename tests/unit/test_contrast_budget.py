"""Circuits under a write budget: the published list, the exact knapsack, inclusion."""

import itertools

import numpy as np
import pytest
from circuit_reuse.data import circuit_files, components
from circuit_reuse.data.components import Space
from circuit_reuse.studies.contrast import budget
from scipy.optimize import Bounds, LinearConstraint, milp
from support import PROJECT

GPT2, TINY = Space(12, 12, 768, 64), Space(2, 4, 8, 3)
PUBLISHED = PROJECT / "resources" / "published" / "sarcasm-circuits"


def random_scores(space, seed):
    rng = np.random.default_rng(seed)
    return dict(zip(space.of_kinds(), rng.exponential(size=len(space.of_kinds())), strict=True))


def test_the_published_rule_gives_the_published_list():
    """Scores that rank components as published, with 10 MLPs above 7: 54 components, in their order."""
    known = circuit_files.read(PUBLISHED / "original.json", GPT2)
    order = [name for name in known.nodes if name != "input"]
    scores = dict.fromkeys(GPT2.of_kinds(), 0.001) | {"m4": 6.68, "m3": 6.29}
    scores |= {name: 7.0 + 1 / rank if name[0] == "m" else 1 / rank for rank, name in enumerate(order, 1)}
    chosen = budget.select("published", scores, GPT2, 11_200, threshold=7.0)
    assert chosen == list(known.nodes) and components.cost(chosen, GPT2) == 11_200
    # One MLP more, as in the first reproduction, and 12 heads less.
    lower = budget.select("published", scores, GPT2, 11_200, threshold=6.5)
    assert len(lower) == 43 and "m4" in lower


def test_a_threshold_that_lets_too_much_in_stays_within_the_budget():
    chosen = budget.select("published", random_scores(GPT2, 0), GPT2, 2_000, threshold=0)
    assert components.cost(chosen, GPT2) <= 2_000 and sum(name[0] == "m" for name in chosen) == 1


def best(scores, space, room):
    """The largest total that fits, by trying every set."""
    names, most = list(scores), 0.0
    for size in range(len(names) + 1):
        for chosen in itertools.combinations(names, size):
            if components.cost(chosen, space) <= room:
                most = max(most, sum(scores[name] for name in chosen))
    return most


@pytest.mark.parametrize("seed", range(8))
def test_the_knapsack_is_exact(seed):
    scores = random_scores(TINY, seed)
    for room in (0, 2, 3, 8, 13, 20, 29, 40):
        chosen = budget.select("knapsack", scores, TINY, TINY.d_model + room)[1:]
        assert sum(scores[name] for name in chosen) == pytest.approx(best(scores, TINY, room))
        assert components.cost(chosen, TINY) <= room


def test_the_knapsack_is_that_of_an_integer_programme():
    scores = random_scores(GPT2, 3)
    names = list(scores)
    costs = np.array([GPT2.write_cost(name) for name in names])
    for room in (900, 5_000, 10_432):
        found = milp(
            -np.array([scores[name] for name in names]),
            integrality=np.ones(len(names)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(costs[None], ub=room),
            options={"mip_rel_gap": 0},
        )
        chosen = budget.select("knapsack", scores, GPT2, 768 + room)[1:]
        assert sum(scores[name] for name in chosen) == pytest.approx(-found.fun, rel=1e-9)


def test_no_rule_takes_more_than_fits_and_ratio_takes_the_best_per_cost_first():
    scores = random_scores(TINY, 1)
    for share in (0.2, 0.45, 0.7, 1 - 1e-9):
        dimensions = budget.resolve(share, TINY)
        for rule in budget.RULES:
            chosen = budget.select(rule, scores, TINY, dimensions)
            assert chosen[0] == "input" and components.cost(chosen, TINY) <= dimensions
    ratio = budget.select("ratio", scores, TINY, 48)[1:]
    rates = [scores[name] / TINY.write_cost(name) for name in ratio]
    assert rates == sorted(rates, reverse=True)


def test_what_has_no_positive_score_is_left_out_by_ratio_and_knapsack():
    scores = dict.fromkeys(TINY.of_kinds(), 0.0) | {"a0.h1": 1.0, "m1": -2.0}
    for rule in ("ratio", "knapsack"):
        assert budget.select(rule, scores, TINY, 48) == ["input", "a0.h1"]


def test_budgets_from_one_on_are_dimensions_and_below_shares():
    assert budget.resolve(11_200, GPT2) == 11_200 and budget.resolve(0.5, GPT2) == 9_600
    assert budget.resolve(11_200 / 19_200, GPT2) == 11_200
    with pytest.raises(budget.BudgetError, match=r"767 of 19200 dimensions.*costs 768"):
        budget.resolve(767, GPT2)
    with pytest.raises(budget.BudgetError, match=r"at least 768 or 0\.040"):
        budget.resolve(0.01, GPT2)


def test_inclusion_is_the_share_of_draws_whose_circuit_holds_a_component():
    names = TINY.of_kinds()
    sure = dict.fromkeys(names, 1.0) | {"a0.h0": 50.0}
    draws = np.array([list(sure.values())] * 10)
    # In 3 of 10 draws another head is the second best.
    draws[:, names.index("a1.h1")] = 5
    draws[:3, names.index("a1.h2")] = 9
    shares = dict(zip(names, budget.inclusion(draws, names, "knapsack", TINY, 8 + 6), strict=True))
    assert (shares["a0.h0"], shares["a1.h1"], shares["a1.h2"]) == (1, 0.7, 0.3)
    assert sum(shares.values()) == pytest.approx(2)
