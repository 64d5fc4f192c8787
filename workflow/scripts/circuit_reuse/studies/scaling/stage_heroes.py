"""The stage that removes heroes and random sets of heads on held-out examples."""

import pandas as pd

from circuit_reuse.data import tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.studies.scaling import schemas, usable
from circuit_reuse.studies.scaling.heroes import intervention_name


def remove_heroes(job):
    """Remove heroes and random sets on held-out examples."""
    cfg = job.cfg
    table = usable.usable(job.input.examples, cfg["min_valid"], job.wildcards.task)
    tested = usable.held_out(table, cfg["examples"])["example"]
    # The stage of ablations tests what is used and held out, and takes means over train.
    table["used"] = (table["split"] == "train") | table["example"].isin(tested)
    asked = interventions_of(tables.read(job.input.sets, schemas.HERO_SETS))
    frame = ablation.Stage(job).run(job.output.effects, asked, table, cfg["replacement"], cfg["accuracy"])
    job.write(job.output.effects, tables.EFFECTS, frame)


def interventions_of(sets):
    """Units of interventions for the hero_sets table: the intact run, and one a kind of set."""
    asked = {"none": effects.Intervention(None, "none", [(None, [])])}
    for (ranking, size), rows in sets.groupby(["ranking", "n_heads"], sort=False):
        for matching, part in rows[rows["problem"].isna()].groupby("matching", dropna=False, sort=False):
            name = intervention_name(ranking, size, None if pd.isna(matching) else matching)
            part = [
                (None if pd.isna(control) else int(control), list(names))
                for control, names in zip(part["control"], part["components"], strict=True)
            ]
            asked[name] = effects.Intervention(name, "remove", part)
    return list(asked.values())
