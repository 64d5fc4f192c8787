"""Three tests of what a circuit is said to be: equivalent to the model, all there is, and no more than is needed.

source: Shi et al. 2024, Hypothesis testing the circuit hypothesis in LLMs
"""

import numpy as np
from scipy import stats

from circuit_reuse.stats import circuits, statistics
from circuit_reuse.stats import clusters as grouping
from circuit_reuse.stats.statistics import plain


def equivalence(circuit, model, resamples=9999, seed=0, clusters=None):
    """(share of examples on which the circuit alone has the larger metric, p of a two-sided sign test that it is a half).

    circuit, model: [example], metrics;  examples without a difference say nothing; p is 1 if none says anything
    clusters:       [example], whose signs are flipped together (resamples times, or all ways) where examples share any
    A small p speaks against equivalence: one of the two is systematically better.
    """
    better, worse = int(np.sum(circuit > model)), int(np.sum(circuit < model))
    if better + worse == 0:
        return 0.5, 1.0
    p_value = statistics.paired_outcomes(circuit > model, circuit < model, resamples, seed, clusters)
    return better / (better + worse), plain(p_value)


def independence(complement, model, draws, seed, clusters=None):
    """(HSIC, permutation p) of the metrics of the model without the circuit and of the whole model, [example] each.

    A small p speaks against the circuit: what is left still knows which examples the model does well on.
    clusters: [example]; where examples share them, their means are compared; p is None for too few
    source: Gretton et al. 2007; Gaussian kernels of the median distance
    """
    few = grouping.too_few(clusters, len(model))
    complement, model = (grouping.means(values, clusters) for values in (complement, model))
    first, second = kernel(complement), kernel(model)
    size = len(first)
    centre = np.eye(size) - 1 / size
    centred = centre @ first @ centre
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(size) for _ in range(draws)]
    observed = float((centred * second).sum()) / size**2
    null = [float((centred * second[np.ix_(order, order)]).sum()) / size**2 for order in orders]
    return observed, None if few else statistics.rank_p(observed, null)


def kernel(values):
    """A Gaussian kernel matrix of numbers, of the width of their median distance."""
    distance = np.abs(values[:, None] - values)
    apart = distance[np.triu_indices(len(values), 1)]
    width = np.median(apart[apart > 0]) if (apart > 0).any() else 1.0
    return np.exp(-((distance / width) ** 2) / 2)


def minimality(change, inflated, quantile):
    """P that a component changes the circuit no more than a share `quantile` of components that do not belong to it.

    change:   mean |change of the metric| as the component is taken from the circuit
    inflated: the same for random components that are added to the circuit and taken from it again
    A large p says that the component may be one that is not needed.
    """
    return float(stats.binomtest(int(np.sum(inflated < change)), len(inflated), quantile, "greater").pvalue)


def tested(runs, names, circuit, cfg, stream):
    """Rows of the hypotheses table for one circuit.

    runs:    removing (function of lists of components to the metric without each, [set, example]), clean (metric of the
             intact model) and clusters of the examples
    names:   all components;  circuit: those of the circuit
    cfg:     inflated (random components), quantile, permutations
    """
    clean, clusters = runs.clean.to_numpy(), runs.clusters.to_numpy()
    outside = [name for name in names if name not in set(circuit)]
    seeds = circuits.seeds(3, *stream, "hypotheses")
    drawn = [str(name) for name in np.random.default_rng(seeds[0]).permutation(outside)[: cfg["inflated"]]]
    sets = [outside, list(circuit)]
    sets += [[*outside, name] for name in circuit]
    sets += [[other for other in outside if other != name] for name in drawn]
    alone, without, *changed = runs.removing(sets)
    changes = [float(np.abs(each - alone).mean()) for each in changed]
    own, inflated = changes[: len(circuit)], np.array(changes[len(circuit) :])
    about = {"n_components": len(circuit), "n_examples": len(clean), "n_clusters": len(set(clusters))}
    share, p_value = equivalence(alone, clean, cfg["permutations"], seeds[2], clusters)
    rows = [about | {"test": "equivalence", "statistic": share, "n_random": 0, "p_value": p_value}]
    hsic, p_value = independence(without, clean, cfg["permutations"], seeds[1], clusters)
    rows.append(
        about | {"test": "independence", "statistic": hsic, "n_random": cfg["permutations"], "p_value": p_value}
    )
    for name, change in zip(circuit, own, strict=True):
        p_value = minimality(change, inflated, cfg["quantile"]) if len(inflated) else None
        row = {"test": "minimality", "component": name, "statistic": change, "n_random": len(inflated)}
        rows.append(about | row | {"p_value": p_value})
    return rows
