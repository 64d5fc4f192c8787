"""Which weights are removed: orders of the circuit's weights, and controls outside it.

Every draw is a whole order of as many different weights as the circuit has; its first n are what
is removed at n, so 100 per cent of the circuit is the whole circuit, and a control is never drawn
twice nor from zeros.  Only numpy; no model.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from circuit_reuse.data.left_out import LeftOut

CONTROLS = ("non_circuit", "matrix", "quantile", "touching", "window", "layer")
# How far beyond the range of the circuit's sizes in a group a match may lie.
BEYOND = 0.05
WIDEN = ("matrix", "layer", "model")
# From so many weights on, a random order of a whole pool takes most of the time of a draw.
LARGE = 1 << 18
# From so many on, not even their numbers are listed; one of PART of them is drawn first.
HUGE, PART, BLOCK = 1 << 23, 64, 1 << 22


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
        return np.flatnonzero(self.circuit)

    def outside(self):
        """Which weights are nonzero and not the circuit's, bool [weight]."""
        return ~self.circuit & (self.values != 0)

    def groups(self, numbers, level):
        """What the weights are matched within: their matrix, their layer, or all of the model."""
        if level == "model":
            return np.zeros(len(numbers), int)
        matrix = np.searchsorted(self.starts, numbers, side="right") - 1
        return matrix if level == "matrix" else self.layer[matrix]

    def span(self, group, level):
        """The numbers of the weights of a group, as a slice: they lie side by side."""
        if level == "model":
            return slice(0, len(self.values))
        first, end = (group, group + 1) if level == "matrix" else np.searchsorted(self.layer, [group, group + 1])
        return slice(int(self.starts[first]), int(self.starts[end]))


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


def some_of(total, wanted, rng):
    """So many different numbers below a total, in random order."""
    if total < HUGE:
        return rng.choice(total, wanted, replace=False)
    found = np.empty(0, dtype=np.int64)
    while len(found) < wanted:
        drawn = rng.integers(total, size=wanted + wanted // 16 + 1)
        found = np.sort(np.concatenate([found, drawn]))
        found = found[np.diff(found, prepend=-1) > 0]
    return rng.permutation(found)[:wanted]


def numbers_at(mask, places, block=1 << 22):
    """Numbers of the true entries at some places among them, without a list of all.

    mask: bool [weight];  places: [n], below the number of true entries
    """
    totals = np.array([mask[a : a + block].sum() for a in range(0, len(mask), block)])
    ends = np.cumsum(totals)
    blocks = np.searchsorted(ends, places, side="right")
    found = np.empty(len(places), dtype=np.int64)
    for number in np.unique(blocks):
        chosen = blocks == number
        true = np.flatnonzero(mask[number * block : (number + 1) * block]) + number * block
        found[chosen] = true[places[chosen] - (ends[number] - totals[number])]
    return found


def circuit_order(weights, rng):
    """The circuit's weights in a random order."""
    return rng.permutation(weights.inside())


def control_order(weights, order, control, rng, quantiles=10, widen=False):
    """As many weights outside the circuit, the n-th beside the n-th of `order`.

    order:   the circuit's weights in some order
    control: non_circuit, at random; layer or matrix, as many of each; quantile, as many of each
             matrix with sizes in the same quantiles of the circuit's sizes there; touching, the same
             among weights with one active end; window, at random with a size within one deviation
             of the mean size of the circuit's
    widen:   take what a matrix lacks from its layer, then from the model, then whatever is nearest
             in size
    returns: (numbers, {level: how many were found there})
    raises:  WeightPoolTooSmall with the numbers
    """
    outside = weights.outside()
    if control == "touching":
        outside &= weights.ends == 1
    if control in ("quantile", "touching"):
        return matched(weights, order, outside, rng, quantiles, WIDEN if widen else WIDEN[:1])
    if control in ("layer", "matrix"):
        # Any size: one bin.
        levels = WIDEN[WIDEN.index(control) :]
        return matched(weights, order, outside, rng, 1, levels if widen else levels[:1])
    if control == "window":
        sizes = np.abs(weights.values[order].astype(float))
        low, high = sizes.mean() - sizes.std(), sizes.mean() + sizes.std()
        outside &= (np.abs(weights.values) >= low) & (np.abs(weights.values) <= high)
        where = f"with a size from {max(low, 0):.4g} to {high:.4g} "
    else:
        where = ""
    there = count(outside)
    if there < len(order):
        raise WeightPoolTooSmall(
            f"the circuit has {len(order)} weights, and only {there} nonzero weights {where}"
            f"lie outside it, too few for a {control} control: a smaller circuit leaves "
            "more; try other weights.masks.coefficients (lower ones, where training at a high coefficient broke "
            "the task), more weights.masks.steps, or a higher weights.masks.target"
        )
    return numbers_at(outside, some_of(there, len(order), rng)), {"model": len(order)}


def matched(weights, order, outside, rng, quantiles, levels):
    """One weight outside for each of `order`, in the same group and bin of size; see above.

    Bins are cut at the quantiles of the circuit's sizes in each group, from its least to its
    largest.  outside: bool [weight]
    """
    found = np.full(len(order), -1, dtype=np.int64)
    free, counts = outside.copy(), {}
    for step in levels:
        waiting = np.flatnonzero(found < 0)
        if not len(waiting):
            break
        groups = weights.groups(order[waiting], step)
        for group in np.unique(groups):
            fill(weights, order, waiting[groups == group], free, weights.span(group, step), found, quantiles, rng)
        counts[step] = int((found[waiting] >= 0).sum())
    if len(levels) > 1:
        counts["nearest"] = nearest(weights, order, found, free)
    short = int((found < 0).sum())
    if short:
        group = weights.groups(order[found < 0], levels[-1])[0]
        inside = int((weights.groups(order, levels[-1]) == group).sum())
        beside = int(outside[weights.span(group, levels[-1])].sum())
        name = f"matrix {weights.names[group]}" if levels[-1] == "matrix" else f"{levels[-1]} {group}"
        advice = "fewer weights.sweep.quantiles, " if beside >= inside and quantiles > 1 else ""
        raise WeightPoolTooSmall(
            f"{short} of {len(order)} weights of the circuit have no counterpart of their size in "
            f"their {levels[-1]}: {name} has {inside} weights of the circuit and {beside} nonzero ones "
            f"outside it; use {advice}weights.sweep.pool_too_small: widen, or a smaller circuit (other "
            "weights.masks.coefficients, a higher weights.masks.target)"
        )
    return found, counts


def fill(weights, order, places, free, span, found, quantiles, rng):
    """Draw, in each bin of size, a free weight of the group for each place; what the pool lacks stays -1.

    free: bool [weight];  span: slice of the group's numbers
    """
    sizes = np.abs(weights.values[order[places]].astype(float))
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, quantiles + 1)[1:-1]))
    bins = np.searchsorted(edges, sizes, side="right")
    # Far beyond the range of the circuit's sizes nothing is alike.
    low, high = sizes.min() * (1 - BEYOND), sizes.max() * (1 + BEYOND)

    def bins_of(pool):
        found = np.zeros(len(pool), np.int16)
        if quantiles > 1:
            pool_sizes = np.abs(weights.values[pool].astype(float))
            # As searchsorted from the right, in a few passes over what may be millions.
            for edge in edges:
                found += pool_sizes >= edge
            found[(pool_sizes < low) | (pool_sizes > high)] = -1
        return found

    def of_use(pool):
        return np.isin(bins_of(pool), np.unique(bins[found[places] < 0]))

    for pool in pools_of(free, span, rng, of_use):
        pool_bins = bins_of(pool)
        by_bin = np.argsort(pool_bins, kind="stable")
        ends = np.searchsorted(pool_bins[by_bin], np.arange(len(edges) + 2))
        for number in np.unique(bins):
            wanted = places[(bins == number) & (found[places] < 0)]
            alike = pool[by_bin[ends[number] : ends[number + 1]]]
            drawn = first_of(alike, len(wanted), rng)
            # Which places go without must not depend on their order in the circuit.
            found[rng.permutation(wanted)[: len(drawn)]] = drawn
            free[drawn] = False
        if (found[places] >= 0).all():
            return


def pools_of(free, span, rng, of_use):
    """The free weights of a group: of very many a random part first, which most often has enough.

    of_use: function of numbers of weights to bool, those of a size that is still looked for
    """
    there = count(free[span])
    if there < HUGE:
        yield np.flatnonzero(free[span]) + span.start
        return
    yield numbers_at(free[span], np.sort(some_of(there, there // PART, rng))) + span.start
    parts = []
    for start in range(span.start, span.stop, BLOCK):
        part = np.flatnonzero(free[start : min(start + BLOCK, span.stop)]) + start
        parts.append(part[of_use(part)])
    yield np.concatenate(parts)


def first_of(pool, wanted, rng):
    """The first so many of a pool in random order; of a large pool without an order of all of it."""
    if len(pool) < LARGE:
        return rng.permutation(pool)[:wanted]
    return rng.choice(pool, min(wanted, len(pool)), replace=False)


def nearest(weights, order, found, free):
    """Give each place that is still without one the free weight nearest in size; how many."""
    waiting = np.flatnonzero(found < 0)
    if not len(waiting):
        return 0
    pool = near(weights.values, free, np.abs(weights.values[order[waiting]]), len(waiting))
    pool = pool[np.argsort(np.abs(weights.values[pool]), kind="stable")]
    sizes, left = np.abs(weights.values[pool]), np.ones(len(pool), dtype=bool)
    for place in waiting:
        size = abs(weights.values[order[place]])
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
        for start in range(0, len(values), BLOCK):
            part = np.flatnonzero(free[start : start + BLOCK]) + start
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


def strata(sites, degrees, bins=4):
    """Which nodes a random mask may exchange: those of a site with a like number of weights.

    sites:   slices of the sites;  degrees: [node], nonzero weights at each node
    returns: [node], a number for each site and bin; in a dense model each site is one
    """
    found, start = np.zeros(len(degrees), dtype=int), 0
    for part in sites:
        edges = np.unique(np.quantile(degrees[part], np.linspace(0, 1, bins + 1)[1:-1]))
        found[part] = start + np.searchsorted(edges, degrees[part], side="right")
        start = found[part].max() + 1
    return found


def random_mask(active, stratum, rng):
    """A mask with as many active nodes of each stratum, at random.

    active: bool [node];  stratum: [node], as from `strata`
    """
    mask = np.zeros(len(active), dtype=bool)
    for number in np.unique(stratum):
        places = np.flatnonzero(stratum == number)
        mask[rng.choice(places, int(active[places].sum()), replace=False)] = True
    return mask


def most_active(active, sites, activity):
    """The mask of as many nodes at each site as `active` has, those of largest activity.

    activity: [node], standard deviation over the train prompts
    """
    mask = np.zeros(len(active), dtype=bool)
    for part in sites:
        order = np.argsort(-activity[part], kind="stable")
        mask[part.start + order[: int(active[part].sum())]] = True
    return mask
