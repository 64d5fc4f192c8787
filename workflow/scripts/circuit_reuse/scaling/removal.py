"""The stage that removes heroes and random sets of heads on held-out examples."""

import pandas as pd

from circuit_reuse import ablation, effects, tables
from circuit_reuse.scaling import schemas, stages
from circuit_reuse.scaling.heroes import unit_name


def remove_heroes(input, output, params, wildcards, threads, log):
    """Remove heroes and random sets on held-out examples; see ablate_heroes.py."""
    cfg = params.cfg
    table = stages.usable(input.examples, cfg["min_valid"], wildcards.task)
    tested = stages.held_out(table, cfg["examples"])["example"]
    # The stage of ablations tests what is used and held out, and takes means over train.
    table["used"] = (table["split"] == "train") | table["example"].isin(tested)
    units = units_of(tables.read(input.sets, schemas.HERO_SETS))
    stage = ablation.Stage(input, params, threads, log)
    frame = stage.run(output.effects, units, table, cfg["replacement"], cfg["accuracy"], wildcards)
    tables.write(output.effects, tables.EFFECTS, frame, cfg=cfg, model=stage.fingerprint)


def units_of(sets):
    """Units of interventions for the hero_sets table: the untouched run, and one a kind of set."""
    units = {"none": effects.Unit(None, "none", [(None, [])])}
    for (ranking, size), rows in sets.groupby(["ranking", "size"], sort=False):
        for matching, part in rows[rows["problem"].isna()].groupby("matching", dropna=False, sort=False):
            name = unit_name(ranking, size, None if pd.isna(matching) else matching)
            part = [
                (None if pd.isna(control) else int(control), list(names))
                for control, names in zip(part["control"], part["components"], strict=True)
            ]
            units[name] = effects.Unit(name, "remove", part)
    return list(units.values())
