"""Which weights are removed: the circuit's, and as many outside it as controls.

A control has a different weight outside for each weight of the circuit, never zero.  sweep.planned removes each together with the
weight that it stands for, and larger shares hold the smaller ones.  Only numpy; no model.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.studies.weights import large_draws

CONTROLS = ("non_circuit", "matrix", "quantile", "touching", "window", "layer")
# How far beyond the range of the circuit's sizes in a group a match may lie.
BEYOND = 0.05
WIDEN = ("matrix", "layer", "model")


class WeightPoolTooSmall(LeftOut):
    """There are too few weights outside the circuit for a control as large as it."""


@dataclass(frozen=True)
class Weights:
    """The weights of a model, and which of them are the circuit's.

    A model has 100 million of them and more: what is as long as all of them is kept as bytes, never as numbers.

    values:  [weight], their values
    starts:  [matrix + 1], number of the first weight of each matrix, and of all weights
    layer:   [matrix], its layer; layers do not fall
    circuit: bool [weight], nonzero and joining two active nodes
    ends:    int8 [weight], how many of its two nodes are active
    names:   [matrix], layer and name: 0.q
    """

    values: np.ndarray
    starts: np.ndarray
    layer: np.ndarray
    circuit: np.ndarray
    ends: np.ndarray
    names: tuple

    def inside(self):
        """Numbers of the circuit's weights."""
        return small(np.flatnonzero(self.circuit), len(self.values))

    def outside(self):
        """Which weights are nonzero and not the circuit's, bool [weight]."""
        return ~self.circuit & (self.values != 0)

    def groups(self, numbers, level):
        """What the weights are matched within: their matrix, their layer, or all of the model."""
        if level == "model":
            return np.zeros(len(numbers), int)
        matrix = np.searchsorted(self.starts, numbers, side="right") - 1
        return matrix if level == "matrix" else self.layer[matrix]

    def groups_of(self, level):
        """All groups, in the order of their weights."""
        return {"model": [0], "layer": np.unique(self.layer), "matrix": range(len(self.layer))}[level]

    def span(self, group, level):
        """The numbers of the weights of a group, as a slice: they lie side by side."""
        if level == "model":
            return slice(0, len(self.values))
        first, end = (group, group + 1) if level == "matrix" else np.searchsorted(self.layer, [group, group + 1])
        return slice(int(self.starts[first]), int(self.starts[end]))


def small(numbers, total):
    """Numbers of weights in four bytes each where they fit: the sets of a large circuit are the most that a sweep holds."""
    return numbers.astype(np.int32) if total <= np.iinfo(np.int32).max else numbers


def circuit_of(values, joins):
    """Which weights are the circuit's: nonzero, and between two active nodes."""
    return joins & (values != 0)


def mask_hash(fingerprint, names):
    """A short hash of a mask: the model and its active nodes."""
    text = "\n".join([fingerprint, *names])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def shares(points):
    """Shares of the circuit's weights that are removed: 0 to 1, evenly."""
    return np.linspace(0, 1, points)


def removed(order, share):
    """The first weights of an order, for a share of it."""
    return order[: round(share * len(order))]


def count(weights):
    """How many weights a set has: an array of numbers, or bool [weight]."""
    return int(weights.sum()) if weights.dtype == bool else len(weights)


def mask_of(weights, total):
    """Bool [weight] of a set, an array of numbers or bool [weight].

    raises: IndexError for a number that no weight has
    """
    if weights.dtype == bool:
        return weights
    if len(weights) and not 0 <= weights.min() <= weights.max() < total:
        raise IndexError(f"weights {weights.min()} to {weights.max()} of {total}")
    mask = np.zeros(total, dtype=bool)
    mask[weights] = True
    return mask


def counterparts(weights, control, rng, quantiles=10, widen=False):
    """As many different weights outside the circuit, the n-th for the n-th of `weights.inside()`.

    control: non_circuit, at random; layer or matrix, as many of each; quantile, as many of each
             matrix with sizes in the same quantiles of the circuit's sizes there; touching, the same
             among weights with one active end; window, at random with a size within one deviation
             of the mean size of the circuit's
    widen:   take what a matrix lacks from its layer, then from the model, then whatever is nearest
             in size
    returns: (numbers, {level: how many were found there})
    raises:  WeightPoolTooSmall with the numbers
    """
    inside = weights.inside()
    outside = weights.outside()
    if control == "touching":
        outside &= weights.ends == 1
    if control in ("quantile", "touching"):
        return matched(weights, inside, outside, rng, quantiles, WIDEN if widen else WIDEN[:1])
    if control in ("layer", "matrix"):
        # Any size: one bin.
        levels = WIDEN[WIDEN.index(control) :]
        return matched(weights, inside, outside, rng, 1, levels if widen else levels[:1])
    if control == "window":
        sizes = np.abs(weights.values[inside].astype(float))
        low, high = sizes.mean() - sizes.std(), sizes.mean() + sizes.std()
        outside &= (np.abs(weights.values) >= low) & (np.abs(weights.values) <= high)
        where = f"with a size from {max(low, 0):.4g} to {high:.4g} "
    else:
        where = ""
    there = count(outside)
    if there < len(inside):
        raise WeightPoolTooSmall(
            f"the circuit has {len(inside)} weights, and only {there} nonzero weights {where}"
            f"lie outside it, too few for a {control} control: a smaller circuit leaves "
            "more; try other weights.masks.coefficients (lower ones, where training at a high coefficient broke "
            "the task), more weights.masks.steps, or a higher weights.masks.target"
        )
    return small(large_draws.numbers_at(outside, large_draws.some_of(there, len(inside), rng)), len(outside)), {
        "model": len(inside)
    }


def matched(weights, numbers, outside, rng, quantiles, levels):
    """One weight outside for each of the circuit, in the same group and bin of size; see above.

    Bins are cut at the quantiles of the circuit's sizes in each group, from its least to its
    largest.

    numbers: the circuit's weights, in rising order, so that groups lie side by side;  outside: bool [weight]
    """
    found = np.full_like(numbers, -1)
    free, counts = outside.copy(), {}
    for step in levels:
        waiting = np.flatnonzero(found < 0)
        if not len(waiting):
            break
        spans = [weights.span(group, step) for group in weights.groups_of(step)]
        bounds = np.searchsorted(numbers[waiting], [span.start for span in spans] + [len(weights.values)])
        for span, (first, end) in zip(spans, pairwise(bounds), strict=True):
            if first < end:
                fill(weights, numbers, waiting[first:end], free, span, found, quantiles, rng)
        counts[step] = int((found[waiting] >= 0).sum())
    if len(levels) > 1:
        counts["nearest"] = nearest(weights, numbers, found, free, rng)
    short = int((found < 0).sum())
    if short:
        group = weights.groups(numbers[found < 0], levels[-1])[0]
        inside = int((weights.groups(numbers, levels[-1]) == group).sum())
        beside = int(outside[weights.span(group, levels[-1])].sum())
        name = f"matrix {weights.names[group]}" if levels[-1] == "matrix" else f"{levels[-1]} {group}"
        advice = "fewer weights.sweep.quantiles, " if beside >= inside and quantiles > 1 else ""
        raise WeightPoolTooSmall(
            f"{short} of {len(numbers)} weights of the circuit have no counterpart of their size in "
            f"their {levels[-1]}: {name} has {inside} weights of the circuit and {beside} nonzero ones "
            f"outside it; use {advice}weights.sweep.pool_too_small: widen, or a smaller circuit (other "
            "weights.masks.coefficients, a higher weights.masks.target)"
        )
    return found, counts


def fill(weights, numbers, places, free, span, found, quantiles, rng):
    """Draw, in each bin of size, a free weight of the group for each place; what the pool lacks stays -1.

    numbers: the circuit's weights in rising order;  places: of those in the group, rising
    free:    bool [weight];  span: slice of the group's numbers;  found: [place], written to
    """
    sizes = np.abs(weights.values[numbers[places]].astype(float))
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, quantiles + 1)[1:-1]))
    # Far beyond the range of the circuit's sizes nothing is alike.
    low, high = sizes.min() * (1 - BEYOND), sizes.max() * (1 + BEYOND)

    def bins_of(sizes):
        # As searchsorted from the right, in a few passes over what may be millions.
        bins = np.zeros(len(sizes), np.int16)
        for edge in edges:
            bins += sizes >= edge
        return bins

    def bins_outside(pool):
        if quantiles == 1:
            return np.zeros(len(pool), np.int16)
        pool_sizes = np.abs(weights.values[pool].astype(float))
        bins = bins_of(pool_sizes)
        bins[(pool_sizes < low) | (pool_sizes > high)] = -1
        return bins

    bins = bins_of(sizes)

    def of_use(pool):
        return np.isin(bins_outside(pool), np.unique(bins[found[places] < 0]))

    for pool in large_draws.pools_of(free, span, len(places), rng, of_use):
        still = found[places] < 0
        alike = by_bin(pool, bins_outside(pool), len(edges) + 1)
        for wanted, others in zip(by_bin(places[still], bins[still], len(edges) + 1), alike, strict=True):
            drawn = large_draws.first_of(others, len(wanted), rng)
            # Which places go without must not depend on their order in the circuit.
            found[wanted if len(drawn) == len(wanted) else rng.permutation(wanted)[: len(drawn)]] = drawn
            free[drawn] = False
        if (found[places] >= 0).all():
            return


def by_bin(numbers, bins, count):
    """The numbers in each bin, a list.  bins: int [number], -1 for none"""
    order = np.argsort(bins, kind="stable")
    ends = np.searchsorted(bins[order], np.arange(count + 1))
    return [numbers[order[first:end]] for first, end in pairwise(ends)]


def nearest(weights, numbers, found, free, rng):
    """Give each place that is still without one, in random order, the free weight nearest in size; how many."""
    waiting = np.flatnonzero(found < 0)
    if not len(waiting):
        return 0
    pool = near(weights.values, free, np.abs(weights.values[numbers[waiting]]), len(waiting))
    pool = pool[np.argsort(np.abs(weights.values[pool]), kind="stable")]
    sizes, left = np.abs(weights.values[pool]), np.ones(len(pool), dtype=bool)
    for place in rng.permutation(waiting):
        size = abs(weights.values[numbers[place]])
        at = np.searchsorted(sizes, size)
        # Fewer than len(waiting) are taken, so on either side one of so many is left.
        beside = np.arange(max(0, at - len(waiting)), min(len(pool), at + len(waiting)))
        beside = beside[left[beside]]
        if not len(beside):
            break
        best = beside[np.abs(sizes[beside] - size).argmin()]
        found[place], left[best] = pool[best], False
    return int((found[waiting] >= 0).sum())


def near(values, free, sizes, least):
    """The free weights of about some sizes: between the least and the largest, and so many beyond on either side.

    free: bool [weight];  returns: their numbers in order; all free weights where there are not so many beyond
    """
    low, high = float(sizes.min()), float(sizes.max())
    below, above, slack = low, high, BEYOND
    while True:
        parts, under, over = [], 0, 0
        for start in range(0, len(values), large_draws.BLOCK):
            part = np.flatnonzero(free[start : start + large_draws.BLOCK]) + start
            found = np.abs(values[part])
            part = part[(found >= below) & (found <= above)]
            found = np.abs(values[part])
            under, over = under + int((found < low).sum()), over + int((found > high).sum())
            parts.append(part)
        enough_below, enough_above = under >= least or below <= 0, over >= least or above == np.inf
        if enough_below and enough_above:
            return np.concatenate(parts)
        below = below if enough_below else (low * (1 - slack) if slack < 1 else 0.0)
        above = above if enough_above else (high * (1 + slack) if slack < 1 else np.inf)
        slack *= 4
