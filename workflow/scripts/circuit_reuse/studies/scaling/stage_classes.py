"""The stage that classifies the heads of one model; no model is run, no torch."""

import pandas as pd

from circuit_reuse.data import fingerprint, gather, tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.studies.scaling import classes, heroes, schemas, trends


def scans_of(paths, tasks, model):
    """The scan tables of a model by task, all shards put together."""
    mine = gather.by(paths, "model", "task")
    for task in tasks:
        if (model, task) not in mine:
            raise LeftOut(f"{task} is left out for {model}, and heads are classified by both tasks")
    return {task: tables.read_all(mine[model, task], schemas.SCAN) for task in tasks}


def classify(job):
    """Tables of one model from its scans."""
    cfg = job.cfg
    scans = list(scans_of(job.input.scans, cfg["tasks"], job.wildcards.model).values())
    rules = cfg["classes"]
    found = classes.heads_table(scans, fingerprint.space_of(job.about), cfg["replacements"], rules)
    stream = (cfg["seed"], job.wildcards.model)
    settings = rules | {name: cfg[name] for name in ("selection", "draws", "bootstrap")}
    rows = {"trends": [], "depths": [], "sweep": []}
    for replacement in cfg["replacements"]:
        here = {"replacement": replacement}
        mine = found[(found["split"] == "held_out") & (found["replacement"] == replacement)]
        rows["trends"].append(trends.model_trends(scans, found, replacement, settings, stream))
        rows["depths"] += [here | row for row in trends.depths(mine, settings, (*stream, replacement))]
        rows["sweep"] += [here | row for row in classes.sweep(mine, scans, replacement, rules)]
    chosen = heroes.heroes(found, cfg["replacement"], cfg["heroes"]["per_class"])
    sets = heroes.hero_sets(found, cfg["replacement"], cfg["heroes"], (*stream, "heroes"))
    for path, schema, table in (
        (job.output.heads, schemas.HEADS, found),
        (job.output.trends, schemas.MODEL_TRENDS, rows["trends"]),
        (job.output.depths, schemas.DEPTHS, rows["depths"]),
        (job.output.sweep, schemas.SWEEP, rows["sweep"]),
        (job.output.heroes, schemas.HEROES, chosen),
        (job.output.sets, schemas.HERO_SETS, sets),
    ):
        job.write(path, schema, table)
    held_out = found[(found["split"] == "held_out") & (found["replacement"] == cfg["replacement"])]
    job.log.info("classes by %s ablation: %s", cfg["replacement"], dict(pd.Series(held_out["category"]).value_counts()))
    job.log.info("%d sets of heroes and random heads", len(sets))
