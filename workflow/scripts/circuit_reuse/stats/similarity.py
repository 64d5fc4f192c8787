"""How alike two circuits are, and how alike they would be by chance.

No model and no torch.  A circuit is a circuit_files.Circuit: its nodes in their order, with scores
where there are any.
"""

import numpy as np
from scipy import stats

from circuit_reuse.data import components
from circuit_reuse.stats import circuits

# The kinds in which circuits are compared; all components together, heads, MLPs.
KINDS = ("all", "head", "mlp")


def shared_at_random(first, second, names, stratum):
    """Probabilities of 0, 1, 2, ... shared components if the second set is drawn within strata.

    stratum: function of a name; in each, as many are drawn as the second set has there
    """
    found = np.ones(1)
    for group in sorted({stratum(name) for name in names}):
        there, marked, drawn = (sum(stratum(name) == group for name in listed) for listed in (names, first, second))
        counts = np.arange(min(marked, drawn) + 1)
        found = np.convolve(found, stats.hypergeom(there, marked, drawn).pmf(counts))
    return found


def overlap(first, second, names):
    """How much two sets of components share, against drawing them at random from `names`.

    p_value: P(as many shared or more) if the second set were any of its size (hypergeometric)
    p_layers: the same if it had as many heads, and as many MLPs, in each layer as it has.  Circuits
    of any task fill the first layers and hold the MLPs, so that only this one speaks of more than
    where circuits lie.
    """
    common = set(first) & set(second)
    whole = shared_at_random(first, second, names, lambda name: 0)
    layers = shared_at_random(first, second, names, layer_and_kind)
    return {
        "n_first": len(first),
        "n_second": len(second),
        "n_total": len(names),
        "n_shared": len(common),
        "n_shared_null": float(whole @ np.arange(len(whole))),
        "n_shared_null_layers": float(layers @ np.arange(len(layers))),
        "jaccard": circuits.jaccard(first, second),
        "p_value": min(1.0, float(whole[len(common) :].sum())),
        "p_layers": min(1.0, float(layers[len(common) :].sum())),
        "components": circuits.sorted_names(common),
    }


def beside_layers(first, second, names):
    """What two sets share, beside random sets with as many components of each kind in each layer as the second has.

    names:   the components that sets may hold
    returns: n_shared, n_shared_null, jaccard and jaccard_null (None where both are empty), and p_value, P(as many
             shared or more), None where the overlap cannot vary
    """
    shared = len(set(first) & set(second))
    probability = shared_at_random(first, second, names, layer_and_kind)
    at = np.arange(len(probability))
    union = np.maximum(len(first) + len(second) - at, 1)
    some = bool(first or second)
    return {
        "n_shared": shared,
        "n_shared_null": float(probability @ at),
        "jaccard": circuits.jaccard(first, second) if some else None,
        "jaccard_null": float(probability @ (at / union)) if some else None,
        "p_value": min(1.0, float(probability[shared:].sum())) if varies(probability) else None,
    }


def layer_and_kind(name):
    """The stratum of a component: its layer and whether it is a head."""
    return components.place(name)[0], components.kind(name)


def chance(first, second, space):
    """The overlap of a circuit with random ones of the other's composition (as many heads, as many MLPs).

    The input is in a circuit by rule, not by choice, so it is left out of p; where both hold it,
    it counts as shared in the Jaccard index, as it does in the observed one.
    returns: a dict: shared (expected), jaccard (expected, low, high: 2.5 and 97.5 per cent), p_value
             (nan where size-matched random circuits could not overlap more or less)
    """
    names = space.of_kinds()
    mine, other = ([name for name in each if name != "input"] for each in (first, second))
    both = int("input" in first and "input" in second)
    probability = shared_at_random(mine, other, names, components.kind)
    shared = np.arange(len(probability)) + both
    union = len(set(first)) + len(set(second)) - shared
    jaccard = np.where(union > 0, shared / np.maximum(union, 1), 1.0)
    tail, cumulative = len(set(mine) & set(other)), np.cumsum(probability)
    low, high = (float(jaccard[min(np.searchsorted(cumulative, q), len(jaccard) - 1)]) for q in (0.025, 0.975))
    return {
        "shared": float(probability @ shared),
        "jaccard": float(probability @ jaccard),
        "jaccard_low": low,
        "jaccard_high": high,
        "p_value": min(1.0, float(probability[tail:].sum())) if varies(probability) else float("nan"),
    }


def varies(probability):
    """Whether an overlap of these probabilities can be more than one number; 1 less rounding is certain."""
    return bool(probability.max() < 1 - 1e-9)


def beyond_chance(first, second, space):
    """What two circuits share beyond chance, as a share of the most they could: 0 by chance, 1 for one
    within the other; nan where the overlap cannot vary.  Chance is that of their compositions, as in `chance`.
    """
    mine, other = ([name for name in each if name != "input"] for each in (first, second))
    probability = shared_at_random(mine, other, space.of_kinds(), components.kind)
    expected, most = float(probability @ np.arange(len(probability))), len(probability) - 1
    if not varies(probability):
        return float("nan")
    return (len(set(mine) & set(other)) - expected) / (most - expected)


def rank_biased_overlap(first, second, persistence=0.95):
    """Rank-biased overlap of two ranked lists, extrapolated beyond their ends.

    persistence: how far down a reader goes; the first 1 / (1 - persistence) ranks weigh most
    returns:     0 for nothing in common, 1 for the same lists
    source:      Webber, Moffat & Zobel 2010, equation 32
    """
    short, long = sorted((list(first), list(second)), key=len)
    few, many, p = len(short), len(long), persistence
    if not few:
        return 1.0 if not many else 0.0
    agree = [len(set(short[:d]) & set(long[:d])) for d in range(1, many + 1)]
    at_short, at_long = agree[few - 1], agree[many - 1]
    total = sum(agree[d - 1] / d * p**d for d in range(1, many + 1))
    total += sum(at_short * (d - few) / (few * d) * p**d for d in range(few + 1, many + 1))
    rest = ((at_long - at_short) / many + at_short / few) * p**many
    return float((1 - p) / p * total + rest)


def rank_correlation(first, second):
    """Spearman correlation over the components that have a score in both; nan for fewer than 3.

    first, second: {component: score}
    """
    both = [name for name in first if name in second]
    if len(both) < 3:
        return float("nan"), len(both)
    a, b = ([scores[name] for name in both] for scores in (first, second))
    if len(set(a)) == 1 or len(set(b)) == 1:
        return float("nan"), len(both)
    return float(stats.spearmanr(a, b).statistic), len(both)


def margin(circuit, kind):
    """How clearly a circuit ends: the lowest score in it less the highest outside, of one kind.

    returns: the difference as a share of the lowest score in it; nan where scores are missing
    """
    inside = [s for n, s in circuit.nodes.items() if s is not None and components.kind(n) == kind]
    outside = [s for n, s in circuit.outside.items() if components.kind(n) == kind]
    if not inside or not outside or min(inside) == 0:
        return float("nan")
    return float((min(inside) - max(outside)) / abs(min(inside)))


def compare(first, second, space, persistence=0.95):
    """What two circuits share, as {statistic: value}, and (low, high) of those that have bounds.

    first, second: circuit_files.Circuit
    returns:       (values, bounds)
    """
    a, b = list(first.nodes), list(second.nodes)
    values = {"n_components_first": len(a), "n_components_second": len(b)}
    for kind in KINDS:
        mine, other = ({name for name in each if kind in ("all", components.kind(name))} for each in (a, b))
        ending = "" if kind == "all" else f"_{kind}s"
        if kind != "all":
            values |= {f"n_{kind}s_first": len(mine), f"n_{kind}s_second": len(other)}
        values |= {
            f"n_shared{ending}": len(mine & other),
            f"overlap{ending}": len(mine & other) / len(mine) if mine else float("nan"),
            f"jaccard{ending}": circuits.jaccard(mine, other),
        }
    by_chance = chance(a, b, space)
    heads = shared_at_random(
        *([n for n in each if components.kind(n) == "head"] for each in (a, b)),
        space.of_kinds(["head"]),
        components.kind,
    )
    inside = [[name for name in each if name != "input"] for each in (a, b)]
    values |= {
        "n_shared_null": by_chance["shared"],
        "n_shared_heads_null": float(heads @ np.arange(len(heads))),
        "jaccard_null": by_chance["jaccard"],
        "beyond_chance": beyond_chance(a, b, space),
        "p_overlap": by_chance["p_value"],
        "p_overlap_layers": overlap(*inside, space.of_kinds())["p_layers"],
    }
    values |= {f"cost_{side}": sum(map(space.write_cost, each)) for side, each in (("first", a), ("second", b))}
    values |= ranks(first, second, persistence)
    if first.edges is not None and second.edges is not None:
        values |= {
            "n_edges_first": len(first.edges),
            "n_edges_second": len(second.edges),
            "n_shared_edges": len(set(first.edges) & set(second.edges)),
            "jaccard_edges": circuits.jaccard(first.edges, second.edges),
        }
    return values, {"jaccard_null": (by_chance["jaccard_low"], by_chance["jaccard_high"])}


def ranks(first, second, persistence):
    """Statistics of order and score; those that a file does not allow are nan."""
    found, ordered = {}, first.ranked and second.ranked
    for kind in ("head", "mlp"):
        a, b = ([n for n in each.nodes if components.kind(n) == kind] for each in (first, second))
        if kind == "head":
            top = len(set(a[:5]) & set(b[:5]))
            found["n_shared_top_5_heads"] = top if ordered else float("nan")
        else:
            found["same_mlp_order"] = float(a == b) if ordered else float("nan")
            found["same_mlps"] = float(set(a) == set(b))
        for side, circuit in (("first", first), ("second", second)):
            found[f"margin_{kind}s_{side}"] = margin(circuit, kind)
    a, b = ([name for name in each.nodes if name != "input"] for each in (first, second))
    found["rank_biased_overlap"] = rank_biased_overlap(a, b, persistence) if ordered else float("nan")
    found["rank_correlation"], found["n_scored_in_both"] = rank_correlation(first.scores, second.scores)
    differences = relative(first.scores, second.scores)
    found["score_difference"] = float(np.median(list(differences.values()))) if differences else float("nan")
    found["score_difference_largest"] = max(differences.values(), default=float("nan"))
    return found


def relative(first, second):
    """|difference| of each component's scores as a share of the first, where both have one."""
    return {name: abs(second[name] - score) / abs(score) for name, score in first.items() if name in second and score}


def side_by_side(first, second, space):
    """Rows of every component that is in either circuit or scored in both: ranks and scores."""
    rows = []
    places = [{name: rank for rank, name in enumerate(each.nodes, 1)} for each in (first, second)]
    for name in space.names:
        scores = [each.scores.get(name) for each in (first, second)]
        inside = [name in each.nodes for each in (first, second)]
        if not any(inside) and None in scores:
            continue
        rows.append(
            {
                "component": name,
                "in_first": inside[0],
                "in_second": inside[1],
                "rank_first": places[0].get(name) if first.ranked else None,
                "rank_second": places[1].get(name) if second.ranked else None,
                "score_first": scores[0],
                "score_second": scores[1],
            }
        )
    return rows
