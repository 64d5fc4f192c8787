"""Which head does which task: effects with intervals, false discovery rates, classes.

Everything works on arrays over heads, for two tasks that are called first and second.
"""

import numpy as np
import pandas as pd

from circuit_reuse.data import components
from circuit_reuse.stats import mean_tests, statistics
from circuit_reuse.studies.scaling.head_effects import matrix, units
from circuit_reuse.studies.scaling.schemas import HEADS, SIDES

CATEGORIES = ("first_only", "second_only", "shared", "weak", "uncertain")
UNITS = ("base", "logits", "standard_errors")


def plain(first, second, tau):
    """The plain rule: |effect| of at least tau in one task, in both, or in none.

    first, second: [head] effects;  returns: [head] of CATEGORIES; uncertain where one is nan
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    in_first, in_second = np.abs(first) >= tau, np.abs(second) >= tau
    found = np.select([in_first & in_second, in_first, in_second], ["shared", "first_only", "second_only"], "weak")
    return np.where(np.isnan(first) | np.isnan(second), "uncertain", found)


def states(effect, q_value, q_absent, tau, alpha):
    """Whether each head matters in a task, as far as the examples can show.

    returns: [head]; strong: |effect| >= tau, and q <= alpha that it is 0; absent: |effect| < tau, and
             q <= alpha that it is tau or more; unclear: all else, the missing too
    """
    strong = (np.abs(effect) >= tau) & (q_value <= alpha)
    absent = (np.abs(effect) < tau) & (q_absent <= alpha)
    return np.select([strong, absent], ["strong", "absent"], "unclear")


def combined(first, second):
    """Classes of heads from their states in both tasks; a class needs certainty in both."""
    first, second = np.asarray(first), np.asarray(second)
    known = (first != "unclear") & (second != "unclear")
    return np.select(
        [(first == "strong") & (second == "strong"), known & (first == "strong"), known & (second == "strong"), known],
        ["shared", "first_only", "second_only", "weak"],
        "uncertain",
    )


def scale_of(unit, base, low, se):
    """What a delta is divided by to be in the units of tau; nan where that makes no sense.

    base, low: mean intact metric and the lower end of its interval, numbers;  se: [head]
    """
    if unit == "base":
        # A share of what may be nothing is no share.
        return np.full(se.shape, base if low > 0 else np.nan)
    return np.ones(se.shape) if unit == "logits" else np.where(se > 0, se, np.nan)


def one_task(table, split, replacement, unit):
    """Columns of the heads table for one task, {name: [head]}, and the heads' names."""
    deltas, few, names, count = units(table, split, replacement)
    if not names:
        return None, []
    bases = units(table, split, replacement, "base")[0][:, :1]
    base = mean_tests.means(bases, few)
    norms, _ = matrix(table, split, replacement, "output_norm")
    found = mean_tests.means(deltas, few)
    scale = scale_of(unit, float(base["mean"][0]), float(base["low"][0]), found["se"])
    whole = np.ones(len(names))
    return {
        "n_examples": np.full(len(names), count),
        "n_clusters": np.full(len(names), len(deltas)),
        "base": whole * base["mean"],
        "base_standard_error": whole * base["se"],
        "base_low": whole * base["low"],
        "base_high": whole * base["high"],
        "delta": found["mean"],
        "delta_standard_error": found["se"],
        "delta_low": found["low"],
        "delta_high": found["high"],
        "effect": found["mean"] / scale,
        "scale": scale,
        # Nothing is shown by too few clusters.
        "units": (deltas[:0] if few else deltas, bases[:, 0]),
        "delta_skewness": found["skewness"],
        "p_value": found["p"],
        "output_norm": norms.mean(axis=0),
    }, names


def heads_table(scans, space, replacements, cfg):
    """The heads table of one model: one row a split, replacement and head; all heads kept.

    scans: (scan table of the first task, of the second)
    cfg:   tau, unit, alpha
    """
    names = space.of_kinds(["head"])
    parts = []
    for split in ("train", "held_out"):
        for replacement in replacements:
            found = []
            for table in scans:
                columns, present = one_task(table, split, replacement, cfg["unit"])
                if present and present != names:
                    raise ValueError(f"the scan holds {len(present)} heads, not {len(names)}")
                found.append(columns)
            parts.append(classified(found, names, space.layers, cfg).assign(split=split, replacement=replacement))
    return pd.concat(parts, ignore_index=True)[HEADS.names]


def classified(found, names, layers, cfg):
    """Rows of the heads table from the columns of both tasks (None where there are none)."""
    missing = np.full(len(names), np.nan)
    nothing = dict.fromkeys([*NUMBERS, "scale"], missing) | {"units": (np.empty((0, len(names))), np.empty(0))}
    found = [columns or nothing for columns in found]
    for columns in found:
        columns["p_absent"] = known_absent(columns, cfg["tau"], cfg["unit"])
    q_values, q_absents = (of_both([columns[name] for columns in found]) for name in ("p_value", "p_absent"))
    places = [components.place(name) for name in names]
    frame = pd.DataFrame({"component": names})
    frame["layer"], frame["head"] = zip(*places, strict=True)
    frame["depth"] = frame["layer"] / layers
    state, against = [], []
    for side, columns, q_value, q_absent in zip(SIDES, found, q_values, q_absents, strict=True):
        for name in NUMBERS:
            frame[of_task(name, side)] = columns[name]
        frame[f"q_value_{side}"], frame[f"q_absent_{side}"] = q_value, q_absent
        state.append(states(columns["effect"], q_value, q_absent, cfg["tau"], cfg["alpha"]))
        frame[f"state_{side}"] = state[-1]
        against.append((state[-1] == "strong") & (columns["delta"] > 0))
    frame["strength"] = frame["effect_first"].abs() + frame["effect_second"].abs()
    frame["category"] = combined(*state)
    frame["category_effect"] = plain(frame["effect_first"], frame["effect_second"], cfg["tau"])
    frame["suppressing"] = np.select(
        [against[0] & against[1], against[0], against[1]], ["both", "first", "second"], "none"
    )
    return frame


def known_absent(columns, tau, unit):
    """absent_p of a task's heads, nan where an effect in the units of tau makes no sense.  columns: as from `one_task`"""
    return np.where(np.isnan(columns["effect"]), np.nan, mean_tests.absent_p(*columns["units"], tau, unit))


NUMBERS = (
    "n_examples n_clusters base base_standard_error base_low base_high delta delta_standard_error delta_low delta_high "
    "delta_skewness effect p_value p_absent output_norm"
).split()


def of_task(name, side):
    """The column of a value of one task: delta_low of the first is delta_first_low."""
    for end in ("_standard_error", "_low", "_high"):
        if name.endswith(end):
            return f"{name.removesuffix(end)}_{side}{end}"
    return f"{name}_{side}"


def of_both(p_values):
    """Benjamini-Hochberg q of the heads of both tasks of a model, which are one family."""
    return np.split(statistics.false_discovery(np.concatenate(p_values)), 2)


def sweep(heads, scans, replacement, cfg):
    """Rows of the sweep table: how many heads each class holds at each tau, on the held-out split.

    heads: rows of the heads table of one replacement and that split;  scans: as in `heads_table`
    cfg:   taus, unit, alpha
    """
    rows, alpha = [], cfg["alpha"]
    effects = [heads[f"effect_{side}"].to_numpy(float) for side in SIDES]
    found = [one_task(table, "held_out", replacement, cfg["unit"])[0] for table in scans]
    for tau in cfg["taus"]:
        absent = [
            np.full(len(heads), np.nan) if columns is None else known_absent(columns, tau, cfg["unit"])
            for columns in found
        ]
        state = [
            states(effect, heads[f"q_value_{side}"].to_numpy(float), q_absent, tau, alpha)
            for side, effect, q_absent in zip(SIDES, effects, of_both(absent), strict=True)
        ]
        by_both = combined(*state)
        by_effect = plain(heads["effect_first"], heads["effect_second"], tau)
        rows += [
            {
                "tau": float(tau),
                "category": category,
                "n_heads": int((by_both == category).sum()),
                "n_heads_effect": int((by_effect == category).sum()),
            }
            for category in CATEGORIES
        ]
    return rows
