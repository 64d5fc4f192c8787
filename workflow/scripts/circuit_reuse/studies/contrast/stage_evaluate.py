"""The stage that removes and keeps the circuits on held-out examples of a task with an answer."""

from circuit_reuse.data import jobs, tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.stats import circuits
from circuit_reuse.stats.sharing import composition_name
from circuit_reuse.studies.contrast import schemas
from circuit_reuse.studies.contrast.random_circuits import budget_matched, budget_matched_name, random_sets, removable

DIRECTIONS = ("remove", "keep")
# Random circuits at each budget of the sweep.
ALONG = 10


def evaluate(job):
    """Effects of every circuit in both directions, and of random ones."""
    cfg = job.cfg
    table = tables.read(job.input.circuits, schemas.CONTRAST_CIRCUITS)
    space = job.space
    examples = some(tables.read(job.input.examples, tables.EXAMPLES), cfg["held_out"])
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.set, "random")
    asked = interventions_of(table, space, cfg["random_sets"], stream)
    frame = ablation.Stage(job).run(job.output.effects, asked, examples, cfg["replacement"], cfg["accuracy"])
    job.write(job.output.effects, tables.EFFECTS, frame)


def some(examples, count):
    """The examples with the first `count` of the used held-out ones."""
    held_out = jobs.used(examples, "held_out")
    return examples.drop(index=held_out.index[count:])


def interventions_of(table, space, count, stream):
    """Interventions of all circuits, and of random ones of the compositions of those that are tested.

    The input is in every circuit and is never replaced, so it is in no set.
    """
    found = [effects.Intervention(None, "none", [(None, [])]), effects.Intervention("empty", "keep", [(None, [])])]
    compositions = {}
    for row in table.itertuples(index=False):
        names = removable(row.components)
        if names and row.main:
            compositions.setdefault(composition_name(names), circuits.composition_of(names))
    for circuit, group in table.groupby("circuit"):
        names = circuits.sorted_names(removable(group["components"].iloc[0]))
        if names:
            found += [effects.Intervention(circuit, side, [(None, names)]) for side in DIRECTIONS]
    for composition, counts in sorted(compositions.items()):
        sets = random_sets(counts, space, count, stream)
        found += [effects.Intervention(composition, side, list(enumerate(sets))) for side in DIRECTIONS]
    for dimensions in sorted(set(table.loc[table["scored_by"] != "file", "dimensions"])):
        sets = [budget_matched(space, dimensions, (*stream, dimensions, draw)) for draw in range(ALONG)]
        found.append(effects.Intervention(budget_matched_name(dimensions), "keep", list(enumerate(sets))))
    return found
