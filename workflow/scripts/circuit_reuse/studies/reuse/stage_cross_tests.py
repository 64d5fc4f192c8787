"""The stage that measures what removing the circuit of one task does to another, and whether its own hurts a task more."""

from itertools import combinations

import numpy as np

from circuit_reuse.data import fingerprint, gather, tables
from circuit_reuse.stats import circuits, similarity, testing
from circuit_reuse.studies.reuse import schemas
from circuit_reuse.studies.reuse.shared_circuits import chosen, chosen_circuits, contrasts, halves

# Circuits of two halves of the examples whose effects are within this share of the whole circuit's are equally good.
ALIKE = 0.1


def test(job):
    """The cross-task table of a model, a row for every two tasks, its specificity table and that of overlap."""
    cfg = job.cfg
    found = chosen_circuits(job.input.circuits, cfg["cross_task"])
    paths, rows, specific = gather.one_by(job.input.effects, "task"), [], []
    # What was left out is not among the inputs.
    tasks = [task for task in cfg["tasks"] if task in paths]
    own, within = gather.one_by(job.input.circuits, "task"), {}
    for target in tasks:
        outcomes = testing.Outcomes(tables.read(paths[target], tables.EFFECTS))
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.method, "cross", target)
        rows += cross_rows(outcomes, found, tasks, target, cfg, stream)
        specific += specificity_rows(outcomes, found, target, cfg, stream)
        within[target] = within_task(outcomes, found[target][0], halves(own[target], cfg["cross_task"]))
    job.write(job.output.table, schemas.CROSS, rows)
    job.write(job.output.specificity, schemas.SPECIFICITY, specific)
    names = fingerprint.space_of(job.about).of_kinds(cfg["kinds"])
    job.write(job.output.overlap, schemas.OVERLAP, list(overlap_rows(found, tasks, within, names, cfg)))


def cross_rows(outcomes, found, tasks, target, cfg, stream):
    """What removing each task's circuit does to the target task."""
    for source in tasks:
        key, names, _ = found[source]
        base = {
            "source": source,
            "target": target,
            **chosen(cfg["cross_task"]),
            "circuit": key,
            "n_components": len(names),
            "n_examples": len(outcomes.examples),
            "n_clusters": outcomes.n_clusters,
            "n_controls": 0,
            "accuracy": float(outcomes.baseline("correct").mean()),
            "jaccard": circuits.jaccard(names, found[target][1]) if names or found[target][1] else None,
        }
        yield base | (testing.cross_row(outcomes, key, cfg, stream) if key != "empty" else {})


def specificity_rows(outcomes, found, target, cfg, stream):
    """The target's own components against those of each other task, on the target's examples."""
    for pair in contrasts(found, target):
        own, other = (circuits.circuit_id(list(names)) for names in (pair.own, pair.other))
        yield {
            "source": pair.source,
            "target": target,
            "component_set": pair.component_set,
            **chosen(cfg["cross_task"]),
            "circuit_own": own,
            "circuit_other": other,
            "n_components_own": len(pair.own),
            "n_components_other": len(pair.other),
            "n_examples": len(outcomes.examples),
            "n_clusters": outcomes.n_clusters,
            **testing.specificity_row(outcomes, own, other, cfg, stream),
        }


def within_task(outcomes, key, pairs):
    """How alike two equally good circuits of one task are: (splits, mean Jaccard index), None without a split.

    key:   id of the whole shared circuit;  pairs: of circuits of two halves of the train examples, of `halves`
    Equally good: removing either changes the metric by as much as removing the whole one, within ALIKE.
    """
    if key == "empty":
        return 0, None
    metric = outcomes.baseline("metric")

    def effect(circuit):
        return 0.0 if circuit == "empty" else (outcomes.circuit(circuit, "remove", "metric") - metric).mean()

    whole = effect(key)
    good = [
        circuits.jaccard(first, second)
        for (one, first), (other, second) in pairs
        if max(abs(effect(one) - whole), abs(effect(other) - whole)) <= ALIKE * abs(whole)
    ]
    return len(good), float(np.mean(good)) if good else None


def overlap_rows(found, tasks, within, names, cfg):
    """What the shared circuits of every two tasks have in common, beside random sets and beside halves of one task.

    found: of `chosen_circuits`;  within: {task: of `within_task`};  names: components that circuits may hold
    """
    for first, second in combinations(tasks, 2):
        a, b = found[first][1], found[second][1]
        row = similarity.beside_layers(a, b, names)
        shared = row["n_shared"]
        row |= {"circuit_first": found[first][0], "circuit_second": found[second][0]}
        if set(a) == set(b):
            # A set is sure to share all with itself.
            row["p_value"] = None
        row["overlap_coefficient"] = shared / min(len(a), len(b)) if a and b else None
        for side, task, mine in (("first", first, a), ("second", second, b)):
            row |= {f"n_components_{side}": len(mine), f"containment_{side}": shared / len(mine) if mine else None}
            row[f"n_halves_{side}"], row[f"jaccard_halves_{side}"] = within[task]
        yield {"first": first, "second": second, **chosen(cfg["cross_task"]), **row}
