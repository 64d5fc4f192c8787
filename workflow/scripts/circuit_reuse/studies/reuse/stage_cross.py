"""The stage that removes the shared circuit of every task on one task."""

from circuit_reuse.data import tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.studies.reuse.shared_circuits import chosen_circuits


def run(job):
    """Remove the shared circuit of every task, and its controls, on one task's examples."""
    found = chosen_circuits(job.input.circuits, job.cfg["cross_task"])
    asked = {key: (names, controls) for key, names, controls in found.values() if key != "empty"}
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    replacement, accuracy = job.cfg["replacement"], job.cfg["accuracy"]
    asked = effects.interventions_of(asked, ["remove"])
    frame = ablation.Stage(job).run(job.output.effects, asked, examples, replacement, accuracy)
    job.write(job.output.effects, tables.EFFECTS, frame)
