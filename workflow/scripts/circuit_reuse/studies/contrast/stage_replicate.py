"""Comparisons of circuits, with one another and with published ones, passed or failed.

Thresholds are those of the config.  Beside the comparisons that are asked for stand those that show
what they are worth: circuits of two halves of the same texts, and of texts without the difference.
"""

import numpy as np
import pandas as pd

from circuit_reuse.data import circuit_files, fingerprint, gather, tables
from circuit_reuse.data.components import Space
from circuit_reuse.report import pages
from circuit_reuse.stats import circuits, similarity, statistics
from circuit_reuse.stats.testing import Outcomes, faithfulness_of, has_gap
from circuit_reuse.studies.contrast import budget, schemas, stage_choose, verdict

COLUMNS = ["pair", "kind", "statistic", "value", "value_low", "value_high", "threshold", "passes"]
# What a circuit must keep for its faithfulness to be compared.
KEEPS = 0.1


class Absent(Exception):
    """A circuit that this run did not make: a control with too few pairs, a set without a behaviour."""


def report(job):
    """Write the statistics, the components side by side, and the verdict."""
    cfg = job.cfg
    world = World(job.input, cfg)
    rows, beside = [], []
    for name, kind, first, second in pairs(cfg):
        try:
            mine = compare(world, kind, first, second, cfg)
        except Absent:
            job.log.info("%s: one of the two circuits is not there", name)
            continue
        about = {"pair": name, "kind": kind}
        rows += [about | row for row in mine]
        a, b = (world.circuit(side) for side in (first, second))
        beside += [about | row for row in similarity.side_by_side(a, b, a.shape)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    job.write_csvs({"replicate": table, "replicate_components": pd.DataFrame(beside)}, schemas.CSVS)
    pages.write(job, verdict.text(table, cfg))
    job.log.info("%d comparisons", table["pair"].nunique())


def pairs(cfg):
    """All comparisons: [(name, kind, first, second)]; a side is a file's name or a dict of a run's circuit.

    kinds: given (asked for in the config), halves, control (real and without a difference), scorings
    """
    found = [(name, "given", pair["first"], pair["second"]) for name, pair in cfg["pairs"].items()]
    scorings = cfg["scoring_names"]
    for model in cfg["models"]:
        for name in cfg["sets"]:
            one = {"model": model, "set": name}
            for scoring in scorings:
                title, mine = f"{name}, {model}: {scoring}", one | {"scoring": scoring}
                halves = [mine | {"condition": f"half_{half}"} for half in (1, 2)]
                found.append((f"{title}, two halves", "halves", *halves))
                found += [
                    (f"{title}, {control}", "control", mine, mine | {"condition": control})
                    for control in cfg["controls"]
                ]
            others = [*scorings[1:], cfg["attribution"]]
            found += [
                (
                    f"{name}, {model}: {scorings[0]} and {other}",
                    "scorings",
                    one | {"scoring": scorings[0]},
                    one | {"scoring": other},
                )
                for other in others
            ]
    return found


class World:
    """Circuits of files and of the run, by name or by where they come from."""

    def __init__(self, input, cfg):
        self.cfg = cfg
        self.spaces = {model: fingerprint.space_of(about) for model, about in gather.described(input.about).items()}
        self.circuits = gather.rows(input.circuits, schemas.CONTRAST_CIRCUITS)
        self.scores = gather.rows(input.scores, schemas.DRAWS)
        self.effects = gather.one_by(input.effects, "model", "set")
        self.outcomes, self.chosen, self.read = {}, {}, {}

    def full(self, side):
        """A side with all that it leaves open filled in."""
        cfg = self.cfg
        found = {
            "model": cfg["models"][0],
            "set": cfg["sets"][0],
            "condition": "real",
            "scoring": cfg["scoring_names"][0],
        } | side
        rules = cfg["scorings"].get(found["scoring"], {"rules": ["knapsack"]})["rules"]
        found = {"rule": rules[0]} | found
        return {key: found[key] for key in ("model", "set", "scoring", "rule", "condition")}

    def rows(self, side):
        """Rows of the scores table of a side."""
        return gather.pick(self.scores, **columns_of(side))

    def row(self, side):
        """The row of the circuits table of a side at the main budget.

        raises: Absent if there is none
        """
        found = gather.pick(self.circuits, main=True, rule=side["rule"], **columns_of(side))
        if found.empty:
            raise Absent(str(side))
        return found.iloc[0]

    def circuit(self, side):
        """A circuit_files.Circuit with its shape."""
        key = str(side)
        if key not in self.read:
            self.read[key] = self.made(side)
        return self.read[key]

    def made(self, side):
        """The circuit of a file, or of the run's tables."""
        if isinstance(side, str):
            each = self.cfg["circuits"][side]
            shape = Space(**each["shape"]) if each.get("shape") else None
            if shape is None and each["models"]:
                shape = self.spaces[each["models"][0]]
            return circuit_files.read(each["file"], shape, each.get("keep"))
        side = self.full(side)
        scores = self.rows(side)
        known = dict(zip(scores["component"].astype(str), scores["score"].astype(float), strict=True))
        known.pop("input", None)
        return stage_choose.as_file(self.row(side), known, self.spaces[side["model"]], {})

    def drawn(self, side, key):
        """Circuits of a side, a list of sets; None for a file.

        key: score_draws (of the bootstrap) or score_null (flips of labels)
        """
        if isinstance(side, str):
            return None
        side = self.full(side)
        if (known := (key, *side.values())) in self.chosen:
            return self.chosen[known]
        space = self.spaces[side["model"]]
        rows = self.rows(side).assign(component=lambda frame: frame["component"].astype(str))
        rows = rows[np.isfinite(rows["score"].astype(float))].set_index("component")
        names = [name for name in space.of_kinds() if name in rows.index]
        values = np.stack(rows.loc[names, key]).T
        threshold = self.cfg["scorings"].get(side["scoring"], {}).get("mlp_threshold")
        at = budget.resolve(self.cfg["budget"], space)
        self.chosen[known] = budget.in_draws(values, names, side["rule"], space, at, threshold)
        return self.chosen[known]

    def kept(self, side, other):
        """Metric of a circuit alone, of nothing and of everything, [3, example]; None if not measured.

        other: the other side, on whose model and set a circuit of a file is looked for
        """
        if isinstance(side, str):
            if isinstance(other, str):
                return None
            where = self.full(other)
            found = gather.pick(self.circuits, model=where["model"], set=where["set"], scored_by="file", rule=side)
            if found.empty:
                return None
            key, circuit = (where["model"], where["set"]), found["circuit"].iloc[0]
        else:
            where = self.full(side)
            key, circuit = (where["model"], where["set"]), self.row(where)["circuit"]
        if key not in self.effects:
            return None
        if key not in self.outcomes:
            self.outcomes[key] = Outcomes(tables.read(self.effects[key], tables.EFFECTS))
        outcomes = self.outcomes[key]
        kept = outcomes.circuit(circuit, "keep", "metric")
        return kept, outcomes.circuit("empty", "keep", "metric"), outcomes.baseline("metric")


def columns_of(side):
    """What a side is called in the columns of the scores and circuits tables."""
    return {"scored_by": side["scoring"]} | {name: side[name] for name in ("model", "set", "condition")}


def compare(world, kind, first, second, cfg):
    """Rows of one comparison: every statistic with its bounds, threshold and whether it passes.

    raises: Absent if one of the circuits is not there, ValueError for models of two shapes
    """
    a, b = world.circuit(first), world.circuit(second)
    if a.shape != b.shape:
        raise ValueError(f"circuits of models of two shapes cannot be compared: {a.shape}, {b.shape}")
    values, bounds = similarity.compare(a, b, a.shape, cfg["persistence"])
    drawn = jaccards(world, first, second, "score_draws")
    if drawn is not None:
        bounds["jaccard"] = tuple(map(float, np.percentile(drawn, [2.5, 97.5])))
    if kind == "halves":
        flipped = jaccards(world, first, second, "score_null")
        values["jaccard_labels"] = float(flipped.mean())
        values["p_labels"] = statistics.rank_p(values["jaccard"], flipped)
    if not same_units(world, first, second):
        values |= {name: float("nan") for name in ("score_difference", "score_difference_largest")}
    for ending, side, other in (("first", first, second), ("second", second, first)):
        kept = world.kept(side, other)
        # Where the intact model is no better than the empty circuit, a share of the way between them means nothing.
        known = kept is not None and has_gap(*kept[1:])
        values[f"faithfulness_{ending}"] = float(faithfulness_of(*kept, axis=0)) if known else float("nan")
    both = values["faithfulness_first"], values["faithfulness_second"]
    # Two circuits that keep nothing do not agree on anything.
    values["faithfulness_difference"] = abs(both[0] - both[1]) if max(both) >= KEEPS else float("nan")
    rows = []
    for name, value in values.items():
        threshold = cfg["thresholds"].get(name)
        low, high = bounds.get(name, (None, None))
        known = np.isfinite(value)
        passes = None
        if threshold is not None and known:
            passes = bool(value <= threshold if name in verdict.AT_MOST else value >= threshold)
        rows.append(
            {
                "statistic": name,
                "value": value if known else None,
                "value_low": low,
                "value_high": high,
                "threshold": threshold,
                "passes": passes,
            }
        )
    return rows


def same_units(world, first, second):
    """Whether scores are in the same units: both of files, or of one scoring."""
    if isinstance(first, str) or isinstance(second, str):
        return isinstance(first, str) and isinstance(second, str)
    return world.full(first)["scoring"] == world.full(second)["scoring"]


def jaccards(world, first, second, key):
    """Jaccard index of the circuits of each draw of both sides, [draw]; None for files.

    Draws of two comparisons have nothing to do with one another, so any order will do.
    """
    sides = [world.drawn(side, key) for side in (first, second)]
    if None in sides or not all(sides):
        return None
    return np.array([circuits.jaccard(a, b) for a, b in zip(*sides, strict=False)])
