"""The stage that measures what removing the circuit of one task does to another."""

from circuit_reuse.data import gather, tables
from circuit_reuse.stats import circuits, testing
from circuit_reuse.studies.reuse import schemas
from circuit_reuse.studies.reuse.shared_circuits import chosen_circuits


def test(job):
    """The cross-task table of a model: one row for every two tasks."""
    cfg = job.cfg
    found = chosen_circuits(job.input.circuits, cfg["cross_task"])
    paths, rows = gather.one_by(job.input.effects, "task"), []
    # What was left out is not among the inputs.
    tasks = [task for task in cfg["tasks"] if task in paths]
    for target in tasks:
        outcomes = testing.Outcomes(tables.read(paths[target], tables.EFFECTS))
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.method, "cross", target)
        for source in tasks:
            key, names, _ = found[source]
            base = {
                "source": source,
                "target": target,
                "top_k": float(cfg["cross_task"]["top_k"]),
                "threshold": float(cfg["cross_task"]["threshold"]),
                "circuit": key,
                "n_components": len(names),
                "n_examples": len(outcomes.examples),
                "n_controls": 0,
                "accuracy": float(outcomes.baseline("correct").mean()),
                "jaccard": circuits.jaccard(names, found[target][1]) if names or found[target][1] else None,
            }
            if key != "empty":
                base |= testing.cross_row(outcomes, key, cfg, stream)
            rows.append(base)
    job.write(job.output.table, schemas.CROSS, rows)
