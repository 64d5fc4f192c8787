"""The shared circuits of a model's tasks and what two of them have in common, as the stages that compare tasks need them."""

from dataclasses import dataclass

from circuit_reuse.data import gather, tables
from circuit_reuse.stats import circuits, sharing
from circuit_reuse.studies.reuse import schemas


def chosen_circuits(paths, cfg):
    """{task: (id, names, controls)} of the shared circuits at one K and threshold.

    paths: the circuits tables of the tasks;  cfg: top_k, threshold, and controls, how many at most, none without it
    """
    found = {}
    for task, path in gather.one_by(paths, "task").items():
        table = tables.read(path, schemas.CIRCUITS)
        row = gather.pick(table, kind="shared", **chosen(cfg)).iloc[0]
        names, controls = sharing.shared_circuits(table).get(row["circuit"]) or ([], [])
        found[task] = (row["circuit"], names, controls[: cfg.get("controls", 0)])
    return found


def chosen(cfg):
    """K and threshold of the circuits that are compared, as columns.  cfg: top_k, threshold"""
    return {name: float(cfg[name]) for name in ("top_k", "threshold")}


def halves(path, cfg):
    """[(id, names), (id, names)] of each random split of a task's train examples, at one K and threshold.

    path: the task's circuits table;  cfg: top_k, threshold
    """
    table = tables.read(path, schemas.CIRCUITS)
    rows = gather.pick(table, kind="half", **chosen(cfg))
    found = [(row.circuit, list(row.components)) for row in rows.sort_values("control").itertuples()]
    return list(zip(found[0::2], found[1::2], strict=True))


@dataclass(frozen=True)
class Contrast:
    """Two sets of components that are removed from the same examples, those of the target task.

    source:        the other task
    component_set: circuit (the two shared circuits), residual (what each has beyond the other), or
                   core (the target's circuit against what both have)
    own, other:    component names, in the order of the computation
    """

    source: str
    component_set: str
    own: tuple
    other: tuple


def contrasts(found, target):
    """Every comparison of a task's circuit with those of the other tasks.

    found: {task: (id, names, controls)}, of `chosen_circuits`
    """
    own = found[target][1]
    for source, (_, other, _) in found.items():
        if source == target:
            continue
        common = [name for name in own if name in other]
        beyond, lacking = ([name for name in names if name not in common] for names in (own, other))
        for component_set, first, second in (
            ("circuit", own, other),
            ("residual", beyond, lacking),
            ("core", own, common),
        ):
            yield Contrast(source, component_set, tuple(first), tuple(second))


def contrasted_sets(found, target):
    """{id: names} of all sets that `contrasts` compares, without the empty one."""
    sets = [list(names) for each in contrasts(found, target) for names in (each.own, each.other)]
    return {circuits.circuit_id(names): names for names in sets if names}
