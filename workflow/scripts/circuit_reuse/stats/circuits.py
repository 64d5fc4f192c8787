"""Example circuits, shared circuits, their controls, and how much circuits overlap.

All on arrays of scores, [example, component]; no model and no torch.
"""

import hashlib
import itertools
import math

import numpy as np

from circuit_reuse.data import components

# From so many components on for each that is held, a permutation of all would be mostly of zeros.
SPARSE = 50


class PoolTooSmall(ValueError):
    """There are too few components left for a disjoint control of the same composition."""


def circuit_id(names):
    """A short hash of a set of components; `empty` for none."""
    if not names:
        return "empty"
    text = " ".join(sorted(names, key=components.order))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def top_k(scores, k):
    """Membership of each example's circuit: its k components of largest |score|.

    scores:  [example, component];  returns: bool, the same shape
    A component of score 0 is in no circuit, so one may have fewer than k: components that do nothing would
    otherwise be shared by all examples.  Other ties go to the earlier component, so that the result does not
    depend on the sort; `tied` says where.
    """
    order = np.argsort(-np.abs(scores), axis=1, kind="stable")
    member = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(member, order[:, :k], True, axis=1)
    return member & (scores != 0)


def by_share(scores, share, total=None):
    """Membership of each example's circuit: the components with at least a share of the example's sum of |scores|.

    scores:  [example, component];  total: [example], the sum where components that enter it are not among these
    returns: bool, [example, component]
    source:  Li & Subramani 2026 (score-threshold circuits)
    """
    size = np.abs(scores)
    total = size.sum(axis=1) if total is None else np.asarray(total)
    return (size >= share * total[:, None]) & (size > 0)


def tied(scores, k):
    """Whether a component outside each example's circuit has the |score| of the last one in it, bool [example]."""
    if k >= scores.shape[1]:
        return np.zeros(len(scores), dtype=bool)
    ordered = -np.sort(-np.abs(scores), axis=1)
    return (ordered[:, k - 1] == ordered[:, k]) & (ordered[:, k] > 0)


def needed(threshold, examples):
    """Examples that must hold a component for reuse at `threshold`, a share.

    Rounded before the ceiling, so that 7 per cent of 100 is 7 and not 8.
    """
    return max(1, math.ceil(round(threshold * examples, 9)))


def shared(member, threshold):
    """Which components at least a share `threshold` of the example circuits hold."""
    return member.sum(axis=0) >= needed(threshold, len(member))


def shared_names(member, names, threshold):
    """The names of these components: the shared circuit."""
    return [name for name, there in zip(names, shared(member, threshold), strict=True) if there]


def reuse(member, threshold, k):
    """Reuse at p: min(size of the shared circuit, K) / K."""
    return min(int(shared(member, threshold).sum()), k) / k


def identifiability(member, scores, k):
    """Circuit identifiability: mean inclusion frequency of the k most frequent components.

    Ties in frequency go to the larger mean |score|.
    """
    frequency = member.mean(axis=0)
    order = np.lexsort((-np.abs(scores).mean(axis=0), -frequency))
    return float(frequency[order[:k]].mean())


def generator(*names):
    """A random stream named by its arguments, the same on every machine."""
    text = "/".join(map(str, names))
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed)


def seed(*stream):
    """A seed for a stream, from the names that `generator` takes."""
    return int(generator(*stream).integers(2**31))


def seeds(count, *stream):
    """Several seeds for a stream."""
    return [int(number) for number in generator(*stream).integers(2**31, size=count)]


def random_counts(containing, kinds, draws, rng):
    """How many examples hold each component if the circuits of each cluster were elsewhere: [draw, component].

    containing: [cluster, component], examples of each cluster whose circuit holds the component
    kinds:      of each component
    The components of a kind are permuted, for all examples of a cluster in the same way: circuits keep their numbers of
    heads and MLPs, and those of a cluster stay as alike as they are.
    """
    result = np.zeros((draws, containing.shape[1]), dtype=containing.dtype)
    kinds = np.asarray(kinds)
    for kind in sorted(set(kinds)):
        columns = np.flatnonzero(kinds == kind)
        for mine in containing[:, columns]:
            held = np.flatnonzero(mine)
            if len(columns) < SPARSE * len(held):
                result[:, columns] += mine[rng.random((draws, len(columns))).argsort(axis=1)]
                continue
            # Of very many components few are held: only these are put somewhere else.
            for row in result:
                row[columns[rng.choice(len(columns), len(held), replace=False)]] += mine[held]
    return result


def controls(circuit, space, kinds, count, name, same_layers=False):
    """Random circuits of the same composition as `circuit`, and disjoint from it.

    space:       the components that may be drawn, in order
    count:       how many; if there are no more different ones than that, all of them
    name:        names the random stream
    same_layers: draw as many of each kind from each layer as the circuit has there
    returns:     a list of lists of names, all different, in a random order
    raises:      PoolTooSmall, saying which kind or layer is short
    """
    if not circuit:
        return []
    groups = grouped(circuit, same_layers)
    pools = grouped([c for c in space if c not in circuit and components.kind(c) in kinds], same_layers)
    possible = 1
    for group, members in groups.items():
        pool = pools.get(group, [])
        if len(pool) < len(members):
            where = group[0] + ("s" if len(group) == 1 else f"s of layer {group[1]}")
            raise PoolTooSmall(f"the circuit holds {len(members)} {where} and leaves {len(pool)} for a control")
        possible *= math.comb(len(pool), len(members))
    rng = generator("controls", name)
    if possible <= count:
        choices = [sorted_names(choice) for choice in every(groups, pools)]
        return [choices[place] for place in rng.permutation(len(choices))]
    return drawn(groups, pools, count, rng)


def drawn(groups, pools, count, rng):
    """`count` different sets with as many components of each group as the circuit has."""
    found = {}
    while len(found) < count:
        choice = []
        for group in sorted(groups, key=str):
            pool = pools[group]
            chosen = rng.choice(len(pool), size=len(groups[group]), replace=False)
            choice += [pool[place] for place in sorted(chosen)]
        found.setdefault(tuple(sorted_names(choice)), None)
    return [list(choice) for choice in found]


def random_sets(composition, space, count, name):
    """Random sets of a composition, from all components: what a random circuit would be.

    composition: {kind: number of components}
    space:   all components that circuits may hold
    count:   how many; all there are if there are no more than that
    returns: a list of lists of names, all different
    Unlike `controls` they may overlap with any circuit.  If the circuit were drawn at random
    it would be one of these, so its rank among them is uniform; among sets that avoid it, it
    is not: those can never hold the few components that matter most, once it holds them.
    """
    groups = {(kind,): [None] * number for kind, number in composition.items()}
    return sets_of(groups, grouped(space, False), count, generator("random sets", name, sorted(composition.items())))


def layer_matched_sets(circuit, space, count, name):
    """Random sets with as many heads and MLPs in each layer as a circuit, from all components, never the circuit itself.

    space:   all components that circuits may hold
    count:   how many; all there are if there are no more than that: none where the circuit fills its layers
    returns: a list of lists of names, all different, which may overlap with the circuit
    """
    rng = generator("layer-matched sets", name, circuit_id(circuit))
    return others_than(circuit, grouped(circuit, True), grouped(space, True), count, rng)


def random_halves(count, draws, *stream):
    """Random splits of examples into two halves: (places of the first, places of the second) of each draw.

    count: examples, of which an odd one is left out;  stream: names the random stream
    """
    rng, half = generator("halves", *stream), count // 2
    for _ in range(draws if half else 0):
        order = rng.permutation(count)
        yield order[:half], order[half : 2 * half]


def norm_matched_sets(circuit, space, norms, strata, count, name):
    """Random sets with as many heads and MLPs of each stratum of output norm as a circuit, never the circuit itself.

    norms:   {component: norm of its output};  strata: parts of equal size that each kind is split into by norm
    returns: a list of lists of names, as `layer_matched_sets`
    """
    stratum = {}
    for kind in {components.kind(name) for name in space}:
        mine = sorted((each for each in space if components.kind(each) == kind), key=norms.get)
        stratum |= {each: (kind, rank * strata // len(mine)) for rank, each in enumerate(mine)}

    def by_stratum(names):
        return {key: [each for each in names if stratum[each] == key] for key in map(stratum.get, names)}

    rng = generator("norm-matched sets", name, circuit_id(circuit))
    return others_than(circuit, by_stratum(circuit), by_stratum(space), count, rng)


def others_than(circuit, groups, pools, count, rng):
    """`sets_of` without the circuit itself, which may be among them."""
    found = sets_of(groups, pools, count + 1, rng)
    return [names for names in found if set(names) != set(circuit)][:count]


def sets_of(groups, pools, count, rng):
    """Different sets with as many components of each group as it has members; all there are, if no more than `count`."""
    possible = math.prod(math.comb(len(pools[key]), len(group)) for key, group in groups.items())
    if possible <= count:
        return [sorted_names(choice) for choice in every(groups, pools)]
    return drawn(groups, pools, count, rng)


def composition_of(names):
    """How many components of each kind a circuit holds: {kind: number}."""
    kinds = [components.kind(name) for name in names]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def grouped(names, same_layers):
    """Names by kind, or by kind and layer."""
    groups = {}
    for name in names:
        key = (components.kind(name),)
        if same_layers:
            key += (components.place(name)[0],)
        groups.setdefault(key, []).append(name)
    return groups


def every(groups, pools):
    """All combinations of as many components of each group as the circuit has."""
    keys = sorted(groups, key=str)
    choices = [list(itertools.combinations(pools[key], len(groups[key]))) for key in keys]
    for parts in itertools.product(*choices):
        yield [name for part in parts for name in part]


def sorted_names(names):
    """Component names in the order of the computation."""
    return sorted(names, key=components.order)


def jaccard(first, second):
    """Jaccard index of two sets; 1 for two empty ones."""
    first, second = set(first), set(second)
    union = first | second
    return len(first & second) / len(union) if union else 1.0
