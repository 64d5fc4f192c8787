"""The stage that runs the shared circuits of a task and their controls on the held-out examples."""

from circuit_reuse.data import jobs, tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.engine.output_norms import output_norms
from circuit_reuse.stats import circuits, sharing
from circuit_reuse.studies.reuse import schemas


def run(job):
    """Run all shared circuits of a task, their controls and random sets."""
    cfg = job.cfg
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    table = tables.read(job.input.circuits, schemas.CIRCUITS)
    chosen, shared = cfg["ablation"], sharing.shared_circuits(table)
    stage = ablation.Stage(job)
    sets = sharing.random_sets(table)
    if cfg["controls"]["norm_strata"]:
        sets |= norm_matched(job, stage.model, shared, examples)
    asked = effects.interventions_of(shared, chosen["directions"], chosen["keep_controls"], sets)
    frame = stage.run(job.output.effects, asked, examples, chosen["replacement"], cfg["accuracy"])
    job.write(job.output.effects, tables.EFFECTS, frame)


def norm_matched(job, model, shared, examples):
    """{name: sets} of the norm-matched random sets of each circuit, by norms on the train examples."""
    cfg, wildcards = job.cfg, job.wildcards
    train = jobs.used(examples, "train").reset_index(drop=True)
    norms = output_norms(model, train, job.compute["batch_tokens"]).groupby("component")["output_norm"].mean()
    space = job.space.of_kinds(cfg["kinds"])
    stream = "/".join(map(str, (cfg["seed"], wildcards.model, wildcards.task, wildcards.method)))
    strata, count = cfg["controls"]["norm_strata"], cfg["controls"]["random_sets"]
    found = {
        sharing.matched(key, "norm"): circuits.norm_matched_sets(names, space, norms.to_dict(), strata, count, stream)
        for key, (names, _) in shared.items()
    }
    return {name: sets for name, sets in found.items() if sets}
