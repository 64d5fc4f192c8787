"""Iterative pruning of nodes: take out one component after the other while the score holds.

On a large model a walk begins with a first cut: the components of least attribution go at once, as
many as the limit allows.  A walk goes through the components in some order and takes each one out for good if the circuit
that is left still scores enough; passes follow until one changes nothing.  What is left depends
on the order, so many walks are made.  A walk is a generator that asks for circuits to be run, so
that many walks run side by side, each batch holding a candidate of every one (sequences.keeping).
No model and no torch here.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from circuit_reuse import circuits, components

SINGLE = ("backward", "forward")
ALTERNATING = ("backward_first", "forward_first")
# From so many components on, trying them one by one from the start takes longer than it tells.
MANY = 100
STRATEGIES = (*SINGLE, *ALTERNATING, "attribution", "random")


@dataclass(frozen=True)
class Limit:
    """Which scores a circuit may have, per cent of the full model's.

    points:    how far from 100
    two_sided: whether a circuit that scores more than 100 + points fails too.  One-sided, as
               published, a head that works against the task is taken out, and what that gains
               pays for helpful ones: scores over 100 hide it.
    """

    points: float
    two_sided: bool = True

    def holds(self, score):
        """Whether a score is within the limit."""
        return self.distance(score) < self.points

    def distance(self, score):
        """How far a score is from where it should be, in points."""
        return abs(100 - score) if self.two_sided else 100 - score


@dataclass
class Walk:
    """One pruning.

    strategy: one of STRATEGIES;  order: number of the random order, draw: of the bootstrap draw
    weights:  [example], how often an example counts
    removed:  what is out so far;  after a walk `pruned` is the result before components were
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
    score: float = 100.0
    score_pruned: float = 100.0
    passes: int = 0
    candidates: int = 0
    trace: list = field(default_factory=list)

    def scored(self, values, full):
        """Scores of circuits in per cent; values: [circuit, example];  full: [example]."""
        self.candidates += len(values)
        return 100.0 * (values @ self.weights) / (full @ self.weights)


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
    """Whether walks begin with a first cut: always, never, or auto (of many components)."""
    return asked == "always" or (asked == "auto" and len(names) > MANY)


def steps(walk, orders, full, add_back, first=()):
    """The walk as a generator: yields lists of sets to take out, gets [set, example] metrics.

    orders:   iterator of the order of each pass
    full:     [example], metric of the full model
    add_back: whether to try, at the end, to put components back so that others can go
    first:    components for the first cut, least important first; none without one
    """
    if first:
        yield from first_cut(walk, list(first), full)
    yield from prune(walk, orders, full, frozenset())
    walk.pruned, walk.score_pruned = walk.removed, walk.score
    while add_back and walk.removed:
        improved = yield from put_back(walk, orders, full)
        if not improved:
            return


def first_cut(walk, order, full):
    """Take out as many of the first components as the limit allows, found by halving.

    As many is one that holds while one more does not; a larger number may hold again, since scores
    need not fall evenly.  What is left is within the limit, as after every step.
    """
    low, high, score = 0, len(order), walk.score
    while high - low > 1:
        middle = (low + high) // 2
        found = float(walk.scored((yield [frozenset(order[:middle])]), full)[0])
        if walk.limit.holds(found):
            low, score = middle, found
        else:
            high = middle
    walk.removed, walk.score = frozenset(order[:low]), score
    walk.trace += [(0, "cut", name, score) for name in order[:low]]


def prune(walk, orders, full, protected):
    """Passes until one changes nothing; `protected` components are left in."""
    refused = set(protected)
    for order in orders:
        before, walk.passes = walk.removed, walk.passes + 1
        for name in order:
            # What was refused is refused again as long as nothing else goes.
            if name in walk.removed or name in refused:
                continue
            target = walk.removed | {name}
            score = float(walk.scored((yield [target]), full)[0])
            if not walk.limit.holds(score):
                refused.add(name)
                continue
            walk.removed, walk.score, refused = target, score, set(protected)
            walk.trace.append((walk.passes, "remove", name, score))
        if walk.removed == before:
            return


def put_back(walk, orders, full):
    """Put the component back that helps most, and prune on: kept if the circuit gets better.

    Better is smaller, or of the same size and nearer to the full model.  returns: whether it did
    """
    before = walk.removed, walk.score, len(walk.trace), walk.passes
    out = sorted(walk.removed, key=components.order)
    scores = walk.scored((yield [walk.removed - {name} for name in out]), full)
    best = min(range(len(out)), key=lambda n: (walk.limit.distance(float(scores[n])), n))
    if walk.limit.distance(float(scores[best])) >= walk.limit.distance(walk.score) - 1e-6:
        return False
    walk.removed, walk.score = walk.removed - {out[best]}, float(scores[best])
    walk.trace.append((walk.passes, "add", out[best], walk.score))
    yield from prune(walk, orders, full, frozenset({out[best]}))
    smaller = len(walk.removed) - len(before[0])
    if smaller > 0 or (smaller == 0 and walk.limit.distance(walk.score) < walk.limit.distance(before[1])):
        return True
    walk.removed, walk.score, walk.passes = before[0], before[1], before[3]
    del walk.trace[before[2] :]
    return False


def planned(cfg, count, stream):
    """All walks of a task: every threshold by every strategy, random order and bootstrap draw.

    cfg:    thresholds, two_sided, strategies, random_orders, draws, strategy
    count:  examples
    stream: names the random streams
    Bootstrap draws take the examples with replacement and prune by `strategy`.
    """
    walks, even = [], np.ones(count)
    for points in cfg["thresholds"]:
        limit = Limit(points, cfg["two_sided"])
        walks += [Walk(strategy, limit, even) for strategy in cfg["strategies"]]
        walks += [Walk("random", limit, even, order=n) for n in range(cfg["random_orders"])]
        for draw in range(cfg["draws"]):
            chosen = circuits.generator(*stream, "draw", draw).integers(count, size=count)
            weights = np.bincount(chosen, minlength=count).astype(float)
            walks.append(Walk(cfg["strategy"], limit, weights, draw=draw))
    return walks


def cost(model, components, walks, examples, first_cut):
    """What pruning in a model runs, in a sentence, before anything runs.

    components: how many may go, None if the model is not there yet;  walks: of all tasks
    examples:   prompts that a circuit is run on, at most;  first_cut: as in the config
    """
    if components is None:
        return f"Pruning in {model}: {walks} walks; the model is not fetched yet, so what they cost is not known."
    text = f"Pruning in {model}: {walks} walks over {components} components, each circuit run on at most {examples} examples"
    if wanted_cut(first_cut, range(components)):
        cuts = math.ceil(math.log2(components + 1))
        text += f"; a first cut by attribution takes at most {cuts} circuits a walk"
    return f"{text}; every pass then runs one circuit for each component that is left, until a pass changes nothing."


def inclusion(walks, names):
    """How many walks kept each component: rows of the inclusion table.

    Walks by random orders and by bootstrap draws are counted apart, for each threshold.
    """
    from scipy import stats

    groups = {}
    for walk in walks:
        over = "orders" if walk.order is not None else "draws" if walk.draw is not None else None
        if over:
            groups.setdefault((walk.limit.points, over), []).append(walk)
    rows = []
    for (points, over), members in groups.items():
        for name in names:
            kept = sum(name not in walk.removed for walk in members)
            low, high = stats.binomtest(kept, len(members)).proportion_ci(method="wilson")
            rows.append(
                {
                    "threshold": points,
                    "over": over,
                    "component": name,
                    "count": kept,
                    "n": len(members),
                    "frequency": kept / len(members),
                    "low": float(low),
                    "high": float(high),
                }
            )
    return rows


def frequent(rows, points, share):
    """Components that at least a share of the walks kept, over orders and draws alike."""
    mine = [row for row in rows if row["threshold"] == points]
    over = sorted({row["over"] for row in mine})
    names = list(dict.fromkeys(row["component"] for row in mine))
    means = {name: np.mean([row["frequency"] for row in mine if row["component"] == name]) for name in names}
    return [name for name in names if over and means[name] >= share - 1e-9]


def stability(sets):
    """Mean Jaccard index of every two sets; None for fewer than two."""
    found = []
    for n, first in enumerate(sets):
        found += [circuits.jaccard(first, second) for second in sets[n + 1 :]]
    return float(np.mean(found)) if found else None


def frontier(seen):
    """Of circuits (size, distance from 100, ...), those that no smaller one comes as near as.

    seen: a list of tuples;  returns: the same tuples, smallest first
    """
    best, found = math.inf, []
    for entry in sorted(seen, key=lambda entry: (entry[0], entry[1])):
        if entry[1] < best:
            best = entry[1]
            found.append(entry)
    return found
