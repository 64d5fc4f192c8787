"""The stage that measures what removing the circuit of one task does to another, and whether its own hurts a task more."""

from circuit_reuse.data import gather, tables
from circuit_reuse.stats import circuits, testing
from circuit_reuse.studies.reuse import schemas
from circuit_reuse.studies.reuse.shared_circuits import chosen_circuits, contrasts


def test(job):
    """The cross-task table of a model, a row for every two tasks, and its specificity table."""
    cfg = job.cfg
    found = chosen_circuits(job.input.circuits, cfg["cross_task"])
    paths, rows, specific = gather.one_by(job.input.effects, "task"), [], []
    # What was left out is not among the inputs.
    tasks = [task for task in cfg["tasks"] if task in paths]
    for target in tasks:
        outcomes = testing.Outcomes(tables.read(paths[target], tables.EFFECTS))
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.method, "cross", target)
        rows += cross_rows(outcomes, found, tasks, target, cfg, stream)
        examples = tables.read_all(gather.by(job.input.examples, "task")[target], tables.EXAMPLES)
        templates = examples[examples["example"].isin(outcomes.examples)]["template"].nunique()
        specific += specificity_rows(outcomes, found, target, templates, cfg, stream)
    job.write(job.output.table, schemas.CROSS, rows)
    job.write(job.output.specificity, schemas.SPECIFICITY, specific)


def cross_rows(outcomes, found, tasks, target, cfg, stream):
    """What removing each task's circuit does to the target task."""
    for source in tasks:
        key, names, _ = found[source]
        base = {
            "source": source,
            "target": target,
            **chosen(cfg),
            "circuit": key,
            "n_components": len(names),
            "n_examples": len(outcomes.examples),
            "n_controls": 0,
            "accuracy": float(outcomes.baseline("correct").mean()),
            "jaccard": circuits.jaccard(names, found[target][1]) if names or found[target][1] else None,
        }
        yield base | (testing.cross_row(outcomes, key, cfg, stream) if key != "empty" else {})


def specificity_rows(outcomes, found, target, templates, cfg, stream):
    """The target's own components against those of each other task, on the target's examples."""
    for pair in contrasts(found, target):
        own, other = (circuits.circuit_id(list(names)) for names in (pair.own, pair.other))
        yield {
            "source": pair.source,
            "target": target,
            "component_set": pair.component_set,
            **chosen(cfg),
            "circuit_own": own,
            "circuit_other": other,
            "n_components_own": len(pair.own),
            "n_components_other": len(pair.other),
            "n_examples": len(outcomes.examples),
            "n_clusters": templates,
            **testing.specificity_row(outcomes, own, other, cfg, stream),
        }


def chosen(cfg):
    """K and threshold of the circuits that are compared."""
    return {name: float(cfg["cross_task"][name]) for name in ("top_k", "threshold")}
