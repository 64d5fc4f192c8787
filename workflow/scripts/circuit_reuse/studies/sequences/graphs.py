"""Edges as a graph: which are kept, and which lie on a way from the input to the logits; no torch."""

import networkx as nx
import numpy as np

from circuit_reuse.data.components import components_of

FINAL = "logits"


def cuts(cfg):
    """(rule, value, whether it is the chosen one) of every cut: all edges first."""
    wanted = (cfg["rule"], float(cfg["value"]))
    found = [("all", None, wanted == ("quantile", 0.0))]
    listed = [("quantile", float(q)) for q in cfg["quantiles"]] + [("acdc", float(limit)) for limit in cfg["acdc"]]
    listed += [wanted] if wanted not in listed and wanted != ("quantile", 0.0) else []
    return found + [(*each, each == wanted) for each in listed]


def cut_at(changes, rule, value):
    """Which edges are kept: those of at least the quantile of |change|, or of at least so large a change.

    changes: [edge] of the score, all of them measured;  returns: (least |change| kept, [edge] bool)
    """
    size = np.abs(changes)
    if rule == "all":
        return 0.0, np.ones(len(size), dtype=bool)
    cut = float(np.quantile(size, value)) if rule == "quantile" else value
    return cut, size >= cut


def connected(table, kept):
    """Of the edges kept, those on a way from the input to the logits: [edge] bool."""
    graph = nx.DiGraph()
    graph.add_nodes_from(["input", FINAL])
    for writer, reader in zip(table["writer"][kept], table["reader"][kept], strict=True):
        graph.add_edges_from((writer, node) for node in components_of(reader))
    good = ({"input"} | nx.descendants(graph, "input")) & ({FINAL} | nx.ancestors(graph, FINAL))
    both = [
        writer in good and any(node in good for node in components_of(reader))
        for writer, reader in zip(table["writer"], table["reader"], strict=True)
    ]
    return kept & np.array(both, dtype=bool)


def nodes_of(table):
    """Heads and MLPs at either end of some edges."""
    return sorted(ends_of(table) - {"input", FINAL})


def ends_of(table):
    """The components at either end of some edges; of a shared key or value, every head."""
    return {*table["writer"], *(node for reader in table["reader"] for node in components_of(reader))}
