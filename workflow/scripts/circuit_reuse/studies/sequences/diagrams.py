"""Diagrams of circuits by Graphviz: layers from top to bottom, colours by membership, edges by effect."""

import html
import itertools
import re
from pathlib import Path

import graphviz

from circuit_reuse.data import components
from circuit_reuse.report import circuit_pages, palette
from circuit_reuse.studies.sequences.graphs import FINAL

# Width and height of a page between its margins, inches.
PAGE = "6.5,8.5"
HELPS, HARMS, EVERY = palette.GREY_27, palette.VERMILION, palette.PALE


def mixed(colours):
    """The mean of some colours, half way to white, so that text on it can be read."""
    values = [[int(c[n : n + 2], 16) for n in (1, 3, 5)] for c in colours]
    means = [sum(column) / len(column) for column in zip(*values, strict=True)]
    return "#" + "".join(f"{round((value + 255) / 2):02x}" for value in means)


def fill(tasks, colours):
    """The colour of what belongs to some tasks: their mixture; one of its own for all three."""
    if len(tasks) == 3 and len(tasks) == len(colours):
        return EVERY
    return mixed([colours[task] for task in tasks]) if tasks else palette.WHITE


def strongest(edges, count):
    """The kept edges of largest effect, q, k and v of one head together.

    returns: [{writer, node, parts, effect}], effect of the part that matters most
    """
    kept = edges[edges["kept"]].copy()
    kept = kept.reindex(kept["score_change"].abs().sort_values(ascending=False, kind="stable").index)
    found = {}
    for row in kept.head(count).to_dict("records"):
        part = components.part_of(row["reader"])
        for node in components.components_of(row["reader"]):
            entry = found.setdefault(
                (row["writer"], node),
                {"writer": row["writer"], "node": node, "parts": [], "effect": row["score_change"]},
            )
            entry["parts"] += [part] if part else []
    return list(found.values())


GRAPH = {
    "rankdir": "TB",
    "ranksep": "0.45",
    "nodesep": "0.14",
    "size": PAGE,
    "labelloc": "t",
    "fontname": "Helvetica",
    "fontsize": "14",
    "newrank": "true",
}
NODE = {
    "shape": "box",
    "style": "filled,rounded",
    "fontname": "Helvetica",
    "fontsize": "12",
    "height": "0.3",
    "width": "0.5",
    "margin": "0.06,0.03",
    "color": palette.GREY_40,
}
EDGE = {"arrowsize": "0.5", "fontname": "Helvetica", "fontsize": "10"}


def draw(title, edge_sets, members, colours, titles, count):
    """One diagram.

    edge_sets: {task: rows of the edges table} of the tasks drawn
    members:   {component: [tasks whose circuit holds it]};  colours, titles: {task: ...}
    count:     edges of each task at most
    returns:   graphviz.Digraph
    """
    graph = graphviz.Digraph(graph_attr=GRAPH | {"label": title}, node_attr=NODE, edge_attr=EDGE)
    drawn = {task: strongest(edges, count) for task, edges in edge_sets.items()}
    nodes = {"input", FINAL} | {end for found in drawn.values() for e in found for end in (e["writer"], e["node"])}
    rows = {}
    for name in sorted(nodes, key=lambda n: (circuit_pages.row_of(n), n)):
        rows.setdefault(circuit_pages.row_of(name), []).append(name)
    for names in rows.values():
        with graph.subgraph() as same:
            same.attr(rank="same")
            for name in names:
                tasks = members.get(name, [])
                every = len(tasks) == len(colours) > 2
                same.node(name, fillcolor=fill(tasks, colours), penwidth="2" if every else "1")
    # What has no edge between two rows still stands in its row.
    first = [names[0] for _, names in sorted(rows.items())]
    for above, below in itertools.pairwise(first):
        graph.edge(above, below, style="invis", weight="0")
    largest = max((abs(e["effect"]) for found in drawn.values() for e in found), default=1) or 1
    for (writer, node), (entry, tasks) in sorted(joined(drawn).items()):
        one = len(edge_sets) == 1
        colour = (HELPS if entry["effect"] < 0 else HARMS) if one else darker(fill(tasks, colours))
        width = 0.5 + 3.5 * abs(entry["effect"]) / largest
        parts = "".join(dict.fromkeys(sorted(entry["parts"], key="qkv".index)))
        graph.edge(
            writer,
            node,
            color=colour,
            penwidth=f"{width:.2f}",
            headlabel=parts,
            labeldistance="1.1",
            fontcolor=palette.GREY_20,
        )
    graph.node(
        "legend",
        legend(edge_sets, {n: t for n, t in members.items() if n in nodes}, colours, titles, largest),
        shape="plain",
        style="",
    )
    with graph.subgraph() as same:
        same.attr(rank="same")
        same.node("input")
        same.node("legend")
    return graph


def joined(drawn):
    """Edges of all tasks: {(writer, node): (the entry of largest effect, tasks)}."""
    found = {}
    for task, entries in drawn.items():
        for entry in entries:
            key = (entry["writer"], entry["node"])
            before, tasks = found.get(key, (entry, []))
            best = entry if abs(entry["effect"]) > abs(before["effect"]) else before
            parts = list(dict.fromkeys([*before["parts"], *entry["parts"]]))
            found[key] = ({**best, "parts": parts}, [*tasks, task])
    return found


def darker(colour):
    """A colour dark enough for a line."""
    return "#" + "".join(f"{round(int(colour[n : n + 2], 16) * 0.62):02x}" for n in (1, 3, 5))


def legend(edge_sets, members, colours, titles, largest):
    """Colours, and what lines and letters mean, as a Graphviz table."""
    groups = list(dict.fromkeys(tuple(tasks) for tasks in members.values() if tasks))
    groups = sorted(groups, key=lambda tasks: (len(tasks), [list(colours).index(t) for t in tasks]))
    rows = []
    for tasks in groups:
        names = ", ".join(html.escape(titles[task]) for task in tasks)
        border = 2 if len(tasks) == len(colours) > 2 else 1
        rows.append(
            f'<TR><TD BGCOLOR="{fill(list(tasks), colours)}" BORDER="{border}" WIDTH="16"> </TD><TD ALIGN="LEFT">{names}</TD></TR>'
        )
    if len(edge_sets) == 1:
        for colour, text in ((HELPS, "edge helps"), (HARMS, "edge works against the task")):
            rows.append(f'<TR><TD><FONT COLOR="{colour}">&#8212;</FONT></TD><TD ALIGN="LEFT">{text}</TD></TR>')
    else:
        rows.append('<TR><TD>&#8212;</TD><TD ALIGN="LEFT">edges in the colours of nodes</TD></TR>')
    rows.append(
        f'<TR><TD>q k v</TD><TD ALIGN="LEFT">read as query, key, value</TD></TR><TR><TD></TD><TD ALIGN="LEFT">thickest line: {100 * largest:.0f} points</TD></TR>'
    )
    return f'<<FONT POINT-SIZE="10"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2">{"".join(rows)}</TABLE></FONT>>'


def undated(content):
    """A PDF without the time at which it was made, so that equal diagrams are equal files."""
    # As long as before: a PDF counts its bytes.
    return re.sub(rb"(?<=/CreationDate \(D:)\d{14}", b"20000101000000", content)


def render(graph, path):
    """Write a diagram as svg or pdf, by the ending of the path.

    raises: ValueError if Graphviz's program is not there
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(undated(graph.pipe(format=path.suffix[1:])))
    except graphviz.ExecutableNotFound:
        raise ValueError(
            "Graphviz's program dot is not installed: apt install graphviz, brew install graphviz or "
            "conda install graphviz; or set sequences.diagrams.draw: never"
        ) from None
