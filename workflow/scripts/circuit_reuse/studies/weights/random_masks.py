"""Masks of as many nodes as a circuit's: at random, and of the most active nodes.  Only numpy; no model."""

import numpy as np


def strata(sites, degrees, bins=4):
    """Which nodes a random mask may exchange: those of a site with a like number of weights.

    sites:   slices of the sites;  degrees: [node], nonzero weights at each node
    returns: [node], a number for each site and bin; in a dense model each site is one
    """
    found, start = np.zeros(len(degrees), dtype=int), 0
    for part in sites:
        edges = np.unique(np.quantile(degrees[part], np.linspace(0, 1, bins + 1)[1:-1]))
        found[part] = start + np.searchsorted(edges, degrees[part], side="right")
        start = found[part].max() + 1
    return found


def random_mask(active, stratum, rng):
    """A mask with as many active nodes of each stratum, at random.

    active: bool [node];  stratum: [node], as from `strata`
    """
    mask = np.zeros(len(active), dtype=bool)
    for number in np.unique(stratum):
        places = np.flatnonzero(stratum == number)
        mask[rng.choice(places, int(active[places].sum()), replace=False)] = True
    return mask


def most_active(active, sites, activity):
    """The mask of as many nodes at each site as `active` has, those of largest activity.

    activity: [node], standard deviation over the train prompts
    """
    mask = np.zeros(len(active), dtype=bool)
    for part in sites:
        order = np.argsort(-activity[part], kind="stable")
        mask[part.start + order[: int(active[part].sum())]] = True
    return mask
