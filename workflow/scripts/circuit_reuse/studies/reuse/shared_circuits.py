"""The shared circuits of a model's tasks, as the stages that compare tasks need them."""

from circuit_reuse.data import gather, tables
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import schemas


def chosen_circuits(paths, cfg):
    """{task: (id, names, controls)} of the shared circuits at one K and threshold.

    paths: the circuits tables of the tasks;  cfg: top_k, threshold, controls (how many at most)
    """
    found = {}
    for task, path in gather.one_by(paths, "task").items():
        table = tables.read(path, schemas.CIRCUITS)
        row = table[
            (table["kind"] == "shared") & (table["top_k"] == cfg["top_k"]) & (table["threshold"] == cfg["threshold"])
        ].iloc[0]
        names, controls = sharing.shared_circuits(table).get(row["circuit"]) or ([], [])
        found[task] = (row["circuit"], names, controls[: cfg["controls"]])
    return found
