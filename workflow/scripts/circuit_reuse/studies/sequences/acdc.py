"""ACDC: edges of a circuit are removed one after the other, from the logits back, as long as the score holds.

source: Conmy et al. 2023.  The change is of the score, a share of the full model's metric, in place of the KL divergence, and
an edge that is removed carries the replacement of the study.
"""

import numpy as np

# Removals that are tried at once, each with all before it; those after the first that fails are tried again.
AHEAD = 16


def removal_order(names, readers, table):
    """Rows of the table of edges in the order of removal: readers from the logits back, of each the latest writer first.

    names, readers: of writers and readers, in the order of computation;  table: writer, reader
    """
    written = {name: place for place, name in enumerate(names)}
    read = {name: place for place, name in enumerate(readers)}
    keys = [(read[r], written[w]) for w, r in zip(table["writer"], table["reader"], strict=True)]
    return sorted(range(len(keys)), key=lambda row: keys[row], reverse=True)


def kept_edges(score_of, order, limit, ahead=AHEAD, step=None):
    """Which edges are left when each is removed that lowers the score by less than a limit: [edge] bool.

    score_of: {[set, edge] bool: [set] score};  order: edges in the order in which they are tried
    limit:    greatest loss by one edge
    ahead:    how many removals are run at once; the outcome does not depend on it
    step:     called with the number of edges that were decided
    """
    kept = np.ones(len(order), dtype=bool)
    score, start = float(score_of(kept[None])[0]), 0
    while start < len(order):
        tried = order[start : start + ahead]
        sets = np.repeat(kept[None], len(tried), axis=0)
        for place, edge in enumerate(tried):
            sets[place:, edge] = False
        scores, decided = score_of(sets), 0
        for place, found in enumerate(scores):
            decided += 1
            if not score - found < limit:
                break
            kept, score = sets[place], float(found)
        start += decided
        if step:
            step(decided)
    return kept
