"""The sweep: weights removed from the unpruned model, 0 to 100 per cent of the circuit's number.

source: Gao et al. 2025; controls without replacement, among nonzero weights, matched by size
"""

import hashlib

import numpy as np

from circuit_reuse.engine import progress
from circuit_reuse.studies.weights import matrices, outcomes, random_masks, weight_sets


class Sweeper:
    """Outcomes of a model without sets of weights, on fixed examples; each set is run once.

    batches: batching.Batch list;  asked: outcomes.Asked
    tokens:  tokens of one run, at most, but always one copy
    """

    def __init__(self, model, batches, asked, tokens):
        self.model, self.batches, self.asked, self.tokens = model, batches, asked, tokens
        self.bytes = max(m.size for m in matrices.matrices(model)) * model.dtype.itemsize
        # Outcomes by hash of the set: the intact model stands in every plan.
        self.known = {}

    def __call__(self, sets):
        """Outcomes of each set, in their order.  sets: as in matrices.without."""
        keys, unknown = [], {}
        for numbers in sets:
            whole = numbers if numbers.dtype == bool else matrices.rising(numbers)
            keys.append(hashlib.sha256(whole).digest())
            if keys[-1] not in self.known:
                # Not the sorted copy: all sets of a sweep would be there twice.
                unknown[keys[-1]] = numbers

        def run(number, batch, items):
            return matrices.run(self.model, batch.clean, items)

        found = outcomes.evaluate(self.batches, list(unknown.values()), run, self.asked, self.tokens, self.bytes)
        rows = zip(found.loss, found.metric, found.correct, strict=True)
        self.known.update(zip(unknown, rows, strict=True))
        return outcomes.CopyOutcomes(*map(np.stack, zip(*(self.known[key] for key in keys), strict=True)))


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
        order = greatest(gains, mask, most)
        rows += [(condition, 0, share, weight_sets.removed(order, share)) for share in shares]
    return rows


def greatest(gains, mask, most, block=1 << 22):
    """Numbers of the greatest gains where a mask is true, greatest first, at most so many.

    Block by block, so that no list of all numbers is made; equal gains go by their number.
    """
    best = np.empty(0, dtype=np.int64)
    for start in range(0, len(mask), block):
        here = np.flatnonzero(mask[start : start + block]) + start
        if len(best) == most:
            here = here[gains[here] > gains[best[-1]]]
        best = np.concatenate([best, here])
        best = best[np.argsort(-gains[best], kind="stable")][:most]
    return best


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
