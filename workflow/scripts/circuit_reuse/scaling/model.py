"""The stage that classifies the heads of one model; no model is run, no torch."""

import pandas as pd

from circuit_reuse import fingerprint, tables
from circuit_reuse.components import Space
from circuit_reuse.left_out import LeftOut
from circuit_reuse.scaling import classes, heroes, schemas, trends


def space_of(about):
    """The component space from what describe_model wrote."""
    return Space(*(about[name] for name in ("layers", "heads", "d_model", "d_head")))


def scans_of(paths, tasks, model):
    """The scan tables of a model by task, all shards put together."""
    found = {}
    for task in tasks:
        mine = [path for path in paths if f"/{model}/heads/{task}/scan/" in str(path)]
        if not mine:
            raise LeftOut(f"{task} is left out for {model}, and heads are classified by both tasks")
        found[task] = tables.read_all(mine, schemas.SCAN)
    return found


def classify(input, output, params, wildcards, threads, log):
    """Tables of one model from its scans; see classify_heads.py."""
    cfg = params.cfg
    about = fingerprint.read_description(input.about)
    scans = list(scans_of(input.scans, cfg["tasks"], wildcards.model).values())
    rules = cfg["classes"]
    found = classes.heads_table(scans, space_of(about), cfg["replacements"], rules)
    stream = (cfg["seed"], wildcards.model)
    settings = rules | {name: cfg[name] for name in ("selection", "draws", "bootstrap")}
    rows = {"trends": [], "depths": [], "sweep": []}
    for replacement in cfg["replacements"]:
        here = {"replacement": replacement}
        mine = found[(found["split"] == "held_out") & (found["replacement"] == replacement)]
        rows["trends"].append(trends.model_trends(scans, found, replacement, settings, stream))
        rows["depths"] += [here | row for row in trends.depths(mine, settings, (*stream, replacement))]
        rows["sweep"] += [here | row for row in classes.sweep(mine, rules["taus"], rules["alpha"])]
    chosen = heroes.heroes(found, cfg["replacement"], cfg["heroes"]["per_class"])
    sets = heroes.hero_sets(found, cfg["replacement"], cfg["heroes"], (*stream, "heroes"))
    for path, schema, table in (
        (output.heads, schemas.HEADS, found),
        (output.trends, schemas.MODEL_TRENDS, full(rows["trends"], schemas.MODEL_TRENDS)),
        (output.depths, schemas.DEPTHS, full(rows["depths"], schemas.DEPTHS)),
        (output.sweep, schemas.SWEEP, full(rows["sweep"], schemas.SWEEP)),
        (output.heroes, schemas.HEROES, full(chosen, schemas.HEROES)),
        (output.sets, schemas.HERO_SETS, full(sets, schemas.HERO_SETS)),
    ):
        tables.write(path, schema, table, cfg=cfg, model=about["fingerprint"])
    held_out = found[(found["split"] == "held_out") & (found["replacement"] == cfg["replacement"])]
    log.info("classes by %s ablation: %s", cfg["replacement"], dict(pd.Series(held_out["category"]).value_counts()))
    log.info("%d sets of heroes and random heads", len(sets))


def full(rows, schema):
    """Rows with every column of a schema, null where a row has none."""
    return [dict.fromkeys(schema.names) | row for row in rows]
