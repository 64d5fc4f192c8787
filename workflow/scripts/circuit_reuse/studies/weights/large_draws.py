"""Random weights of many: drawn block by block, in the order of memory, without lists of all of them.  Only numpy."""

import numpy as np

# From so many weights on, a random order of a whole pool takes most of the time of a draw.
LARGE = 1 << 14
# Of so many on, only a random part is listed at first, of about MORE times as many as are wanted.
LISTED, MORE, BLOCK = 1 << 16, 6, 1 << 22


def some_of(total, wanted, rng, block=1 << 16):
    """So many different numbers below a total, in rising order, every such set equally likely.

    Block by block, as a draw from millions at once mostly waits for memory: each number is in with the same probability, a bit
    too high, and of those that are in the surplus is taken out at random.
    """
    sizes = np.diff(np.append(np.arange(0, total, block), total))
    share = wanted / total if total else 0
    share += 6 * np.sqrt(share * (1 - share) / max(total, 1))
    counts = rng.binomial(sizes, min(1, share))
    while counts.sum() < wanted:
        counts = rng.binomial(sizes, min(1, share))
    found = [
        np.sort(rng.choice(size, count, replace=False, shuffle=False)) + number * block
        for number, (size, count) in enumerate(zip(sizes, counts, strict=True))
    ]
    found = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    return np.delete(found, rng.choice(len(found), len(found) - wanted, replace=False))


def numbers_at(mask, places, block=1 << 22):
    """Numbers of the true entries at some places among them, without a list of all.

    mask: bool [weight];  places: [n], below the number of true entries, in rising order
    """
    parts, before = [], 0
    for start in range(0, len(mask), block):
        true = np.flatnonzero(mask[start : start + block])
        first, end = np.searchsorted(places, [before, before + len(true)])
        parts.append(true[places[first:end] - before] + start)
        before += len(true)
    return np.concatenate(parts)


def pools_of(free, span, wanted, rng, of_use):
    """The free weights of a group: of many more than are wanted a random part first, which most often has enough.

    of_use: function of numbers of weights to bool, those of a size that is still looked for
    """
    there = int(free[span].sum())
    if there < LISTED or 2 * MORE * wanted > there:
        yield np.flatnonzero(free[span]) + span.start
        return
    # A weight is in it if its random byte is below the limit, so any set of weights is as likely to be in as another of its size.
    limit = -(-256 * MORE * wanted // there)
    blocks = [slice(start, min(start + BLOCK, span.stop)) for start in range(span.start, span.stop, BLOCK)]
    yield np.concatenate([some_free(free, block, rng, limit) for block in blocks])
    every = (np.flatnonzero(free[block]) + block.start for block in blocks)
    yield np.concatenate([numbers[of_use(numbers)] for numbers in every])


def some_free(free, block, rng, limit):
    """Numbers of the free weights of a slice, each with a probability of limit / 256."""
    chosen = rng.integers(256, size=block.stop - block.start, dtype=np.uint8) < limit
    chosen &= free[block]
    return np.flatnonzero(chosen) + block.start


def first_of(pool, wanted, rng):
    """So many of a pool at random, in random order; of a large pool in no order of meaning, which takes a fraction of the time."""
    if len(pool) < LARGE:
        return rng.permutation(pool)[:wanted]
    return rng.choice(pool, min(wanted, len(pool)), replace=False, shuffle=False)
