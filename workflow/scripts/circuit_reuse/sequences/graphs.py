"""Edges as a graph: which are kept, and which lie on a way from the input to the logits; no torch."""

import networkx as nx
import numpy as np

FINAL = "logits"


def cuts(cfg):
    """(rule, value, whether it is the chosen one) of every cut: all edges first."""
    wanted = (cfg["rule"], float(cfg["value"]))
    found = [("all", None, wanted == ("quantile", 0.0))]
    listed = [("quantile", float(q)) for q in cfg["quantiles"]]
    listed += [wanted] if wanted not in listed and wanted != ("quantile", 0.0) else []
    return found + [(*each, each == wanted) for each in listed]


def cut_at(effects, rule, value):
    """Which edges are kept: those of at least the quantile of |effect|, or at least so many points.

    effects: [edge], all of them measured;  returns: (least |effect| kept, [edge] bool)
    """
    size = np.abs(effects)
    if rule == "all":
        return 0.0, np.ones(len(size), dtype=bool)
    cut = float(np.quantile(size, value)) if rule == "quantile" else value
    return cut, size >= cut


def connected(table, kept):
    """Of the edges kept, those on a way from the input to the logits: [edge] bool."""
    graph = nx.DiGraph()
    graph.add_nodes_from(["input", FINAL])
    for writer, reader in zip(table["writer"][kept], table["reader"][kept], strict=True):
        graph.add_edge(writer, node_of(reader))
    good = ({"input"} | nx.descendants(graph, "input")) & ({FINAL} | nx.ancestors(graph, FINAL))  # fmt: skip
    both = [w in good and node_of(r) in good for w, r in zip(table["writer"], table["reader"], strict=True)]  # fmt: skip
    return kept & np.array(both, dtype=bool)


def node_of(reader):
    """The component that a reader belongs to: a5.h1 of a5.h1.q."""
    return reader.rsplit(".", 1)[0] if reader[-2:] in (".q", ".k", ".v") else reader


def nodes_of(table):
    """Heads and MLPs at either end of some edges."""
    ends = {*table["writer"], *map(node_of, table["reader"])}
    return sorted(ends - {"input", FINAL})
