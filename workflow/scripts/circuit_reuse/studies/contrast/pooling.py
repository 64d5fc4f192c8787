"""Which positions of a text are averaged."""

import numpy as np

# all: every position with BOS, as published.  words: without BOS.  start, end: those without BOS that
# both texts of a pair have, counted from the front or from the back.  last: the last position.
# matched: without BOS, in pairs of equal length only.
# Those that do not depend on the other text of the pair.
ALONE = ("all", "words", "last")


def weights(pool, length, other, starts):
    """Weight of each position, [position], summing to 1; None if the pair is left out.

    length, other: tokens of the text and of its partner;  starts: leading BOS tokens
    """
    found, words = np.zeros(length), length - starts
    if pool == "matched" and length != other:
        return None
    if pool == "all":
        found[:] = 1 / length
    elif pool in ("words", "matched"):
        found[starts:] = 1 / words
    elif pool == "last":
        found[-1] = 1
    else:
        shared = min(words, other - starts)
        chosen = slice(starts, starts + shared) if pool == "start" else slice(length - shared, length)
        found[chosen] = 1 / shared
    return found


def by_construction(scoring, condition):
    """Whether a scoring's result under a control is settled before anything is measured.

    A causal model cannot see what comes after the positions compared; norms do not see labels.
    scoring: its settings
    """
    if condition == "shuffled":
        return scoring["score"] == "mean_of_norms"
    return scoring["positions"] == "start" and condition in ("right_truncated", "padded")
