"""A page a model in which the components of its shared circuits can be looked at, with the edges that examples share."""

import numpy as np

from circuit_reuse.data import components, gather
from circuit_reuse.report import circuit_pages
from circuit_reuse.report.numbers import k_label, percent
from circuit_reuse.studies.reuse import schemas

# From this share of the example circuits on a component is shown, whether or not it is in the shared circuit.
OFTEN = 0.5
ABOUT = (
    "Frames are heads and MLPs, those of the shared circuit of a task in its colour. Lines are edges that at least the share p of the example circuits of edges hold, where "
    "edges were asked for (fine_grained.top_k.edge); their width is the mean score, dark where corrupting the edge hurts, orange where it helps."
)


def draw(job):
    """Write the page of every model; cfg: titles, chosen (top_k, threshold), metric's unit."""
    cfg, chosen = job.cfg, job.cfg["chosen"]
    tables = {
        "circuits": gather.rows(job.input.circuits, schemas.CIRCUITS),
        "inclusion": gather.rows(job.input.inclusion, schemas.INCLUSION),
    }
    shared = gather.rows(job.input.fine_shared, schemas.FINE_GRAINED_SHARED) if job.input.fine_shared else None
    found = tables["circuits"]
    found = found[(found["kind"] == "shared") & np.isclose(found["threshold"].astype(float), chosen["threshold"])]
    found = found[np.isclose(found["top_k"], chosen["top_k"])]
    inclusion = tables["inclusion"][np.isclose(tables["inclusion"]["top_k"], chosen["top_k"])]
    for path, model in zip(job.output.pages, cfg["models"], strict=True):
        edges = None if shared is None else shared[shared["model"] == model]
        data = content(model, found[found["model"] == model], inclusion[inclusion["model"] == model], edges, cfg)
        circuit_pages.write(path, data)
    job.log.info("%d pages", len(job.output.pages))


def content(model, found, inclusion, shared, cfg):
    """The data of a model's page.

    found:  its shared circuits, a row a task;  inclusion: its rows at the same K
    shared: rows of fine_grained_shared, or None
    """
    tasks = {row.task: cfg["titles"].get(row.task, row.task) for row in found.itertuples()}
    members = {}
    for row in found.itertuples():
        for name in row.components:
            members.setdefault(str(name), []).append(row.task)
    lines = {task: lines_of(shared, task, cfg["chosen"]["threshold"]) for task in tasks}
    ends = {end for mine in lines.values() for each in mine for end in (each["from"], each["to"])} - {"input", "logits"}
    often = set(inclusion[inclusion["frequency"] >= OFTEN]["component"])
    names = sorted({*members, *ends, *often}, key=components.order)
    by_name = dict(list(inclusion.set_index("task").groupby("component")))
    return {
        "model": f"{model}: {k_label(cfg['chosen']['top_k'])}, p = {percent(cfg['chosen']['threshold'])}",
        "about": ABOUT,
        "unit": cfg["unit"],
        "tasks": circuit_pages.coloured(tasks),
        "read": [],
        "labels": {},
        "nodes": [
            circuit_pages.node(name, members.get(name, []), facts(by_name.get(name), tasks, cfg)) for name in names
        ],
        "edges": lines,
    }


def lines_of(shared, task, threshold):
    """The edges of a task that enough examples share."""
    if shared is None:
        return []
    mine = shared[(shared["task"] == task) & (shared["level"] == "edge") & (shared["frequency"] >= threshold)]
    return [line for row in mine.itertuples() for line in circuit_pages.edges(row.component, row.place, row.mean_score)]


def facts(mine, tasks, cfg):
    """How often example circuits hold a component, and its mean score, by task."""
    if mine is None:
        return []
    return [
        [
            "in the circuits of train examples",
            {task: percent(mine.loc[task, "frequency"]) for task in tasks if task in mine.index},
        ],
        [
            f"mean score, {cfg['unit']}",
            {task: circuit_pages.signed(mine.loc[task, "mean_score"], 3) for task in tasks if task in mine.index},
        ],
    ]
