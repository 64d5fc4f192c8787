"""The tables of the scaling study over all models, in our columns and in the known ones."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse import components, fingerprint, statistics, tables
from circuit_reuse.scaling import fits, heroes, known, schemas, transfer
from circuit_reuse.scaling.model import scans_of
from circuit_reuse.scaling.trends import clean


def of_models(paths, schema, about):
    """The rows of one table of all models, with family, model and parameters in front."""
    parts = []
    for path in map(Path, paths):
        model = path.parts[-3]
        frame = tables.read(path, schema)
        for place, name in enumerate(("family", "model", "parameters")):
            frame.insert(place, name, about[model][name])
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def describe(paths, cfg):
    """{model: description}, with the family of the config if it names one."""
    found = {}
    for path in map(Path, paths):
        model = path.parts[-2]
        about = fingerprint.read_description(path) | {"model": model}
        about["family"] = cfg["families"].get(model) or about["family"]
        found[model] = about
    return found


def heads_csv(heads, names):
    """heads.csv: every head of every model under every replacement, on the held-out split."""
    held_out = heads[heads["split"] == "held_out"].drop(columns="split")
    first = ["family", "model", "parameters", "layer", "head", "depth", "replacement"]
    table = held_out[[*first, *(name for name in held_out if name not in first)]].copy()
    for column in ("category", "category_effect"):
        table[column] = table[column].map(names.category)
    table["suppressing"] = table["suppressing"].map(names.side)
    return table.rename(columns=names.column)


def tracing_csv(trace):
    """Mean influence by model, task, direction, part and position, with t intervals.

    share is the mean influence over the mean gap between the clean and the corrupt metric.
    """
    keys = ["family", "model", "task", "direction", "part", "layer", "head", "role"]
    grouped = trace.groupby(keys, dropna=False, sort=False)
    table = grouped.agg(
        n=("influence", "size"), influence=("influence", "mean"), se=("influence", "sem"), gap=("gap", "mean")
    ).reset_index()
    half = stats.t.ppf(0.975, (table["n"] - 1).clip(lower=1)) * table["se"]
    table["low"], table["high"] = table["influence"] - half, table["influence"] + half
    table["share"] = table["influence"] / table["gap"]
    return table


def influence_csv(tracing, heads, replacement):
    """Rank correlation over heads of strength (train scan) and size of traced influence.

    Intervals are Fisher's, on ranks.  Where the scan replaces heads by their corrupt output, tracing
    z from corrupt into clean is the same intervention: `same` marks it, a reliability and no finding.
    returns: one row a model, task, direction and part, and one over all models, in which heads
             count by their rank within their model
    """
    train = heads[(heads["split"] == "train") & (heads["replacement"] == replacement)]
    whole = tracing[tracing["head"].notna() & tracing["role"].isna()]
    merged = whole.merge(train[["model", "layer", "head", "strength"]].dropna(), on=["model", "layer", "head"])
    merged["size"] = merged["influence"].abs()
    for column in ("strength", "size"):
        ranks = merged.groupby(["model", "task", "direction", "part"])[column].rank(pct=True)
        merged[f"{column}_rank"] = ranks
    rows = []
    keys = ["task", "direction", "part"]
    for label, columns in (("model", ["strength", "size"]), ("all", ["strength_rank", "size_rank"])):
        by = ["model", *keys] if label == "model" else keys
        for values, part in merged.groupby(by, sort=False):
            row = dict(zip(by, values, strict=True)) | {"heads": len(part)}
            row["model"] = row.get("model", "all")
            row["same"] = replacement == "corrupt" and (row["part"], row["direction"]) == ("z", "corrupt")
            first, second = (part[name].to_numpy(float) for name in columns)
            if len(part) > 3 and np.ptp(first) > 0 and np.ptp(second) > 0:
                found = stats.pearsonr(stats.rankdata(first), stats.rankdata(second))
                low, high = found.confidence_interval()
                row |= {"correlation": found.statistic, "low": low, "high": high, "p_value": found.pvalue}
            rows.append(clean(row))
    table = pd.DataFrame(rows)
    if "p_value" in table:
        table["q_value"] = statistics.false_discovery(table["p_value"].astype(float))
    return table


def hero_tests(paths, sets, about, cfg):
    """hero_vs_random.csv over all models and tasks, with false discovery rates."""
    parts = []
    for path in map(Path, paths):
        model, task = path.parts[-4], path.parts[-2]
        mine = sets[sets["model"] == model]
        rows = heroes.hero_tests(tables.read(path, tables.EFFECTS), mine, cfg, (cfg["seed"], model, task))
        frame = pd.DataFrame(rows)
        for place, name in enumerate(("family", "model")):
            frame.insert(place, name, about[model][name])
        frame.insert(2, "task", task)
        parts.append(frame)
    table = pd.concat(parts, ignore_index=True)
    # With so few different sets that no p could be small there is no test to correct for
    # (Tarone 1990); which these are does not depend on what was measured.
    able = 1 / (table["n_sets"] + 1) <= cfg["classes"]["alpha"]
    for name in ("p_rank", "p_rank_accuracy"):
        values = table[name].astype(float) if name in table else pd.Series(np.nan, table.index)
        values = values.where(able)
        table[name.replace("p_", "q_", 1)] = statistics.false_discovery(values)
    return table


def transfer_csv(scans, traces, about, cfg):
    """transfer.csv: ordered pairs of models, each task, each rule.

    scans, traces: {model: {task: table}}
    """
    parts = {}
    for model, mine in scans.items():
        traced = {task: traces[model][task]["example"].unique() for task in mine}
        names = pd.concat(mine.values())["component"].astype(str).unique()
        parts[model] = {
            "profile": transfer.profile(mine, traces[model]),
            "effects": {task: transfer.effect(table, cfg["replacement"], traced[task]) for task, table in mine.items()},
            "names": sorted(names, key=components.order),
        }
    models = list(scans)
    pairs = cfg["transfer"]["pairs"] or [[a, b] for a in models for b in models if a != b]
    rows, seen = [], set()
    for base, target in pairs:
        here = {
            "base_family": about[base]["family"],
            "base_model": base,
            "target_family": about[target]["family"],
            "target_model": target,
        }
        found = transfer.transfer(
            parts[base],
            parts[target],
            cfg["tasks"],
            cfg["transfer"],
            (cfg["seed"], base, target, "transfer"),
            frozenset((base, target)) not in seen,
        )
        seen.add(frozenset((base, target)))
        rows += [here | row for row in found]
    table = pd.DataFrame(rows).reindex(columns=TRANSFER)
    # Each rule is a question of its own.
    for name in ("rank", "correlation", "distance"):
        table[f"q_{name}"] = np.nan
        for _, part in table.groupby("rule"):
            table.loc[part.index, f"q_{name}"] = statistics.false_discovery(part[f"p_{name}"].astype(float))
    return table


TRANSFER = [
    "base_family",
    "base_model",
    "target_family",
    "target_model",
    "task",
    "rule",
    "heads",
    "missing",
    "mean_fractional_rank",
    "null_rank",
    "null_rank_low",
    "null_rank_high",
    "p_rank",
    "correlation",
    "p_correlation",
    "distance",
    "distance_null",
    "p_distance",
]


def models_csv(trends):
    """models.csv: one row a model and replacement, with shares and false discovery rates."""
    table = trends.copy()
    table["strong_share"] = table["strong"] / table["heads"]
    for p_value, q_value in (
        ("p_correlation", "q_correlation"),
        ("p_within_layers", "q_within_layers"),
        ("p_selected", "q_selected"),
    ):
        table[q_value] = np.nan
        for _, part in table.groupby("replacement"):
            table.loc[part.index, q_value] = statistics.false_discovery(part[p_value].astype(float))
    return table


def fits_csv(models):
    """fits.csv: lines over the sizes of each family, for every replacement."""
    parts = []
    for replacement, part in models.groupby("replacement", sort=False):
        parts.append(pd.DataFrame(fits.fits(part)).assign(replacement=replacement))
    table = pd.concat(parts, ignore_index=True)
    if "p_value" in table:
        table["q_value"] = statistics.false_discovery(table["p_value"].astype(float))
    return table


def depths_csv(depths, names):
    """depths.csv: with false discovery rates over models and classes of a replacement."""
    table = depths.assign(q_depth=np.nan)
    for _, part in table.groupby("replacement"):
        table.loc[part.index, "q_depth"] = statistics.false_discovery(part["p_depth"].astype(float))
    return renamed(table, names)


def gather(input, cfg):
    """Everything that tables and figures are made from, as a dict of DataFrames."""
    # A model for which one of the tasks is left out has no classes.
    classified = {Path(path).parts[-3] for path in input.heads}
    about = {name: each for name, each in describe(input.about, cfg).items() if name in classified}
    names = known.Names(cfg["tasks"])
    found = {"about": about, "names": names}
    for name, schema in (
        ("heads", schemas.HEADS),
        ("trends", schemas.MODEL_TRENDS),
        ("depths", schemas.DEPTHS),
        ("sweep", schemas.SWEEP),
        ("heroes", schemas.HEROES),
        ("sets", schemas.HERO_SETS),
    ):
        found[name] = of_models(getattr(input, name), schema, about)
    parts = []
    for path in map(Path, input.traces):
        frame = tables.read(path, schemas.TRACE)
        model = path.parts[-4]
        if model not in about:
            continue
        parts.append(frame.assign(family=about[model]["family"], model=model, task=path.parts[-2]))
    found["trace"] = pd.concat(parts, ignore_index=True)
    return found


def summarise(input, output, params, wildcards, threads, log):
    """Write every table of the study, and the findings; see summarise_scaling.py."""
    from circuit_reuse import pages
    from circuit_reuse.scaling import findings
    from circuit_reuse.summary import write_csv

    cfg = params.cfg
    found = gather(input, cfg)
    names, about, chosen = found["names"], found["about"], cfg["replacement"]
    scans = {model: scans_of(input.scans, cfg["tasks"], model) for model in about}
    traces = {
        model: {
            task: found["trace"][(found["trace"]["model"] == model) & (found["trace"]["task"] == task)]
            for task in cfg["tasks"]
        }
        for model in about
    }
    models = models_csv(found["trends"])
    primary = models[models["replacement"] == chosen]
    tracing = tracing_csv(found["trace"])
    tests = hero_tests(input.effects, found["sets"], about, cfg)
    written = {
        "heads": heads_csv(found["heads"], names),
        "models": models.rename(columns=names.column),
        "depths": depths_csv(found["depths"], names),
        "tau_sweep": renamed(found["sweep"], names),
        "fits": fits_csv(models),
        "tracing": tracing,
        "influence": influence_csv(tracing, found["heads"], chosen),
        "hero_vs_random": tests,
        "transfer": transfer_csv(scans, traces, about, cfg),
        "joint": known.joint_csv(found["heads"], names, chosen),
        "categories": known.category_csv(found["heads"], names, chosen),
        "hero_heads": known.heroes_csv(found["heroes"], names),
        "causal": known.causal_csv(found["heroes"], found["trace"], names, cfg["hub"]),
        "ablation": known.ablation_csv(tests, names),
        "correlations": primary.assign(params_m=primary["parameters"] / 1e6, corr=primary["correlation"])[
            ["family", "model", "params_m", "corr"]
        ],
    }
    for name, frame in written.items():
        write_csv(getattr(output, name), frame)
    text = findings.text(written, found, cfg, names)
    Path(output.findings).write_text(text)
    Path(output.page).write_text(pages.page(text))
    log.info("%d heads of %d models, %d tables", len(written["joint"]), len(about), len(written))


def renamed(table, names):
    """A table with the classes called by task."""
    return table.assign(category=table["category"].map(names.category))
