"""What held-out examples lose when units of any size are removed: components, at all positions or some, whole attention blocks, single neurons."""

import numpy as np

from circuit_reuse.data import components
from circuit_reuse.engine import ablation_values, batching, fine_scores, interventions, models, neurons
from circuit_reuse.engine.prepared import prepared
from circuit_reuse.stats import statistics

# How often a random set is drawn before it is given up that there are more different ones.
ATTEMPTS = 20


class Removal:
    """Held-out examples and what stands for what is removed.

    train: examples that means are taken over;  cfg: replacement, metric, seed;  tokens: of one run, at most
    """

    def __init__(self, model, train, held_out, cfg, tokens):
        self.model, self.train, self.cfg, self.tokens = model, train, cfg, tokens
        self.examples = held_out.reset_index(drop=True)

    def __call__(self, level, sets):
        """Change of the metric of each example, [set, example].

        level: component or block (sets of names), position (sets of (component, role)), or neuron (sets of (layer, neuron))
        """
        found = np.empty((len(sets), len(self.examples)))
        runs = {"neuron": self.of_neurons, "position": self.of_positions}.get(level, self.of_components)
        for batch, before, pieces in runs(sets):
            for places, last in pieces:
                values = models.metric_values(last, *batch.targets(len(places)), self.cfg["metric"])
                change = values.view(len(places), -1) - before
                found[np.ix_(places, batch.rows)] = change.float().cpu().numpy()
        return found

    def of_components(self, sets):
        """Batches, their metrics, and runs without sets of components; a block a5 is all heads of layer 5."""
        names = [self.names(each) for each in sets]
        for batch, base, instead, before in self.ready():
            yield batch, before, interventions.scan(self.model, base, names, instead, self.tokens)

    def of_positions(self, sets):
        """The same without components at the positions of some roles."""
        roles = fine_scores.roles_of(self.examples)
        for batch, base, instead, before in self.ready():
            # After the prefix, which is the same in both prompts.
            here = [roles[row][-base.tokens.shape[1] :] for row in batch.rows]
            yield batch, before, interventions.scan(self.model, base, sets, instead, self.tokens, here)

    def ready(self):
        """Batches, their clean runs, what is put in, and their metrics."""
        parts = prepared(self.model, self.examples, self.train, self.cfg["replacement"], self.tokens, self.cfg["seed"])
        for batch, base, instead in parts:
            yield batch, base, instead, models.metric_values(base.last, *batch.targets(), self.cfg["metric"])

    def names(self, units):
        """The heads and MLPs of a set of components and blocks."""
        heads = self.model.space.heads
        found = [[f"{unit}.h{head}" for head in range(heads)] if is_block(unit) else [unit] for unit in units]
        return [name for each in found for name in each]

    def of_neurons(self, sets):
        """The same without sets of neurons."""
        donor = (
            ablation_values.donors(self.examples, self.cfg["seed"]) if self.cfg["replacement"] == "resample" else None
        )
        mean = self.mean() if self.cfg["replacement"] == "mean" else None
        for batch in batching.batches(self.examples, self.tokens, self.model.device):
            if self.cfg["replacement"] == "corrupt":
                batch = batch.shortened(self.model)
            base, _ = interventions.base(self.model, batch.clean, batch.prefix)
            before = models.metric_values(base.last, *batch.targets(), self.cfg["metric"])
            instead = self.instead(batch, mean, donor)
            yield batch, before, neurons.replaced(self.model, base, sets, instead, self.tokens)

    def instead(self, batch, mean, donor):
        """What stands for the neurons of a batch, by layer, by the kind of replacement."""
        kind = self.cfg["replacement"]
        if kind == "mean":
            return mean[batch.clean.shape[1]]
        if kind == "resample":
            batch = batching.batch_of(self.examples, list(donor[batch.rows]), self.model.device)
            return neurons.values(self.model, batch.clean)
        found = neurons.values(self.model, batch.corrupt, batch.prefix)
        return [value.new_zeros(1, 1, value.shape[-1]) for value in found] if kind == "zero" else found

    def mean(self):
        """Mean of each neuron over the corrupt train prompts of each length, by position: {length: [1, position, neuron] by layer}."""
        sums, counts = {}, {}
        for batch in batching.batches(self.train, self.tokens, self.model.device):
            parts = [value.double().sum(0, keepdim=True) for value in neurons.values(self.model, batch.corrupt)]
            length = batch.corrupt.shape[1]
            before = sums.get(length)
            sums[length] = parts if before is None else [a + b for a, b in zip(before, parts, strict=True)]
            counts[length] = counts.get(length, 0) + len(batch.rows)
        return {length: [(each / counts[length]).float() for each in total] for length, total in sums.items()}


def is_block(unit):
    """Whether a name is that of a whole attention block, a5."""
    return unit.startswith("a") and "." not in unit


def group(level, unit):
    """Units that a random set may exchange: neurons of one layer, heads of one layer, at one role.

    MLPs and attention blocks are exchanged between layers, as each is the only one of its kind in its layer: a random set of the same
    layers would hold the very same ones, and lose all that the shared ones lose.
    """
    if level == "neuron":
        return unit[0]
    if level == "position":
        return group("component", unit[0]), unit[1]
    if level == "block":
        return is_block(unit)
    kind = components.kind(unit)
    return (kind, components.place(unit)[0]) if kind == "head" else (kind,)


def matched_sets(level, chosen, universe, count, rng):
    """Different random sets with as many units of each group as a set has, and not it itself; fewer where there are no more.

    universe: the units that may be drawn
    """
    groups, wanted = {}, {}
    for unit in universe:
        groups.setdefault(group(level, unit), []).append(unit)
    for unit in chosen:
        wanted[group(level, unit)] = wanted.get(group(level, unit), 0) + 1
    found, seen = [], {frozenset(chosen)}
    for _ in range(count * ATTEMPTS):
        drawn = [
            groups[key][place]
            for key, number in wanted.items()
            for place in rng.choice(len(groups[key]), number, replace=False)
        ]
        if frozenset(drawn) not in seen:
            seen.add(frozenset(drawn))
            found.append(drawn)
        if len(found) == count:
            break
    return found


def columns_of(removal, level, drawn, cfg, seed):
    """The columns of the fine_grained table that say what removing sets of units does, by key.

    drawn: {key: (the set, its random sets)};  cfg: bootstrap;  seed: of the intervals
    """
    sets = [each for chosen, random in drawn.values() for each in (chosen, *random)]
    # All in one go: what does not depend on the set is run once.
    change, found = removal(level, sets) if sets else np.empty((0, 0)), {}
    for key, (_, random) in drawn.items():
        mine, change = np.split(change, [1 + len(random)])
        found[key] = columns(removal, mine, cfg, seed)
    return found


def columns(removal, change, cfg, seed):
    """The same of one set; change: [set, example], its own and then those of random sets."""
    low, high = statistics.mean_interval(
        change[0], cfg["bootstrap"], seed, clusters=removal.examples["cluster"].to_numpy(str)
    )
    found = {"effect": float(change[0].mean()), "effect_low": low, "effect_high": high, "n_random": len(change) - 1}
    if len(change) > 1:
        random = change[1:].mean(axis=1)
        ends = map(float, np.percentile(random, [2.5, 97.5]))
        found |= dict(zip(("effect_random_low", "effect_random_high"), ends, strict=True))
        found |= {"effect_random": float(random.mean()), "p_effect": statistics.rank_p(-found["effect"], -random)}
    return found | {"n_held_out": len(removal.examples)}
