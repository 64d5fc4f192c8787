"""Generic importance: does a shared circuit matter for ordinary text too, and what is left of its effect beyond that?"""

import numpy as np

from circuit_reuse.stats import statistics
from circuit_reuse.stats.statistics import clean

# With fewer random sets there is no line through them to speak of.
LEAST = 5


def held_fixed(losses, effects):
    """What of a circuit's effect is left at its loss of ordinary text: (effect left, p).

    losses, effects: rise in loss, and effect on the task, of the circuit first and then of its random sets
    returns: the circuit's effect less that which a line through the random sets gives at its loss, and the rank of its
             residual, from a line through all of them, among those of the sets, one-sided: does it hurt the task more?
             None for both with fewer than LEAST sets
    The line of the p treats the circuit as one of the sets, so that its rank is uniform if it is one.
    """
    losses, effects = np.asarray(losses, dtype=float), np.asarray(effects, dtype=float)
    if len(losses) <= LEAST:
        return None, None
    left = residuals(losses[1:], effects[1:], losses, effects)[0]
    among = residuals(losses, effects, losses, effects)
    return float(left), statistics.rank_p(among[0], among[1:], larger=False)


def residuals(x, y, at_x, at_y):
    """Distance of points from the least-squares line through others."""
    spread = x - x.mean()
    slope = (spread @ y) / (spread @ spread) if spread.any() else 0.0
    return at_y - (y.mean() + slope * (at_x - x.mean()))


def generic_row(intact, removed, effects, cfg, seed):
    """The columns of the generic table for one circuit.

    intact:  [text], loss in nats per token
    removed: [set, text], the same without the circuit (first) and without each of its random sets
    effects: [set], mean effect of the same sets on the task's held-out examples
    cfg:     bootstrap;  seed: of the interval
    """
    change = removed - intact
    means = change.mean(axis=1)
    low, high = statistics.mean_interval(change[0], cfg["bootstrap"], seed)
    left, p_left = held_fixed(means, effects)
    found = {
        "n_texts": len(intact),
        "loss": intact.mean(),
        "loss_change": means[0],
        "loss_change_low": low,
        "loss_change_high": high,
        "n_random": len(means) - 1,
        "loss_change_random": means[1:].mean() if len(means) > 1 else None,
        "p_value": statistics.rank_p(means[0], means[1:]) if len(means) > 1 else None,
        "effect": effects[0],
        "effect_left": left,
        "p_left": p_left,
    }
    return clean(found)
