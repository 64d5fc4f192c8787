"""The tables of the scaling study under the names and in the columns of the published one."""

import json

import pandas as pd

from circuit_reuse.data.gather import pick
from circuit_reuse.studies.scaling import heroes
from circuit_reuse.studies.scaling.schemas import SIDES

# The published study's names of the replacement columns' tasks: "anti" for anti_repeat.
ALIASES = {"anti_repeat": "anti"}


class Names:
    """How the two tasks are called in columns and classes."""

    def __init__(self, tasks):
        self.tasks = dict(zip(SIDES, tasks, strict=True))
        self.short = {side: ALIASES.get(task, task) for side, task in self.tasks.items()}

    def category(self, name):
        """first_only as ioi_only, second_only as anti_only."""
        side = name.removesuffix("_only")
        return f"{self.short[side]}_only" if side in self.short else name

    def side(self, name):
        """What a head works against, by task: none, ioi, anti or both."""
        return self.short.get(name, name)

    def column(self, name):
        """delta_first_low is called delta_ioi_low in tables for people."""
        for side, task in self.tasks.items():
            name = name.replace(f"_{side}", f"_{task}")
        return name


def joint_csv(heads, names, replacement):
    """The joint table in the columns of the published study: all heads, nothing imputed."""
    mine = pick(heads, split="held_out", replacement=replacement)
    columns = {f"delta_{side}": f"delta_{short}" for side, short in names.short.items()}
    return mine[["family", "model", "layer", "head", *columns]].rename(columns=columns)


def category_csv(heads, names, replacement):
    """Counts and shares of the classes by model, in the published columns and `uncertain`."""
    mine = pick(heads, split="held_out", replacement=replacement)
    rows = []
    order = ("second_only", "first_only", "shared", "weak", "uncertain")
    for (family, model), part in mine.groupby(["family", "model"], sort=False):
        counts = part["category"].value_counts()
        row = {"family": family, "model": model}
        row |= {f"n_{names.category(name)}": int(counts.get(name, 0)) for name in order}
        row |= {f"frac_{names.category(name)}": counts.get(name, 0) / len(part) for name in order}
        rows.append(row)
    return pd.DataFrame(rows)


def heroes_csv(chosen, names):
    """Hero heads in the published columns, with what chose them: rank, train values, intervals.

    delta and strength are those of the held-out split.
    """
    table = chosen.drop(columns=["parameters", "component"]).copy()
    for column in ("category", "category_held_out"):
        table[column] = table[column].map(names.category)
    table["suppressing"] = table["suppressing"].map(names.side)
    short = {f"delta_{side}": f"delta_{name}" for side, name in names.short.items()}
    first = ["family", "model", "category", "layer", "head", *short, "strength"]
    rest = [name for name in table if name not in first]
    return table[[*first, *rest]].rename(columns=short).rename(columns=names.column)


def causal_csv(chosen, trace, names, hub):
    """Traced influence of the heroes in the published columns: v, from clean into corrupt."""
    mine = trace[(trace["part"] == "v") & (trace["direction"] == "restore") & trace["role"].isna()]
    rows = []
    for hero in chosen[~chosen["category"].isin(["weak", "uncertain"])].to_dict("records"):
        row = {
            "family": hero["family"],
            "model": hero["model"],
            "category": names.category(hero["category"]),
            "layer": hero["layer"],
            "head": hero["head"],
            **{f"delta_{names.short[side]}": hero[f"delta_{side}"] for side in SIDES},
            "strength": hero["strength"],
            "hf_name": hub.get(hero["model"]),
        }
        each = {}
        for side, task in names.tasks.items():
            part = pick(mine, task=task, **{name: hero[name] for name in ("model", "layer", "head")})["influence"]
            short = names.short[side]
            row[f"mean_{short}_influence"] = part.mean() if len(part) else None
            each[f"{short}_influences"] = json.dumps([round(float(v), 6) for v in part]) if len(part) else None
        rows.append(row | each)
    columns = ["family", "model", "category", "layer", "head"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def ablation_csv(tests, names):
    """Heroes against random sets in the published columns: baseline, hero, random by matching."""
    keys, rows = ["family", "model"], []
    mine = tests[(tests["ranking"] == heroes.ALL) & tests["problem"].isna()]
    for (family, model), part in mine.groupby(keys, sort=False):
        kinds = [(0, "baseline", "accuracy", "metric")]
        for k in sorted(part["n_heads"].unique()):
            kinds.append((k, "hero", "accuracy_circuit", "effect"))
            kinds += [
                (k, "random" if m == "plain" else f"random_{m}", "accuracy_random", "effect_random")
                for m in part["matching"].unique()
            ]
        for k, kind, accuracy, effect in kinds:
            row = {"family": family, "model": model, "k": int(k), "set_type": kind}
            matching = kind.removeprefix("random_") if kind.startswith("random_") else "plain"
            for side, task in names.tasks.items():
                line = part[part["task"] == task]
                if k:
                    line = line[line["n_heads"] == k]
                if kind.startswith("random"):
                    line = line[line["matching"] == matching]
                if line.empty:
                    continue
                first = line.iloc[0]
                base = 0.0 if effect == "metric" else first["metric"]
                row[f"acc_{names.short[side]}"] = first[accuracy]
                row[f"mean_diff_{names.short[side]}"] = base + first[effect]
            rows.append(row)
    return pd.DataFrame(rows)
