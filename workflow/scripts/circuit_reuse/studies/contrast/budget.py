"""Circuits under a write budget: how components are chosen, and how surely."""

import math
from itertools import accumulate

from circuit_reuse.data import components
from circuit_reuse.data.components import cost, total_cost

RULES = ("published", "ratio", "knapsack")


class BudgetError(ValueError):
    """A budget that not even the input fits into."""


def resolve(budget, space):
    """A budget in dimensions of the stream: from 1 a number of them, below 1 a share of all.

    raises: BudgetError if the input alone costs more
    """
    found = int(budget) if budget >= 1 else int(budget * total_cost(space) + 1e-9)
    if found < space.d_model:
        raise BudgetError(
            f"a budget of {budget:g} is {found} of {total_cost(space)} dimensions, and the input, which "
            f"every circuit holds, costs {space.d_model}; use at least {space.d_model} or "
            f"{space.d_model / total_cost(space):.3f}"
        )
    return found


def select(rule, scores, space, budget, threshold=None):
    """The components of a circuit, `input` first, then those chosen first.

    rule:      published: MLPs of at least `threshold`, best first, then heads while there is room;
               ratio: by score per cost, those that still fit; knapsack: the largest sum of scores
    scores:    {component: score} of heads and MLPs; ratio and knapsack take positive ones only
    budget:    dimensions, with the input's
    threshold: score that an MLP needs, for `published`; None for none
    """
    room = budget - space.d_model
    ranked = sorted(scores, key=lambda name: (-scores[name], components.order(name)))
    chosen = {"published": published, "ratio": ratio, "knapsack": knapsack}[rule](
        ranked, scores, space, room, threshold
    )
    return ["input", *chosen]


def published(ranked, scores, space, room, threshold):
    """MLPs from a threshold on, then heads; order of the published lists."""
    mlps = [name for name in ranked if components.kind(name) == "mlp"]
    mlps = [name for name in mlps if threshold is None or scores[name] >= threshold]
    mlps = mlps[: room // space.d_model]
    heads = [name for name in ranked if components.kind(name) == "head"]
    return mlps + heads[: (room - cost(mlps, space)) // space.d_head]


def ratio(ranked, scores, space, room, threshold):
    """Greedily by score per dimension."""
    chosen = []
    for name in sorted(ranked, key=lambda name: -scores[name] / space.write_cost(name)):
        if scores[name] > 0 and space.write_cost(name) <= room:
            chosen.append(name)
            room -= space.write_cost(name)
    return chosen


def knapsack(ranked, scores, space, room, threshold):
    """The set of largest total score, exactly: there are only two costs, so of each kind the best
    few are taken, and all numbers of MLPs are tried.
    """
    positive = [name for name in ranked if scores[name] > 0]
    mlps, heads = ([n for n in positive if components.kind(n) == kind] for kind in ("mlp", "head"))
    mlp_value, head_value = (list(accumulate((scores[name] for name in each), initial=0.0)) for each in (mlps, heads))
    best, found = -1.0, (0, 0)
    for count in range(min(len(mlps), room // space.d_model) + 1):
        more = min(len(heads), (room - count * space.d_model) // space.d_head)
        total = mlp_value[count] + head_value[more]
        if total > best * (1 + 1e-12):
            best, found = total, (count, more)
    chosen = {*mlps[: found[0]], *heads[: found[1]]}
    return [name for name in ranked if name in chosen]


def in_draws(draws, names, rule, space, budget, threshold=None):
    """The circuit of each draw, a list of sets of names; draws with a score that is nan are left out.

    draws: [draw, component] scores;  names: of the columns
    """
    known = [row for row in draws.tolist() if not any(map(math.isnan, row))]
    return [set(select(rule, dict(zip(names, row, strict=True)), space, budget, threshold)) for row in known]


def inclusion(draws, names, rule, space, budget, threshold=None):
    """Share of bootstrap draws whose circuit holds each component, a list; see `in_draws`."""
    chosen = in_draws(draws, names, rule, space, budget, threshold)
    return [sum(name in each for each in chosen) / max(len(chosen), 1) for name in names]
