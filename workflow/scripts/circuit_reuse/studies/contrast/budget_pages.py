"""A page a model in which the components of its circuits under the write budget can be looked at."""

import pandas as pd

from circuit_reuse.data import components, csv_tables
from circuit_reuse.data.gather import pick
from circuit_reuse.report import circuit_pages
from circuit_reuse.report.numbers import number, percent, small

ABOUT = (
    "Frames are heads and MLPs in the circuits of the main budget; a budget says which components a circuit holds, not through which edges. The numbers of a component: how much "
    "it differs between the two sets by each scoring, what corrupting it alone does to the task, and in what share of the bootstrap draws it is chosen."
)


def draw(job):
    """Write the page of every model; cfg: models, titles of the sets."""
    found = {
        name: csv_tables.read(path)
        for name, path in zip(("circuits", "components", "inclusion"), job.input.tables, strict=True)
    }
    for path, model in zip(job.output.pages, job.cfg["models"], strict=True):
        mine = {name: table[table["model"] == model] for name, table in found.items()}
        circuit_pages.write(path, content(model, mine, job.cfg["titles"]))
    job.log.info("%d pages", len(job.output.pages))


def content(model, found, titles):
    """The data of a model's page; found: its rows of circuits, components and inclusion."""
    circuits = found["circuits"]
    circuits = circuits[circuits["main"].astype(bool) & (circuits["condition"] == "real")]
    rows = [(f"{row.set}.{row.scored_by}.{row.rule}", row) for row in circuits.itertuples()]
    tasks = {key: f"{titles.get(row.set, row.set)}: {row.scored_by}, {row.rule}" for key, row in rows}
    members = {}
    for key, row in rows:
        for name in str(row.components).split():
            members.setdefault(name, []).append(key)
    names = sorted(set(members) - {"input"}, key=components.order)
    return {
        "model": f"{model}, under the write budget",
        "about": ABOUT,
        "unit": "",
        "tasks": circuit_pages.coloured(tasks),
        "read": [],
        "labels": {},
        "nodes": [circuit_pages.node(name, members[name], facts(name, rows, found)) for name in names],
        "edges": {},
    }


def facts(name, rows, found):
    """What is known of a component, by circuit."""
    table = found["components"][found["components"]["component"] == name].set_index(["set", "scoring"])
    chosen = pick(found["inclusion"], component=name, condition="real")
    chosen = chosen.set_index(["set", "scored_by", "rule"])["frequency"]
    score, q, effect, often = {}, {}, {}, {}
    for key, row in rows:
        if (row.set, row.scored_by) in table.index:
            mine = table.loc[[(row.set, row.scored_by)]].iloc[0]
            score[key] = number(mine["score"])
            if pd.notna(mine["score_low"]):
                score[key] += f" [{number(mine['score_low'])}, {number(mine['score_high'])}]"
            q[key] = small(mine["q_value"])
            effect[key] = percent(mine["effect_share"])
        if (row.set, row.scored_by, row.rule) in chosen.index:
            often[key] = percent(chosen.loc[[(row.set, row.scored_by, row.rule)]].iloc[0])
    listed = (
        ("difference", score),
        ("q of a difference", q),
        ("effect alone, share of the whole", effect),
        ("chosen by draws", often),
    )
    return [[title, values] for title, values in listed if values]
