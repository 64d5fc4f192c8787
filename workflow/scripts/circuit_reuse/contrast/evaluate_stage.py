"""The stage that removes and keeps the circuits on held-out examples of a task with an answer."""

from circuit_reuse import ablation, circuits, effects, fingerprint, tables
from circuit_reuse.contrast import schemas
from circuit_reuse.contrast.randoms import filled, filled_name, random_sets, removable
from circuit_reuse.sharing import make_name

DIRECTIONS = ("remove", "keep")
# Random circuits at each budget of the sweep.
ALONG = 10


def evaluate(input, output, params, wildcards, threads, log):
    """Effects of every circuit in both directions, and of random ones; see evaluate_circuits.py."""
    cfg = params.cfg
    table = tables.read(input.circuits, schemas.CONTRAST_CIRCUITS)
    space = fingerprint.shape(fingerprint.folder_of(input.model))
    stage = ablation.Stage(input, params, threads, log)
    examples = some(tables.read(input.examples, tables.EXAMPLES), cfg["held_out"])
    stream = (cfg["seed"], wildcards.model, wildcards.set, "random")
    units = units_of(table, space, cfg["random_sets"], stream)
    frame = stage.run(output.effects, units, examples, cfg["replacement"], cfg["accuracy"], wildcards)
    tables.write(output.effects, tables.EFFECTS, frame, cfg=cfg, model=stage.fingerprint)


def some(examples, count):
    """The examples with the first `count` of the used held-out ones."""
    held_out = examples[examples["used"] & (examples["split"] == "held_out")]
    return examples.drop(index=held_out.index[count:])


def units_of(table, space, count, stream):
    """Units of all circuits, and of random ones of the makes of those that are tested.

    The input is in every circuit and is never replaced, so it is in no set.
    """
    found = [effects.Unit(None, "none", [(None, [])]), effects.Unit("empty", "keep", [(None, [])])]
    makes = {}
    for row in table.itertuples(index=False):
        names = removable(row.components)
        if names and row.main:
            makes.setdefault(make_name(names), circuits.make_of(names))
    for circuit, group in table.groupby("circuit"):
        names = circuits.sorted_names(removable(group["components"].iloc[0]))
        if names:
            found += [effects.Unit(circuit, side, [(None, names)]) for side in DIRECTIONS]
    for make, counts in sorted(makes.items()):
        sets = random_sets(counts, space, count, stream)
        found += [effects.Unit(make, side, list(enumerate(sets))) for side in DIRECTIONS]
    for dimensions in sorted(set(table.loc[table["source"] != "file", "dimensions"])):
        sets = [filled(space, dimensions, (*stream, dimensions, draw)) for draw in range(ALONG)]
        found.append(effects.Unit(filled_name(dimensions), "keep", list(enumerate(sets))))
    return found
