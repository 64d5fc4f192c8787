"""The stage that keeps every circuit alone on one task's held-out examples, and takes parts out."""

from circuit_reuse.data import jobs, tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.studies.sequences import schemas, shares


def cross_task(job):
    """Every circuit of the model on the data of one task."""
    cfg = job.cfg
    train, held_out = jobs.splits(job.input.examples, cfg, job.wildcards.task)
    table = tables.read(job.input.examples, tables.EXAMPLES)
    table["used"] = table["example"].isin([*train["example"], *held_out["example"]])
    named = tables.read(job.input.circuits, schemas.NAMED)
    names = job.space.of_kinds(shares.KINDS)
    asked = interventions_of(named, job.wildcards.task, names)
    frame = ablation.Stage(job).run(job.output.effects, asked, table, cfg["replacement"], cfg["accuracy"])
    job.write(job.output.effects, tables.EFFECTS, frame)


def interventions_of(named, task, names):
    """Units of interventions on the data of a task.

    kept alone:    every circuit, the empty one, and random ones of each composition
    without one:   the task's own circuit less each of its members in turn
    removed:       every circuit (is it necessary?), and each component alone from the full model
    """
    asked = [effects.Intervention(None, "none", [(None, [])]), effects.Intervention("empty", "keep", [(None, [])])]
    for row in named[named["kind"] != "random"].itertuples():
        kept = list(row.components)
        asked.append(effects.Intervention(row.circuit, "keep", [(None, kept)]))
        if row.kind in ("task", "frequent", "file") and kept:
            asked.append(effects.Intervention(row.circuit, "remove", [(None, kept)]))
        if row.task == task and row.kind in ("task", "file"):
            less = [(n, [c for c in kept if c != name]) for n, name in enumerate(kept)]
            asked.append(effects.Intervention(f"{row.circuit} without", "keep", less))
    random = named[named["kind"] == "random"]
    for name, part in random.groupby("circuit", sort=False):
        sets = [(int(n), list(c)) for n, c in zip(part["number"], part["components"], strict=True)]
        asked.append(effects.Intervention(name, "keep", sets))
    asked.append(effects.Intervention("single", "remove", [(n, [name]) for n, name in enumerate(names)]))
    return asked
