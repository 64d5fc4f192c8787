"""The stages of the scaling study that run a model: scan, trace, removal of heroes."""

import time

import pandas as pd

from circuit_reuse import ablation, effects, examples, fingerprint, models, tables
from circuit_reuse.scaling import scan, schemas, trace
from circuit_reuse.scaling.heroes import unit_name


def usable(path, needed, task):
    """The valid examples of a file, whatever the model answers.

    raises: ValueError if a split has fewer than `needed`
    """
    table = tables.read(path, tables.EXAMPLES)
    records = table.assign(used=table["valid"]).to_dict("records")
    for split in ("train", "held_out"):
        examples.enough(records, split, needed, task)
    return table[table["valid"]].reset_index(drop=True)


def held_out(table, count):
    """The first examples of the held-out split."""
    return table[table["split"] == "held_out"].head(count).reset_index(drop=True)


def scan_shard(input, output, params, wildcards, threads, log):
    """Scan the heads on one shard; see scan_heads.py.

    Means are taken over the train examples of the first shard, so that more examples leave the
    shards that are there as they are.
    """
    cfg, model = params.cfg, loaded(input, params, threads)
    first = usable(input.reference, cfg["min_valid"], wildcards.task)
    mine = tables.read(input.examples, tables.EXAMPLES)
    mine = mine[mine["valid"]].reset_index(drop=True)
    began = time.monotonic()
    stream = (cfg["seed"], wildcards.model, wildcards.task, wildcards.shard, "scan")
    reference = first[first["split"] == "train"]
    found = scan.scan(model, mine, reference, cfg, params.compute["batch_tokens"], stream, log)
    rate = len(found) / max(time.monotonic() - began, 1e-9)
    log.info("%d runs of examples with a head replaced, %.0f per second", len(found), rate)
    write(output.scan, schemas.SCAN, found, cfg, input)


def trace_task(input, output, params, wildcards, threads, log):
    """Trace parts of heads and layers on held-out examples; see trace_heads.py."""
    cfg, model = params.cfg, loaded(input, params, threads)
    table = held_out(usable(input.examples, cfg["min_valid"], wildcards.task), cfg["examples"])
    heads = [(layer, head) for layer in range(model.space.layers) for head in range(model.space.heads)]  # fmt: skip
    if cfg["heads"] == "heroes":
        chosen = tables.read(input.heroes, schemas.HEROES)
        chosen = chosen[~chosen["category"].isin(["weak", "uncertain"])]
        heads = sorted(set(zip(chosen["layer"].map(int), chosen["head"].map(int), strict=True)))
    found = trace.trace(model, table, cfg, heads, params.compute["batch_tokens"], log)
    write(output.trace, schemas.TRACE, found, cfg, input)


def remove_heroes(input, output, params, wildcards, threads, log):
    """Remove heroes and random sets on held-out examples; see ablate_heroes.py."""
    cfg = params.cfg
    table = usable(input.examples, cfg["min_valid"], wildcards.task)
    tested = held_out(table, cfg["examples"])["example"]
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
        for matching, part in rows[rows["problem"].isna()].groupby("matching", dropna=False, sort=False):  # fmt: skip
            name = unit_name(ranking, size, None if pd.isna(matching) else matching)
            part = [
                (None if pd.isna(control) else int(control), list(names))
                for control, names in zip(part["control"], part["components"], strict=True)
            ]
            units[name] = effects.Unit(name, "remove", part)
    return list(units.values())


def loaded(input, params, threads):
    """The model of a job."""
    folder = fingerprint.folder_of(input.model)
    return models.load(folder, params.compute["device"], params.cfg["dtype"], threads)


def write(path, schema, frame, cfg, input):
    """A table with what made it."""
    about = fingerprint.read_description(input.about)["fingerprint"]
    tables.write(path, schema, frame[schema.names], cfg=cfg, model=about)
