"""The stage that runs the shared circuits of a task and their controls on the held-out examples."""

from circuit_reuse.data import tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import schemas


def run(job):
    """Run all shared circuits of a task and their controls."""
    cfg = job.cfg
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    table = tables.read(job.input.circuits, schemas.CIRCUITS)
    chosen = cfg["ablation"]
    asked = effects.interventions_of(
        sharing.shared_circuits(table), chosen["directions"], chosen["keep_controls"], sharing.random_sets(table)
    )
    frame = ablation.Stage(job).run(job.output.effects, asked, examples, chosen["replacement"], cfg["accuracy"])
    job.write(job.output.effects, tables.EFFECTS, frame)
