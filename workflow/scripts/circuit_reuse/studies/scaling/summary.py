"""The tables of the scaling study over all models, in our columns and in the known ones."""

from pathlib import Path

import pandas as pd

from circuit_reuse.data import components, gather, tables
from circuit_reuse.stats import clusters, statistics
from circuit_reuse.studies.scaling import backups, fits, heroes, influence, published_tables, schemas, transfer
from circuit_reuse.studies.scaling.stage_classes import scans_of


def of_models(paths, schema, about):
    """The rows of one table of all models, with family, model and parameters in front."""
    found = gather.rows(paths, schema)
    for place, name in ((0, "family"), (2, "parameters")):
        found.insert(place, name, [about[model][name] for model in found["model"]])
    return found


def describe(paths, cfg):
    """{model: description}, with the family of the config if it names one."""
    found = {}
    for model, about in gather.described(paths).items():
        found[model] = about | {"model": model, "family": cfg["families"].get(model) or about["family"]}
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
    names = {"mean": "influence"} | {name: f"influence_{name}" for name in ("standard_error", "low", "high")}
    table = clusters.means_by(trace, "influence", keys).rename(columns=names)
    table["gap"] = trace.groupby(keys, dropna=False, sort=False)["gap"].mean().to_numpy()
    table["share"] = table["influence"] / table["gap"]
    return table


def hero_tests(paths, sets, about, cfg):
    """hero_vs_random.csv over all models and tasks, with false discovery rates."""
    parts = []
    for (model, task), path in gather.one_by(paths, "model", "task").items():
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
    able = 1 / (table["n_random"] + 1) <= cfg["classes"]["alpha"]
    for name in ("p_value", "p_accuracy"):
        table = statistics.with_q(table, name, within=("ranking", "matching"), where=able)
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
            "source_family": about[base]["family"],
            "source_model": base,
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
        table = statistics.with_q(table, f"p_{name}", within=["rule"])
    return table


TRANSFER = (
    "source_family source_model target_family target_model task rule n_heads n_missing mean_fractional_rank "
    "mean_fractional_rank_null mean_fractional_rank_null_low mean_fractional_rank_null_high p_rank correlation p_correlation distance distance_null p_distance"
).split()


def models_csv(trends):
    """models.csv: one row a model and replacement, with shares and false discovery rates."""
    table = trends.copy()
    table["strong_share"] = table["n_strong"] / table["n_heads"]
    for p_value in ("p_correlation", "p_within_layers", "p_selected"):
        table = statistics.with_q(table, p_value, within=["replacement"])
    return table


def fits_csv(models):
    """fits.csv: lines over the sizes of each family, for every replacement."""
    parts = []
    for replacement, part in models.groupby("replacement", sort=False):
        parts.append(pd.DataFrame(fits.fits(part)).assign(replacement=replacement))
    table = pd.concat(parts, ignore_index=True)
    return statistics.with_q(table, "p_value") if "p_value" in table else table


def depths_csv(depths, names):
    """depths.csv: with false discovery rates over models and classes of a replacement."""
    return renamed(statistics.with_q(depths, "p_value", within=["replacement"]), names)


def all_tables(input, cfg):
    """Everything that tables and figures are made from, as a dict of DataFrames."""
    # A model for which one of the tasks is left out has no classes.
    classified = set(gather.by(input.heads, "model"))
    about = {name: each for name, each in describe(input.about, cfg).items() if name in classified}
    names = published_tables.Names(cfg["tasks"])
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
    trace = gather.rows(input.traces, schemas.TRACE)
    trace = trace[trace["model"].isin(about)].reset_index(drop=True)
    found["trace"] = trace.assign(family=[about[model]["family"] for model in trace["model"]])
    return found


def summarise(job):
    """Write every table of the study, and the findings."""
    from circuit_reuse.studies.scaling import findings

    cfg = job.cfg
    found = all_tables(job.input, cfg)
    names, about, chosen = found["names"], found["about"], cfg["replacement"]
    scans = {model: scans_of(job.input.scans, cfg["tasks"], model) for model in about}
    traces = {
        model: {task: gather.pick(found["trace"], model=model, task=task) for task in cfg["tasks"]} for model in about
    }
    models = models_csv(found["trends"])
    primary = models[models["replacement"] == chosen]
    tracing = tracing_csv(found["trace"])
    tests = hero_tests(job.input.effects, found["sets"], about, cfg)
    written = {
        "heads": heads_csv(found["heads"], names),
        "models": models.rename(columns=names.column),
        "depths": depths_csv(found["depths"], names),
        "tau_sweep": renamed(found["sweep"], names),
        "fits": fits_csv(models),
        "tracing": tracing,
        "influence": influence.table_of(tracing, found["heads"], chosen, about, cfg["seed"]),
        "hero_vs_random": tests,
        "transfer": transfer_csv(scans, traces, about, cfg),
        "joint": published_tables.joint_csv(found["heads"], names, chosen),
        "categories": published_tables.category_csv(found["heads"], names, chosen),
        "hero_heads": published_tables.heroes_csv(found["heroes"], names),
        "causal": published_tables.causal_csv(found["heroes"], found["trace"], names, cfg["hub"]),
        "ablation": published_tables.ablation_csv(tests, names),
        "correlations": primary.assign(params_m=primary["parameters"] / 1e6, corr=primary["correlation"])[
            ["family", "model", "params_m", "corr"]
        ],
    }
    if job.input.backups:
        written["backups"] = backups_csv(job.input.backups, found["heads"], about, cfg)
    job.write_csvs(written, schemas.CSVS)
    Path(job.output.details).write_text(findings.text(written, found, cfg, names), encoding="utf-8")
    job.log.info("%d heads of %d models, %d tables", len(written["joint"]), len(about), len(written))


def backups_csv(paths, heads, about, cfg):
    """backups.csv, with false discovery rates over the heads and both tasks of a model."""
    heads = gather.pick(heads, split="held_out", replacement=cfg["replacement"])
    runs = {key: path for key, path in gather.one_by(paths, "model", "task").items() if key[0] in about}
    table = backups.table(runs, heads, cfg)
    table = statistics.with_q(table, "p_value", within=("model",))
    table.insert(0, "family", [about[model]["family"] for model in table["model"]])
    return table.assign(backup=backups.called(table, cfg["classes"]["alpha"])) if "difference" in table else table


def renamed(table, names):
    """A table with the classes called by task."""
    return table.assign(category=table["category"].map(names.category))
