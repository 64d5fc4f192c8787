"""The stage that removes the shared circuit of every task, and what two of them have in common, on one task."""

from circuit_reuse.data import tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.stats import circuits
from circuit_reuse.stats.sharing import matched
from circuit_reuse.studies.reuse.shared_circuits import chosen_circuits, contrasted_sets, halves


def run(job):
    """Remove the shared circuit of every task, cores and residuals of pairs, and random sets, on one task's examples."""
    cfg, task = job.cfg, job.wildcards.task
    found = chosen_circuits(job.input.circuits, cfg["cross_task"])
    asked = {key: (names, controls) for key, names, controls in found.values() if key != "empty"}
    sets = contrasted_sets(found, task)
    of_halves = {key: (names, []) for pair in halves(job.input.own, cfg["cross_task"]) for key, names in pair if names}
    asked = of_halves | {key: (names, []) for key, names in sets.items()} | asked
    space = job.space.of_kinds(cfg["kinds"])
    stream = "/".join([str(cfg["seed"]), job.wildcards.model, job.wildcards.method])
    drawn = {
        matched(key): circuits.layer_matched_sets(names, space, cfg["cross_task"]["matched_sets"], stream)
        for key, names in sets.items()
    }
    asked = effects.interventions_of(asked, ["remove"], random_sets={key: sets for key, sets in drawn.items() if sets})
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    frame = ablation.Stage(job).run(job.output.effects, asked, examples, cfg["replacement"], cfg["accuracy"])
    job.write(job.output.effects, tables.EFFECTS, frame)
