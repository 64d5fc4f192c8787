"""The stage that keeps every circuit alone on one task's held-out examples, and takes parts out."""

from circuit_reuse import ablation, effects, fingerprint, jobs, tables
from circuit_reuse.sequences import schemas, stages


def cross_task(input, output, params, wildcards, threads, log):
    """Every circuit of the model on the data of one task; see cross_sequences.py."""
    cfg = params.cfg
    train, held_out = jobs.splits(input.examples, cfg, wildcards.task)
    table = tables.read(input.examples, tables.EXAMPLES)
    table["used"] = table["example"].isin([*train["example"], *held_out["example"]])
    named = tables.read(input.circuits, schemas.NAMED)
    stage = ablation.Stage(input, params, threads, log)
    names = fingerprint.shape(stage.folder).of_kinds(stages.KINDS)
    units = units_of(named, wildcards.task, names)
    frame = stage.run(output.effects, units, table, cfg["replacement"], cfg["accuracy"], wildcards)
    tables.write(output.effects, tables.EFFECTS, frame, cfg=cfg, model=stage.fingerprint)


def units_of(named, task, names):
    """Units of interventions on the data of a task.

    kept alone:    every circuit, the empty one, and random ones of each make
    without one:   the task's own circuit less each of its members in turn
    removed:       every circuit (is it necessary?), and each component alone from the full model
    """
    units = [effects.Unit(None, "none", [(None, [])]), effects.Unit("empty", "keep", [(None, [])])]
    for row in named[named["kind"] != "random"].itertuples():
        kept = list(row.components)
        units.append(effects.Unit(row.name, "keep", [(None, kept)]))
        if row.kind in ("task", "frequent", "file") and kept:
            units.append(effects.Unit(row.name, "remove", [(None, kept)]))
        if row.task == task and row.kind in ("task", "file"):
            less = [(n, [c for c in kept if c != name]) for n, name in enumerate(kept)]
            units.append(effects.Unit(f"{row.name} without", "keep", less))
    random = named[named["kind"] == "random"]
    for name, part in random.groupby("name", sort=False):
        sets = [(int(n), list(c)) for n, c in zip(part["number"], part["components"], strict=True)]
        units.append(effects.Unit(name, "keep", sets))
    units.append(effects.Unit("single", "remove", [(n, [name]) for n, name in enumerate(names)]))
    return units
