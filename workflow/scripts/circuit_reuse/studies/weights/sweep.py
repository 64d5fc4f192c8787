"""The sweep: weights removed from the unpruned model, 0 to 100 per cent of the circuit's number.

source: Gao et al. 2025; controls without replacement, among nonzero weights, matched by size
"""

import hashlib

import numpy as np

from circuit_reuse.engine import progress
from circuit_reuse.studies.weights import matrices, outcomes, random_masks, weight_sets

# A model of so many weights is run alone, its weights zeroed in place; copies of smaller ones share a run.
LARGE = 1 << 24


class Sweeper:
    """Outcomes of a model without sets of weights, on fixed examples; each set is run once.

    values:  all weights, as from matrices.flat
    batches: batching.Batch list;  asked: outcomes.Asked
    tokens:  tokens of one run, at most, but always one copy
    """

    def __init__(self, model, values, batches, asked, tokens):
        self.model, self.values, self.batches, self.asked, self.tokens = model, values, batches, asked, tokens
        self.bytes = max(m.size for m in matrices.matrices(model)) * model.dtype.itemsize
        # Outcomes by hash of the set: the intact model stands in every plan.
        self.known = {}

    def __call__(self, sets):
        """Outcomes of each set, in their order.  sets: arrays of numbers of weights, or bool [weight]"""
        in_place = len(self.values) >= LARGE
        keys, together = [], {}
        for numbers in progress.bar(sets, desc="sets of weights", unit="set", quiet=not in_place):
            mask = weight_sets.mask_of(numbers, len(self.values))
            key = hashlib.sha256(np.packbits(mask)).digest()
            keys.append(key)
            if key in self.known:
                continue
            if in_place:
                self.known[key] = tuple(part[0] for part in self.alone(mask))
            else:
                together[key] = numbers
        if together:
            self.known.update(zip(together, zip(*self.in_copies(list(together.values())), strict=True), strict=True))
        return outcomes.CopyOutcomes(*map(np.stack, zip(*(self.known[key] for key in keys), strict=True)))

    def alone(self, mask):
        """Loss, metric and correctness of one set, [1, example]: its weights are zeroed in the model itself."""

        def run(number, batch, items):
            return matrices.run_now(self.model, batch.clean)[None]

        with matrices.cut(self.model, mask, self.values):
            found = outcomes.evaluate(self.batches, [None], run, self.asked, self.tokens)
        return found.loss, found.metric, found.correct

    def in_copies(self, sets):
        """The same of several, [set, example]: each in a copy of the weights, many in one run."""

        def run(number, batch, items):
            return matrices.run(self.model, batch.clean, items)

        found = outcomes.evaluate(self.batches, sets, run, self.asked, self.tokens, self.bytes)
        return found.loss, found.metric, found.correct


def planned(weights, controls, shares, trials, draws, quantiles, widen):
    """What the sweep removes: [(condition, trial, share, numbers)], and how controls were found.

    controls: of weight_sets.CONTROLS;  draws: function of names to a numpy Generator
    returns:  also {control: {level: weights found there, over all trials}} and {condition: all its weights, by trial}
    """
    rows, levels, wholes = [], {}, {}
    inside = weights.inside()
    for trial in range(trials):
        drawn = {"circuit": inside}
        for control in controls:
            drawn[control], found = weight_sets.counterparts(weights, control, draws(control, trial), quantiles, widen)
            for level, count in found.items():
                counted = levels.setdefault(control, {})
                counted[level] = counted.get(level, 0) + count
        # A counterpart goes together with its own.  Whole sets need no order; shares of one are views, not copies.
        if not set(shares) <= {0, 1}:
            order = draws("circuit", trial).permutation(np.arange(len(inside), dtype=np.int32))
            drawn = {condition: numbers[order] for condition, numbers in drawn.items()}
        for condition, numbers in drawn.items():
            rows += [(condition, trial, share, weight_sets.removed(numbers, share)) for share in shares]
            wholes.setdefault(condition, []).append(numbers)
    return rows, levels, wholes


def by_importance(weights, gains, shares):
    """The same for orders by importance: of the circuit's weights, and of as many outside it.

    gains: [weight], what removing each alone would add to the loss, to first order, nats
    """
    rows, most = [], int(weights.circuit.sum())
    pairs = (("circuit_importance", weights.circuit), ("outside_importance", weights.outside()))
    for condition, mask in pairs:
        order = weight_sets.small(greatest(gains, mask, most), len(gains))
        rows += [(condition, 0, share, weight_sets.removed(order, share)) for share in shares]
    return rows


def greatest(gains, mask, most, block=1 << 22):
    """Numbers of the greatest gains where a mask is true, greatest first, at most so many.

    Block by block, so that no list of all numbers is made; equal gains go by their number.
    """
    best, least = np.empty(0, dtype=np.int64), -np.inf
    for start in range(0, len(mask), block):
        here = np.flatnonzero(mask[start : start + block]) + start
        best = np.concatenate([best, here[gains[here] >= least]])
        if len(best) > 2 * most:
            best, least = among_greatest(gains, best, most)
    if len(best) > most:
        best, _ = among_greatest(gains, best, most)
    return best[np.argsort(-gains[best], kind="stable")]


def among_greatest(gains, numbers, most):
    """The numbers of so many greatest gains, in their order, and the least of these gains; of equal ones the first.

    numbers: in rising order, more than `most`
    """
    values = gains[numbers]
    least = np.partition(values, len(values) - most)[len(values) - most]
    chosen = values > least
    chosen[np.flatnonzero(values == least)[: most - int(chosen.sum())]] = True
    return numbers[chosen], least


def circuit(values, found, mask):
    """weight_sets.Weights of a mask.

    values: [weight];  found: matrices.matrices;  mask: bool [node]
    """
    at = matrices.ends(found, mask)
    layers = np.array([matrix.layer for matrix in found])
    names = tuple(f"{matrix.layer}.{matrix.name}" for matrix in found)
    inside = weight_sets.circuit_of(values, at == 2)
    starts = np.array([matrix.start for matrix in found] + [len(values)])
    return weight_sets.Weights(values, starts, layers, inside, at, names)


def random_circuits(values, found, active, sites, count, draws):
    """Circuits of random masks with as many active nodes at each site, of a like number of weights.

    active: bool [node];  sites: slices of the sites;  yields: weight_sets.Weights
    """
    stratum = random_masks.strata(sites, matrices.degrees(found, values, len(active)))
    for number in range(count):
        yield circuit(values, found, random_masks.random_mask(active, stratum, draws("mask", number)))


def sweep_random(sweeper, circuits, controls, shares, trials, draws, quantiles, log):
    """Mean loss of random circuits and of their controls, computed as for the circuit itself.

    A random circuit that leaves too few weights for a control is left out, with a line in the log.
    returns: [{number, condition, trial, share, n_removed, loss}]
    """
    rows = []
    for number, weights in enumerate(progress.bar(circuits, desc="random circuits")):

        def named(*names, number=number):
            return draws("random", number, *names)

        try:
            plan, _, _ = planned(weights, controls, shares, trials, named, quantiles, True)
        except weight_sets.WeightPoolTooSmall as problem:
            log.info("random mask %d is left out: %s", number, problem)
            continue
        found = sweeper([numbers for *_, numbers in plan]).loss.mean(1)
        rows += [
            {
                "number": number,
                "condition": condition,
                "trial": trial,
                "share": float(share),
                "n_removed": len(numbers),
                "loss": float(loss),
            }
            for (condition, trial, share, numbers), loss in zip(plan, found, strict=True)
        ]
    return rows
