"""Running sums from which differences between two sets of texts are judged; memory does not grow.

Per component, over pairs i of texts with mean activations f_i and s_i, D_i = f_i - s_i:
distance:      length of the mean difference, without the part that noise adds to it,
               U = (|sum D|^2 - sum over c of |sum in c D|^2) / (n^2 - sum n_c^2), its root with its sign
mean_of_norms: mean of |D_i|, as published
Clusters c are pairs that share the words they differ in; each pair is its own where nothing is said.
The null of the distance flips the signs of all D_i of a cluster together, equally likely outcomes if
labels mean nothing.  Draws of the bootstrap give each cluster a Poisson weight instead of drawing it
(Hanley & MacGibbon 2006), which needs no second look at a pair.
"""

import numpy as np
import torch

from circuit_reuse.studies.contrast.texts import FEWEST

# Differences of the same activations between runs of different lengths, relative to their size: less
# counts as none.
ROUNDING = {torch.float32: 1e-5, torch.float16: 5e-4, torch.bfloat16: 4e-3}


class Sums:
    """Running sums of one condition and pool.

    owner:    [dimension], the component that each dimension belongs to;  count: components
    clusters: how many clusters pairs fall into, or None if each pair is its own
    """

    def __init__(self, owner, count, flips, draws, rounding, clusters=None):
        self.owner, self.count, self.rounding = owner, count, rounding
        width, device = len(owner), owner.device
        # Row 0 of each holds the sums as they are.
        self.flipped = torch.zeros(1 + flips, width, device=device)
        self.change = torch.zeros(1 + draws, width, device=device)
        self.first = torch.zeros(1 + draws, width, device=device)
        self.weight, self.own = np.zeros(1 + draws), np.zeros(1 + draws)
        self.distinct = np.zeros(1 + draws)
        # Of clusters: the sum of their differences, their pairs, and their weights in each draw.
        self.sums = None if clusters is None else torch.zeros(clusters, width, device=device)
        self.sizes = np.zeros(clusters or 0)
        self.drawn = np.ones((1 + draws, clusters or 0))
        self.squares = {name: np.zeros((1 + draws, count)) for name in ("change", "first", "second")}
        self.normed = np.zeros((1 + draws, count))
        self.across = np.zeros((1 + flips, count))
        self.quadruples = self.pairs = 0
        self.origin = None

    def by_component(self, values):
        """Sums over the dimensions of each component, [..., component]."""
        zeros = values.new_zeros(*values.shape[:-1], self.count)
        return zeros.index_add(-1, self.owner, values)

    def add(self, first, second, signs, weights, clusters=None, same=None, quadruples=True):
        """Add pairs; returns the norm of each difference, [pair, component].

        first, second: [pair, dimension];  signs: [flip, pair], 1 or -1;  weights: [draw, pair]
        clusters:      [pair], the number of each pair's cluster; signs and weights are the cluster's
        same:          [pair], bool: what is compared is the same by construction
        quadruples:    whether pairs 0 and 1, 2 and 3, ... are compared across, too
        """
        if self.origin is None:
            # Spreads are small beside means: sums about a typical value lose no digits.
            self.origin = first[0].clone()
        first, second = first - self.origin, second - self.origin
        change = first - second
        size = self.by_component((first + self.origin).square()).sqrt()
        norm = self.by_component(change.square()).sqrt()
        nothing = norm <= self.rounding * size
        if same is not None:
            nothing |= torch.as_tensor(same, device=nothing.device)[:, None]
        change = torch.where(nothing[:, self.owner], 0.0, change)
        norm = torch.where(nothing, 0.0, norm)
        second = first - change
        one = np.ones((1, len(first)))
        weights = np.concatenate([one, weights])
        on = torch.as_tensor(weights, dtype=torch.float32, device=first.device)
        signs = np.concatenate([one, signs])
        flips = torch.as_tensor(signs, dtype=torch.float32, device=first.device)
        self.flipped += flips @ change
        self.change += on @ change
        self.first += on @ first
        self.weight += weights.sum(1)
        for name, values in (("first", first), ("second", second)):
            self.squares[name] += weights @ self.by_component(values.square()).double().cpu().numpy()
        if clusters is None:
            self.own += (weights**2).sum(1)
            self.distinct += (weights > 0).sum(1)
            self.squares["change"] += weights**2 @ norm.square().double().cpu().numpy()
        else:
            self.sums.index_add_(0, torch.as_tensor(clusters, device=change.device), change)
            np.add.at(self.sizes, clusters, 1)
            self.drawn[:, clusters] = weights
        norm = norm.double().cpu().numpy()
        self.normed += weights @ norm
        self.pairs += len(norm)
        if quadruples and len(first) > 1:
            self.add_across(first, second, signs)
        return norm

    def add_across(self, first, second, signs):
        """Of pairs (f1, s1), (f2, s2): the mean distance of texts of different sets from different
        pairs, less that of the same set.  Swapping the labels of one of the pairs turns its sign.
        """
        even = len(first) // 2 * 2
        f1, f2, s1, s2 = first[0:even:2], first[1:even:2], second[0:even:2], second[1:even:2]

        def distance(a, b):
            return self.by_component((a - b).square()).sqrt().double().cpu().numpy()

        between = (distance(f1, s2) + distance(s1, f2)) / 2
        within = (distance(f1, f2) + distance(s1, s2)) / 2
        # With both pairs turned, nothing changes.
        self.across += (signs[:, 0:even:2] * signs[:, 1:even:2]) @ (between - within)
        self.quadruples += len(within)

    def spread(self):
        """Within-set variance, mean of both sets, summed over dimensions, [draw, component]."""
        n = self.weight[:, None]
        second = self.first - self.change
        found = 0.0
        for name, total in (("first", self.first), ("second", second)):
            mean = self.by_component(total.double().square()).cpu().numpy()
            found = found + (self.squares[name] - mean / np.maximum(n, 1e-9)) / np.maximum(n - 1, 1e-9)
        return np.maximum(found / 2, 0.0)

    def unit(self, scale):
        """What scores are divided by, [draw, component] or [component]."""
        if scale == "none":
            return np.ones(self.count)
        if scale == "dimension":
            return np.sqrt(np.bincount(self.owner.cpu().numpy(), minlength=self.count))
        spread = np.sqrt(self.spread())
        return np.where(spread > 0, spread, np.nan)

    @property
    def clusters(self):
        """How many clusters the pairs fall into."""
        return self.pairs if self.sums is None else int((self.sizes > 0).sum())

    def within_clusters(self):
        """Of every draw: squared sums of the clusters' own differences, pairs with themselves, clusters."""
        if self.sums is None:
            return self.squares["change"], self.own, self.distinct
        squares = self.by_component(self.sums.double().square()).cpu().numpy()
        there = self.drawn * (self.sizes > 0)
        return there**2 @ squares, there**2 @ self.sizes**2, (there > 0).sum(1)

    def distance(self, scale):
        """(scores [draw, component], row 0 observed; null [flip, component]); see the module.

        nan where a draw has fewer than FEWEST clusters
        """
        own, count, distinct = self.within_clusters()
        total = self.by_component(self.change.double().square()).cpu().numpy()
        room = np.where(distinct >= FEWEST, self.weight**2 - count, np.nan)[:, None]
        unit = self.unit(scale)
        flipped = self.by_component(self.flipped.double().square()).cpu().numpy()
        null = (flipped[1:] - own[0]) / room[0]
        return signed_root((total - own) / room) / unit, signed_root(null) / (unit[0] if unit.ndim == 2 else unit)

    def p_distance(self):
        """One-sided p of the distance by sign flips, [component]."""
        flipped = self.by_component(self.flipped.double().square()).cpu().numpy()
        return ranks(flipped[0], flipped[1:])

    def mean_of_norms(self, scale):
        """Scores [draw, component], row 0 observed."""
        return self.normed / np.maximum(self.weight[:, None], 1e-9) / self.unit(scale)

    def excess(self, scale):
        """Of quadruples: between sets less within them, and its one-sided p, each [component]."""
        unit = self.unit(scale)
        unit = unit[0] if unit.ndim == 2 else unit
        return self.across[0] / max(self.quadruples, 1) / unit, ranks(self.across[0], self.across[1:])


def signed_root(values):
    """Square root that keeps the sign."""
    return np.sign(values) * np.sqrt(np.abs(values))


def ranks(observed, null):
    """(1 + number as large) / (number + 1) for each column; 1 where all are 0."""
    slack = 1e-6 * np.abs(observed)
    return (1 + (null >= observed - slack).sum(0)) / (len(null) + 1)
