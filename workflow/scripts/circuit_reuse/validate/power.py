"""How often each test rejects where there is something to find."""

import numpy as np
import pandas as pd

from circuit_reuse.stats import statistics
from circuit_reuse.validate.worlds import (
    PERMUTATIONS,
    clopper_pearson,
    label_p,
    paired_outcomes,
    planted_heads,
    planted_test,
    reuse_row,
    stream,
)

SIZES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


def power(datasets=120, seed=0, counts=(16, 64), sizes=SIZES):
    """How often each test rejects at 0.05 when there is an effect.

    returns: rows of test, n_examples, size (standard deviations), n_datasets, share with its interval
    What a standard deviation is of: p_permutation, the differences of examples; p_mcnemar, how
    easy examples are; p_rank, the effects of random sets; the others, the noise of the scores.
    """
    rows = []
    for n in counts:
        for size in sizes:
            for test, found in effect_p_values(datasets, seed, n, size).items():
                share = float(np.mean(np.array(found) <= 0.05 + 1e-12))
                low, high = clopper_pearson(share * len(found), len(found))
                common = {"test": test, "n_examples": n, "size": size, "n_datasets": len(found)}
                rows.append(common | {"share": share, "share_low": low, "share_high": high})
    return pd.DataFrame(rows)


def effect_p_values(datasets, seed, n, size):
    """p-values of every test where there is an effect of a size: {test: [dataset]}."""
    found = {}
    # The same stream for every size, so that curves differ by the size only.
    rng = stream(seed, "power", n)
    numbers = range(datasets)
    found["p_permutation"] = [
        statistics.sign_flip(size + rng.normal(size=n), PERMUTATIONS, number) for number in numbers
    ]
    found["p_mcnemar"] = [statistics.mcnemar(*paired_outcomes(rng, n, 1.0, size)) for _ in numbers]
    rng = stream(seed, "power of rank", n)
    names = [f"{seed} {number}" for number in numbers]
    found["p_rank"] = [planted_test(rng, n, 8, name, size)["p_value"] for name in names]
    rng = stream(seed, "power of labels", n)
    values = [label_p(rng, n, number, variant=size) for number in numbers]
    found["p_variant"] = [value for value in values if value is not None]
    rng = stream(seed, "power of reuse", n)
    mine, theirs = planted_heads(size), planted_heads(size, first=6)
    # The reuse table takes longest, so it gets fewer data sets; two tasks, so that labels of
    # the examples take no time.  At p = 50 a mixture of two tasks may share both circuits.
    rows = [reuse_row(rng, n, name, mine, [theirs] * 2, threshold=0.75) for name in names[: datasets // 4]]
    for test in ("p_reuse", "p_reuse_other"):
        found[test] = [row[test] for row in rows]
    return found
