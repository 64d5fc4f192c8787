"""Iterative pruning of nodes: take out one component after the other while the score holds.

On a large model a pruning run begins with a first cut: the components of least attribution go at once, as
many as the limit allows.  A pruning run goes through the components in some order and takes each one out for good if the circuit
that is left still scores enough; passes follow until one changes nothing.  What is left depends
on the order, so many pruning runs are made.  A pruning run is a generator that asks for circuits to be run, so
that many pruning runs run side by side, each batch holding a candidate of every one (sequences.evaluator).
No model and no torch here.
"""

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from circuit_reuse.data import components
from circuit_reuse.stats import circuits

SINGLE = ("backward", "forward")
ALTERNATING = ("backward_first", "forward_first")
# From so many components on, trying them one by one from the start costs more than it shows.
MANY = 100
STRATEGIES = (*SINGLE, *ALTERNATING, "attribution", "random")


@dataclass(frozen=True)
class Limit:
    """Which scores a circuit may have, as shares of the full model's.

    threshold: how far from 1
    two_sided: whether a circuit that scores more than 1 + threshold fails too.  One-sided, as
               published, a head that works against the task is taken out, and what that gains
               pays for helpful ones: scores over 1 hide it.
    """

    threshold: float
    two_sided: bool = True

    def holds(self, score):
        """Whether a score is within the limit."""
        return self.distance(score) < self.threshold

    def distance(self, score):
        """How far a score is from where it should be."""
        return abs(1 - score) if self.two_sided else 1 - score


@dataclass
class PruningRun:
    """One pruning.

    strategy: one of STRATEGIES;  order: number of the random order, draw: of the bootstrap draw
    weights:  [example], how often an example counts
    removed:  what is out so far;  after a pruning run `pruned` is the result before components were
              added back
    trace:    [(pass, cut, remove or add, component, score after)] in order; pass 0 is the first cut
    """

    strategy: str
    limit: Limit
    weights: np.ndarray
    order: int | None = None
    draw: int | None = None
    removed: frozenset = frozenset()
    pruned: frozenset | None = None
    score: float = 1.0
    score_pruned: float = 1.0
    passes: int = 0
    candidates: int = 0
    trace: list = field(default_factory=list)

    def scored(self, values, full):
        """Scores of circuits; values: [circuit, example];  full: [example]."""
        self.candidates += len(values)
        return (values @ self.weights) / (full @ self.weights)


def layer_order(names, backward):
    """Layers from the last (in a layer the MLP first) or from the first (heads first).

    source: Lan et al. 2023; within a layer heads always go by their number
    """
    layers = {}
    for name in names:
        layers.setdefault(components.place(name)[0], []).append(name)
    found = []
    for layer in sorted(layers, reverse=backward):
        kinds = {kind: [n for n in layers[layer] if components.kind(n) == kind] for kind in ("head", "mlp")}
        found += kinds["mlp"] + kinds["head"] if backward else kinds["head"] + kinds["mlp"]
    return found


def passes(strategy, names, scores, stream):
    """The order of each pass, without end but for single passes.

    names:  components that may go;  scores: {name: attribution}, least |score| goes first
    stream: names the random stream of a random order
    """
    if strategy in SINGLE:
        yield layer_order(names, strategy == "backward")
        return
    backward = strategy == "backward_first"
    if strategy == "attribution":
        fixed = sorted(names, key=lambda name: (abs(scores[name]), components.order(name)))
    elif strategy == "random":
        fixed = [str(name) for name in circuits.generator(*stream).permutation(names)]
    while True:
        yield layer_order(names, backward) if strategy in ALTERNATING else fixed
        backward = not backward


def wanted_cut(asked, names):
    """Whether pruning runs begin with a first cut: always, never, or auto (of many components)."""
    return asked == "always" or (asked == "auto" and len(names) > MANY)


def steps(pruning_run, orders, full, add_back, first=()):
    """The pruning run as a generator: yields lists of sets to take out, gets [set, example] metrics.

    orders:   iterator of the order of each pass
    full:     [example], metric of the full model
    add_back: whether to try, at the end, to put components back so that others can go
    first:    components for the first cut, least important first; none without one
    """
    if first:
        yield from first_cut(pruning_run, list(first), full)
    yield from prune(pruning_run, orders, full, frozenset())
    pruning_run.pruned, pruning_run.score_pruned = pruning_run.removed, pruning_run.score
    while add_back and pruning_run.removed:
        improved = yield from put_back(pruning_run, orders, full)
        if not improved:
            return


def first_cut(pruning_run, order, full):
    """Take out as many of the first components as the limit allows, found by halving.

    As many is one that holds while one more does not; a larger number may hold again, since scores
    need not fall evenly.  What is left is within the limit, as after every step.
    """
    low, high, score = 0, len(order), pruning_run.score
    while high - low > 1:
        middle = (low + high) // 2
        found = float(pruning_run.scored((yield [frozenset(order[:middle])]), full)[0])
        if pruning_run.limit.holds(found):
            low, score = middle, found
        else:
            high = middle
    pruning_run.removed, pruning_run.score = frozenset(order[:low]), score
    pruning_run.trace += [(0, "cut", name, score) for name in order[:low]]


def prune(pruning_run, orders, full, protected):
    """Passes until one changes nothing; `protected` components are left in."""
    refused = set(protected)
    for order in orders:
        before, pruning_run.passes = pruning_run.removed, pruning_run.passes + 1
        for name in order:
            # What was refused is refused again as long as nothing else goes.
            if name in pruning_run.removed or name in refused:
                continue
            target = pruning_run.removed | {name}
            score = float(pruning_run.scored((yield [target]), full)[0])
            if not pruning_run.limit.holds(score):
                refused.add(name)
                continue
            pruning_run.removed, pruning_run.score, refused = target, score, set(protected)
            pruning_run.trace.append((pruning_run.passes, "remove", name, score))
        if pruning_run.removed == before:
            return


def put_back(pruning_run, orders, full):
    """Put the component back that helps most, and prune on: kept if the circuit gets better.

    Better is smaller, or of the same size and nearer to the full model.  returns: whether it did
    """
    before = pruning_run.removed, pruning_run.score, len(pruning_run.trace), pruning_run.passes
    out = sorted(pruning_run.removed, key=components.order)
    scores = pruning_run.scored((yield [pruning_run.removed - {name} for name in out]), full)
    best = min(range(len(out)), key=lambda n: (pruning_run.limit.distance(float(scores[n])), n))
    if pruning_run.limit.distance(float(scores[best])) >= pruning_run.limit.distance(pruning_run.score) - 1e-8:
        return False
    pruning_run.removed, pruning_run.score = pruning_run.removed - {out[best]}, float(scores[best])
    pruning_run.trace.append((pruning_run.passes, "add", out[best], pruning_run.score))
    yield from prune(pruning_run, orders, full, frozenset({out[best]}))
    smaller = len(pruning_run.removed) - len(before[0])
    if smaller > 0 or (
        smaller == 0 and pruning_run.limit.distance(pruning_run.score) < pruning_run.limit.distance(before[1])
    ):
        return True
    pruning_run.removed, pruning_run.score, pruning_run.passes = before[0], before[1], before[3]
    del pruning_run.trace[before[2] :]
    return False


def planned(cfg, clusters, stream):
    """All pruning runs of a task: every threshold by every strategy, random order and bootstrap draw.

    cfg:    thresholds, two_sided, strategies, random_orders, draws, strategy
    clusters: [example], labels; stream: names the random streams
    Bootstrap draws take clusters of examples with replacement and prune by `strategy`.
    """
    labels, codes = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    pruning_runs, even = [], np.ones(len(codes))
    for threshold in cfg["thresholds"]:
        limit = Limit(threshold, cfg["two_sided"])
        pruning_runs += [PruningRun(strategy, limit, even) for strategy in cfg["strategies"]]
        pruning_runs += [PruningRun("random", limit, even, order=n) for n in range(cfg["random_orders"])]
        for draw in range(cfg["draws"]):
            chosen = circuits.generator(*stream, "draw", draw).integers(len(labels), size=len(labels))
            weights = np.bincount(chosen, minlength=len(labels)).astype(float)[codes]
            pruning_runs.append(PruningRun(cfg["strategy"], limit, weights, draw=draw))
    return pruning_runs


def cost(model, components, pruning_runs, examples, first_cut):
    """What pruning in a model runs, in a sentence, before anything runs.

    components: how many may go, None if the model is not there yet;  pruning_runs: of all tasks
    examples:   prompts that a circuit is run on, at most;  first_cut: as in the config
    """
    if components is None:
        return f"Pruning in {model}: {pruning_runs} pruning runs; the model is not fetched yet, so what they cost is not known."
    text = f"Pruning in {model}: {pruning_runs} pruning runs over {components} components, each circuit run on at most {examples} examples"
    if wanted_cut(first_cut, range(components)):
        cuts = math.ceil(math.log2(components + 1))
        text += f"; a first cut by attribution takes at most {cuts} circuits a pruning run"
    return f"{text}; every pass then runs one circuit for each component that is left, until a pass changes nothing."


def inclusion(pruning_runs, names):
    """How many pruning runs kept each component: rows of the inclusion table.

    Pruning runs by random orders and by bootstrap draws are counted apart, for each threshold.
    """
    from scipy import stats

    groups = {}
    for pruning_run in pruning_runs:
        over = "orders" if pruning_run.order is not None else "draws" if pruning_run.draw is not None else None
        if over:
            groups.setdefault((pruning_run.limit.threshold, over), []).append(pruning_run)
    rows = []
    for (threshold, over), members in groups.items():
        for name in names:
            kept = sum(name not in pruning_run.removed for pruning_run in members)
            low, high = stats.binomtest(kept, len(members)).proportion_ci(method="wilson")
            rows.append(
                {
                    "threshold": threshold,
                    "over": over,
                    "component": name,
                    "n_containing": kept,
                    "n_runs": len(members),
                    "frequency": kept / len(members),
                    "frequency_low": float(low),
                    "frequency_high": float(high),
                }
            )
    return rows


def frequent(rows, threshold, share):
    """Components that at least a share of the pruning runs kept, over orders and draws alike."""
    found = defaultdict(list)
    for row in rows:
        if row["threshold"] == threshold:
            found[row["component"]].append(row["frequency"])
    return [name for name, frequencies in found.items() if np.mean(frequencies) >= share - 1e-9]


def stability(sets):
    """Mean Jaccard index of every two sets; None for fewer than two."""
    found = [circuits.jaccard(*pair) for pair in itertools.combinations(sets, 2)]
    return float(np.mean(found)) if found else None


def pareto_front(seen):
    """Of circuits (size, distance from 1, ...), those that no smaller one comes as near as.

    seen: a list of tuples;  returns: the same tuples, smallest first
    """
    best, found = math.inf, []
    for entry in sorted(seen, key=lambda entry: (entry[0], entry[1])):
        if entry[1] < best:
            best = entry[1]
            found.append(entry)
    return found
