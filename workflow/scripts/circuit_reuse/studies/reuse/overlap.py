"""How far the circuits of a task's examples are shared, against what chance would share."""

import math

import numpy as np

from circuit_reuse.data import components
from circuit_reuse.stats import circuits, example_similarity, statistics
from circuit_reuse.stats import clusters as grouping

FEWEST_WAYS = 20


def reuse_table(task, scores, names, examples, others, cfg, stream):
    """The reuse table of one task: reuse at p against its nulls.

    scores:   [example, component], train split;  examples: their rows, in the same order
    others:   {task: ([example, component], [example] clusters)} of the model's other tasks
    cfg:      top_k, thresholds, draws, rarefaction
    """
    rows = []
    kinds = [components.kind(name) for name in names]
    for top_k in cfg["top_k"]:
        k = components.resolve_k(top_k, len(names))
        member = circuits.top_k(scores, k)
        rng = circuits.generator(*stream, task, top_k)
        containing, sizes = counted(member, examples["cluster"])
        random_counts = circuits.random_counts(containing, kinds, cfg["draws"], rng)
        other_counts = {other: counted(circuits.top_k(values, k), names) for other, (values, names) in others.items()}
        rare, rare_n = rarefied(member, cfg["rarefaction"], cfg["draws"], rng)
        common = {"task": task, "top_k": float(top_k), "k": k, "n_examples": len(member)}
        common |= {"n_clusters": len(sizes)}
        common |= alike(member, scores, k, examples, cfg["draws"], rng.integers(2**31))
        for threshold in cfg["thresholds"]:
            observed = circuits.reuse(member, threshold, k)

            def share(counts, n, threshold=threshold, k=k):
                needed = np.array([circuits.needed(threshold, each) for each in np.broadcast_to(n, len(counts))])
                return np.minimum((counts >= needed[:, None]).sum(axis=1), k) / k

            null = share(random_counts, len(member))
            other, p_other = against_other_tasks(containing, sizes, other_counts, share, observed, cfg["draws"], rng)
            chosen = circuits.shared_names(member, names, threshold)
            rows.append(
                common
                | {
                    "threshold": float(threshold),
                    "circuit": circuits.circuit_id(chosen),
                    "n_components": len(chosen),
                    "reuse": observed,
                    "reuse_null": float(null.mean()),
                    "reuse_null_high": float(np.percentile(null, 95)),
                    "p_reuse": statistics.rank_p(observed, null),
                    "reuse_other": other,
                    "p_reuse_other": p_other,
                    "reuse_rarefied": float(share(rare, rare_n).mean()),
                }
            )
    return rows


def alike(member, scores, k, examples, draws, seed):
    """How alike the example circuits are, and whether that follows the variant or the template of the prompts."""
    overlap, ranks = example_similarity.pairwise_jaccard(member), example_similarity.rank_correlations(scores)
    upper = np.triu_indices(len(member), 1)
    labels, _ = example_similarity.clusters(1 - overlap)
    variants, templates, clusters = (examples[name].to_numpy() for name in ("variant", "template", "cluster"))
    return {
        "mean_n_components": float(member.sum(axis=1).mean()),
        "share_tied": float(circuits.tied(scores, k).mean()),
        "identifiability": circuits.identifiability(member, scores, k),
        "mean_jaccard": float(overlap[upper].mean()),
        "mean_rank_correlation": mean_of(ranks[upper]),
        "n_circuit_clusters": len(set(labels)),
        "cluster_variant_agreement": example_similarity.adjusted_rand(labels, variants)
        if len(set(variants)) > 1
        else None,
        "p_variant": statistics.label_permutation(overlap, variants, draws, seed, clusters),
        "p_template": statistics.label_permutation(overlap, templates, draws, seed + 1, clusters),
    }


def counted(member, clusters):
    """Examples of each cluster whose circuit holds a component, [cluster, component], and examples of each, [cluster]."""
    return grouping.sums(member, clusters).astype(int), grouping.sums(np.ones(len(member)), clusters).astype(int)


def against_other_tasks(containing, sizes, others, statistic, observed, draws, rng):
    """Whether the examples of a task share more than examples of it and another task mixed.

    containing, sizes, others: of the task, and {task: both} of others; see `counted`
    statistic: function of counts [draw, component] and numbers of examples [draw] that gives reuse
    returns:   (mean reuse of the mixture, p), of the other task with the largest p; None for
               both if the model has no other task, or the tasks have too few clusters
    The labels of the two tasks are permuted, cluster by cluster: of the pooled clusters in random order so many are taken that they
    have about as many examples as the task (reuse falls with their number).  If a circuit is used in both tasks alike, p is uniform.
    """
    found = []
    for other, other_sizes in others.values():
        # With fewer ways to divide the clusters no p could be small.
        if math.comb(len(sizes) + len(other_sizes), len(sizes)) < FEWEST_WAYS:
            continue
        pool, counts = np.concatenate([containing, other]), np.concatenate([sizes, other_sizes])
        order = rng.random((draws, len(pool))).argsort(axis=1)
        so_far = counts[order].cumsum(axis=1)
        enough = np.abs(so_far - sizes.sum()).argmin(axis=1)
        drawn = np.zeros(order.shape, dtype=int)
        np.put_along_axis(drawn, order, (np.arange(len(pool)) <= enough[:, None]).astype(int), axis=1)
        null = statistic(drawn @ pool, drawn @ counts)
        found.append((statistics.rank_p(observed, null), float(null.mean())))
    if not found:
        return None, None
    p_value, mean = max(found)
    return mean, p_value


def rarefied(member, size, draws, rng):
    """Counts over random subsets of `size` examples, so that tasks of different n compare.

    returns: [draw, component] and the size of the subsets (n itself if n is smaller)
    """
    size = min(size, len(member))
    order = rng.random((draws, len(member))).argsort(axis=1)[:, :size]
    return member[order].sum(axis=1), size


def mean_of(values):
    """The mean of the values that are known, None if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
