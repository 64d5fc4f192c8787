"""Diagrams of a model's circuits, and one page in which every node can be looked at."""

from pathlib import Path

import numpy as np

from circuit_reuse.data import components, csv_tables, gather, tables
from circuit_reuse.report import circuit_pages, palette
from circuit_reuse.report.numbers import percent
from circuit_reuse.studies.sequences import diagrams, graphs, schemas

DIRECTIONS, TOKENS = 3, 8
ABOUT = (
    "Lines are edges by path patching; their width is the size of the effect, dark where the edge helps, orange where it works against the task. "
    "Dashed frames: in a circuit, without an edge here."
)


def draw(job):
    """All diagrams, and the page."""
    cfg, model = job.cfg, job.wildcards.model
    edges = {task: tables.read(path, schemas.PATHS) for task, path in gather.one_by(job.input.edges, "task").items()}
    missing = set(cfg["of"]) - set(edges)
    cfg = cfg | {"of": [task for task in cfg["of"] if task in edges]}
    members = membership(tables.read(job.input.circuits, schemas.NAMED), cfg["of"])
    titles = cfg["titles"]
    colours = dict(zip(cfg["of"][:3], cfg["colours"], strict=False))
    shown = {name: [t for t in tasks if t in colours] for name, tasks in members.items()}
    wanted = {}
    for path in map(Path, job.output.diagrams):
        # Without any edges there is nothing that tasks could share: the file says that it was left out.
        if path.stem not in missing and edges:
            wanted.setdefault(path.stem, []).append(path)
    for name, paths in wanted.items():
        chosen = {task: edges[task] for task in ([name] if name in edges else colours)}
        title = f"{titles[name]}, {model}" if name in edges else f"{', '.join(titles[t] for t in chosen)}, {model}"
        graph = diagrams.draw(title, chosen, shown, colours, titles, cfg["edges"])
        for path in paths:
            diagrams.render(graph, path)
    data = content(job.input, cfg, model, edges, members)
    circuit_pages.write(job.output.page, data)
    job.log.info("%d diagrams, a page of %d nodes", len(wanted), len(data["nodes"]))


def membership(named, tasks):
    """{component: tasks whose circuit holds it}, in the order of the tasks."""
    found = {}
    for task in tasks:
        mine = gather.pick(named, kind="task", task=task)
        for name in mine["components"].iloc[0]:
            found.setdefault(str(name), []).append(task)
    return found


def content(input, cfg, model, edges, members):
    """What the page shows: tasks, nodes with all that is known of them, edges, attention."""
    found = {Path(path).stem: csv_tables.read(path) for path in input.tables}
    found = {name: table[table["model"] == model] for name, table in found.items()}
    names = sorted({*members, *(end for table in edges.values() for end in ends(table))}, key=components.order)
    read = gather.one_by(input.attention, "task")
    patterns, labels = attention(read, names)
    colours = dict(zip(cfg["of"][:3], cfg["colours"], strict=False))
    return {
        "model": model,
        "about": ABOUT,
        "unit": "points",
        "tasks": [{"id": t, "title": cfg["titles"][t], "colour": colours.get(t, palette.GREY_60)} for t in cfg["of"]],
        "read": [{"id": task, "title": cfg["titles"][task]} for task in cfg["read"] if task in read],
        "nodes": [
            circuit_pages.node(
                name, members.get(name, []), facts(name, found, cfg), tokens(name, found), patterns.get(name)
            )
            for name in names
        ],
        "labels": labels,
        "edges": {
            task: [
                line
                for row in table.to_dict("records")
                for line in circuit_pages.edges(row["writer"], row["reader"], 100 * row["score_change"], row["kept"])
            ]
            for task, table in edges.items()
        },
    }


def ends(table):
    """Heads and MLPs at either end of the kept edges."""
    kept = table[table["kept"]]
    return graphs.ends_of(kept) - {"input", "logits"}


def facts(name, found, cfg):
    """Rows of numbers of a node: [what, {task: value}], as text."""
    importance = found["importance"]
    if "circuit" in importance:
        importance = importance[importance["circuit"].isna()]
    mine = importance[importance["component"] == name].set_index("task")
    rows = []
    for column, title in (
        ("from_full", "out of the full model, points"),
        ("in_circuit_drop", "out of the circuit, points"),
    ):
        if column in mine:
            rows.append([title, {t: ranged(mine.loc[t], column) for t in cfg["of"] if t in mine.index}])
    for column, title in (
        ("frequency_orders", "kept by random orders"),
        ("frequency_draws", "kept by draws of the examples"),
    ):
        if column in mine:
            rows.append([title, {t: percent(mine.loc[t, column]) for t in cfg["of"] if t in mine.index}])
    heads = found["head_functions"]
    head = heads[heads["component"] == name]
    if len(head):
        head = head.iloc[0]
        for score in ("next", "copy", "previous"):
            rows.append([f"{score} score", {t: percent(head.get(f"{score}_{t}")) for t in cfg["of"]}])
        rows.append(
            ["direct attribution, logits", {t: circuit_pages.signed(head.get(f"direct_{t}")) for t in cfg["of"]}]
        )
        motif = head["motif"].replace("_", " ") if isinstance(head["motif"], str) else "none"
        rows.append(["motif", {"": motif}])
        for column in ("previous_token", "duplicate_token", "induction", "same_type", "last_to_items"):
            rows.append([f"attention: {column.replace('_', ' ')}", {"": percent(head.get(column))}])
    return rows


def ranged(row, column):
    """A change of the score with its interval, in points; a dash where there is none."""
    if not np.isfinite(row[column]):
        return "-"
    return f"{100 * row[column]:+.1f} [{100 * row[f'{column}_low']:+.1f}, {100 * row[f'{column}_high']:+.1f}]"


def tokens(name, found):
    """What a head's first singular directions, or an MLP's top neurons, raise: [[title, words]]."""
    rows = []
    mine = found["spectrum"][found["spectrum"]["component"] == name]
    for row in mine.head(DIRECTIONS).to_dict("records"):
        rows.append(
            [f"direction {row['direction']:.0f} ({row['value']:.2f})", " ".join(str(row["tokens"]).split()[:TOKENS])]
        )
    neurons = found["neurons"][found["neurons"]["component"] == name]
    for row in neurons[neurons["rank"] <= DIRECTIONS].to_dict("records"):
        rows.append(
            [
                f"neuron {row['neuron']:.0f}, {row['task']} ({row['attribution']:+.2f})",
                " ".join(str(row["tokens"]).split()[:TOKENS]),
            ]
        )
    return rows


def attention(read, names):
    """Patterns of the heads shown, in per cent, row by row: {head: {task: [...]}}, {task: labels}.  read: {task: path}"""
    patterns, labels = {}, {}
    for task, path in read.items():
        table = tables.read(path, schemas.ATTENTION)
        first = table[table["component"] == table["component"].iloc[0]]
        labels[task] = first.drop_duplicates("key").sort_values("key")["key_label"].tolist()
        for name, part in table.groupby("component", sort=False):
            if name in names:
                part = part.sort_values(["query", "key"])
                patterns.setdefault(str(name), {})[task] = [round(100 * float(v)) for v in part["attention"]]
    return patterns, labels
