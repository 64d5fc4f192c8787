"""Similarity of the circuits of single examples, and the groups that they fall into.

All on arrays, [example, component] or [example, example]; no model and no torch.
"""

import numpy as np


def pairwise_jaccard(member):
    """Jaccard index of every two example circuits, [example, example]."""
    member = member.astype(float)
    both = member @ member.T
    sizes = member.sum(axis=1)
    union = sizes[:, None] + sizes[None, :] - both
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def rank_correlations(scores):
    """Spearman correlation of the absolute scores of every two examples."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(scores), axis=1)
    # An example whose scores are all equal has no ranking: nan in its row and column only.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.atleast_2d(np.corrcoef(ranks))


def clusters(distance, largest=6):
    """Clusters of example circuits by average linkage, as many as fit best.

    distance: [example, example], 1 - Jaccard
    returns:  family of each example from 1, and the order of the leaves
    The number of clusters (1 to `largest`) has the best mean silhouette (Rousseeuw 1987);
    one cluster wins unless some silhouette reaches 0.25, the usual mark of some structure.
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(distance) < 3 or not distance.any():
        return np.ones(len(distance), dtype=int), np.arange(len(distance))
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    best, best_score = np.ones(len(distance), dtype=int), 0.25
    for count in range(2, min(largest, len(distance) - 1) + 1):
        labels = fcluster(tree, count, criterion="maxclust")
        score = silhouette(distance, labels)
        if score > best_score:
            best, best_score = labels, score
    return best, leaves_list(tree)


def silhouette(distance, labels):
    """Mean silhouette of a clustering; 0 for examples alone in their cluster."""
    values = []
    for row, label in enumerate(labels):
        own = labels == label
        if own.sum() == 1:
            values.append(0.0)
            continue
        inside = distance[row, own].sum() / (own.sum() - 1)
        outside = min((distance[row, labels == other].mean() for other in set(labels) - {label}), default=0.0)
        largest = max(inside, outside)
        values.append((outside - inside) / largest if largest else 0.0)
    return float(np.mean(values))


def adjusted_rand(first, second):
    """Adjusted Rand index of two labelings (Hubert & Arabie 1985): 1 same, 0 by chance."""
    first, second = np.unique(first, return_inverse=True)[1], np.unique(second, return_inverse=True)[1]
    table = np.zeros((first.max() + 1, second.max() + 1), dtype=int)
    np.add.at(table, (first, second), 1)

    def pairs(counts):
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    total = len(first) * (len(first) - 1) / 2
    expected = rows * columns / total if total else 0.0
    highest = (rows + columns) / 2
    return 1.0 if highest == expected else (together - expected) / (highest - expected)
