"""What circuit files hold: this project's format and those of other tools, to and from a Circuit."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from circuit_reuse.data import components
from circuit_reuse.data.circuit_shapes import CircuitFileError, shape_of_graph, sound_shape
from circuit_reuse.data.components import Space

SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "circuit.schema.yaml"

SHARED = (
    "an edge into a key or value that several heads share stands here as one into each, with an even part of its score"
)


@dataclass(frozen=True)
class Circuit:
    """A circuit with what its file says of it.

    nodes:   {component: score or None}, those in the circuit, the first chosen first
    outside: {component: score}, scored components that are not in it
    edges:   {(writer, reader): score or None} or None for a circuit of nodes; readers as a5.h1.q, m3,
             logits (a5.h1 where the file does not split queries, keys and values)
    weights: [(from, to, value or None)] or None
    shape:   components.Space or None where the file does not say
    ranked:  whether the order of the nodes is one of importance
    stated:  {what: number} that the file claims of itself: cost, budget, nodes, heads, mlps
    about:   model, task, method and more, as text
    """

    nodes: dict
    outside: dict = field(default_factory=dict)
    edges: dict | None = None
    weights: list | None = None
    shape: Space | None = None
    ranked: bool = True
    stated: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    @property
    def scores(self):
        """{component: score} of all components that have one, in the circuit or not."""
        found = {name: score for name, score in self.nodes.items() if score is not None}
        return found | self.outside


def parse(content, keep=None):
    """A Circuit from the content of a file, not yet checked against a model."""
    if isinstance(content, dict) and content.get("format") == "circuit-reuse":
        return all_of(own(content), keep)
    if isinstance(content, dict) and {"cfg", "nodes", "edges"} <= set(content):
        return graph(content, keep)
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        return all_of(budget_list(content), keep)
    edges = content.get("edges", content) if isinstance(content, dict) else content
    if isinstance(edges, list):
        edges = dict.fromkeys(each_once(edges))
    if isinstance(edges, dict) and edges and all("->" in str(name) for name in edges):
        return edge_list(edges, keep)
    raise CircuitFileError(
        "no known format: expected a circuit of this project, {nodes: [...], metadata}, a graph of EAP-IG "
        "or MIB {cfg, nodes, edges}, or AutoCircuit's names of edges"
    )


def all_of(circuit, keep):
    """The circuit of a file that says what is in it; raises CircuitFileError for a share of it to keep."""
    if keep is not None:
        raise CircuitFileError(
            "`keep` is for files of scores alone; this one says what is in the circuit: take `keep` out"
        )
    return circuit


def own(content):
    """A file of this project, checked by its schema."""
    import jsonschema

    for error in jsonschema.Draft202012Validator(schema()).iter_errors(content):
        where = ".".join(map(str, error.absolute_path)) or "the file"
        raise CircuitFileError(f"{where}: {error.message}")
    nodes = each_once([node["name"] for node in content["nodes"]])
    outside = each_once([node["name"] for node in content.get("outside", [])])
    if both := [name for name in outside if name in set(nodes)]:
        raise CircuitFileError(f"{both[0]} is in nodes and in outside; it must be in one of them")
    scored = {node["name"]: number(node.get("score")) for node in content["nodes"]}
    edges, weights = content.get("edges"), content.get("weights")
    if edges is not None:
        each_once([f"{edge['from']}->{edge['to']}" for edge in edges])
        # What only receives need not be there, as a circuit of edges has those that send.
        if missing := [edge for edge in edges if edge["from"] not in scored]:
            raise CircuitFileError(
                f"the edge {missing[0]['from']}->{missing[0]['to']} is from {missing[0]['from']}, which is not in nodes; list it there"
            )
    shape = content.get("model", {}).get("shape")
    claimed = content.get("cost", {})
    return Circuit(
        nodes={name: scored[name] for name in nodes},
        outside=dict(zip(outside, (number(node["score"]) for node in content.get("outside", [])), strict=True)),
        edges=None if edges is None else {(e["from"], e["to"]): number(e.get("score")) for e in edges},
        weights=None if weights is None else [(w["from"], w["to"], number(w.get("value"))) for w in weights],
        shape=sound_shape("model.shape", **shape) if shape else None,
        ranked=content.get("ranked", True),
        stated={name: claimed[name] for name in ("used", "budget") if claimed.get(name) is not None},
        about={"model": content.get("model", {}).get("name")}
        | {key: content[key] for key in ("task", "method", "provenance") if key in content},
    )


@cache
def schema():
    """The JSON schema of this project's own format."""
    import yaml

    return yaml.safe_load(SCHEMA.read_text())


def budget_list(content):
    """A list of nodes under a write budget; scores (of any component) may stand beside it."""
    metadata, scores = content.get("metadata") or {}, content.get("scores") or {}
    if not isinstance(metadata, dict) or not isinstance(scores, dict):
        raise CircuitFileError("metadata and scores must be objects, scores of {component: score}")
    names = each_once(content["nodes"])
    about = {name: metadata[name] for name in ("model", "task", "method") if metadata.get(name) is not None}
    if wrong := [name for name, value in about.items() if not isinstance(value, str)]:
        raise CircuitFileError(f"metadata.{wrong[0]} is {str(about[wrong[0]])[:60]}; it must be text")
    keys = {
        "used": "write_budget_used",
        "budget": "write_budget_max",
        "nodes": "total_components",
        "heads": "num_attention_heads",
        "mlps": "num_mlps",
    }
    return Circuit(
        nodes={name: number(scores.get(name)) for name in names},
        outside={name: number(score) for name, score in scores.items() if name not in set(names)},
        ranked=true_or_false("ranked", content.get("ranked", True)),
        stated={name: number(metadata[key]) for name, key in keys.items() if metadata.get(key) is not None},
        about=about,
    )


def graph(content, keep):
    """A graph of EAP-IG or MIB: nodes as booleans, or as objects with in_graph and score."""
    cfg = content["cfg"]
    if not all(isinstance(content[name], dict) for name in ("cfg", "nodes", "edges")):
        raise CircuitFileError("cfg, nodes and edges must be objects, nodes and edges of {name: {in_graph, score}}")
    missing = [name for name in ("n_layers", "n_heads") if name not in cfg]
    if missing:
        raise CircuitFileError(f"cfg has no {missing[0]}")
    shape = shape_of_graph(cfg)
    nodes = {
        name: value if isinstance(value, dict) else {"in_graph": value}
        for name, value in content["nodes"].items()
        if name != "logits"
    }
    edges = {}
    for name, value in content["edges"].items():
        writer, reader = ends(name)
        edges[writer, graph_reader(reader)] = value if isinstance(value, dict) else {"in_graph": value}
    inside = {name for name, node in nodes.items() if in_graph(node, name)}
    kept = {edge: number(value.get("score")) for edge, value in edges.items() if in_graph(value, "->".join(edge))}
    if edges and len(kept) == len(edges) and None not in kept.values():
        # Older versions of EAP-IG begin with every edge in the graph: scores alone.
        if keep is not None:
            inside, kept = set(), {}
        elif len(edges) >= number_of_edges(shape, cfg.get("parallel_attn_mlp", False)):
            raise CircuitFileError(
                "every edge of the model is in the graph and has a score: set `keep`, the share of edges that is the circuit (1 for all of them)"
            )
    scores = {name: number(node["score"]) for name, node in nodes.items() if node.get("score") is not None}
    if not inside and not kept:
        scored = {edge: number(value.get("score")) for edge, value in edges.items() if value.get("score") is not None}
        if any(scored.values()):
            kept = largest(scored, keep)
        else:
            inside = set(largest(scores, keep))
    elif keep is not None:
        raise CircuitFileError(
            "`keep` is for graphs with scores alone; this one says what is in the circuit: take `keep` out"
        )
    inside |= {writer for writer, _ in kept}
    return Circuit(
        nodes=in_order(inside, scores),
        outside={name: score for name, score in scores.items() if name not in inside},
        edges=kept or None,
        shape=shape,
        # Nodes without a score stand where the computation has them: that is no order of importance.
        ranked=bool(scores) and inside - {"input"} <= set(scores),
        about={"parallel": true_or_false("cfg.parallel_attn_mlp", cfg.get("parallel_attn_mlp", False))},
    )


def number_of_edges(shape, parallel):
    """Edges of a graph of EAP-IG: from the input, heads and MLPs to three inputs of each later head, to MLPs, and to the logits.

    Counted and not listed (circuit_exports.every_edge), as the shape is what a file says, of any size.
    """
    edges, writers = 0, 1
    for _ in range(shape.layers):
        edges += 3 * shape.heads * writers + writers + (0 if parallel else shape.heads)
        writers += shape.heads + 1
    return edges + writers


def true_or_false(where, value):
    """What is true or false in a file; raises CircuitFileError for anything else, as "false" in quotes would be true."""
    if not isinstance(value, bool):
        raise CircuitFileError(f"{where} is {value!r}; it must be true or false")
    return value


def in_graph(value, name):
    """Whether a node or an edge of a graph is in its circuit; raises CircuitFileError for what is neither true nor false."""
    said = value.get("in_graph")
    if said not in (None, True, False):
        raise CircuitFileError(f"{name}: in_graph is {said!r}; it must be true or false")
    return bool(said)


def edge_list(edges, keep):
    """AutoCircuit's names of edges: all of them, or with `keep` that share of the strongest."""
    found = {}
    for name, score in edges.items():
        writer, reader = (auto_name(end, name) for end in ends(name))
        found[writer, reader] = number(score)
    if keep is not None:
        found = largest(found, keep)
    inside = {writer for writer, _ in found}
    return Circuit(nodes=in_order(inside, {}), edges=found, ranked=False)


def largest(scores, keep):
    """The share `keep` of what is scored, largest |score| first."""
    if not scores:
        raise CircuitFileError("nothing is in the circuit and nothing has a score")
    if keep is None:
        raise CircuitFileError(
            "it holds scores but no circuit (nothing is in the graph): set `keep` to the share of the "
            "scored edges or nodes that make the circuit"
        )
    bare = sum(score is None for score in scores.values())
    if bare:
        raise CircuitFileError(f"`keep` takes the strongest, but {bare} of {len(scores)} have no score")
    order = sorted(scores, key=lambda name: -abs(scores[name]))
    return {name: scores[name] for name in order[: max(1, round(keep * len(scores)))]}


def in_order(names, scores):
    """{name: score}, by |score| where there are scores, else in the order of the computation."""
    for name in names:
        known(name)
    order = sorted(names, key=components.order)
    order.sort(key=lambda name: (name != "input", -abs(scores.get(name) or 0.0)))
    return {name: scores.get(name) for name in order}


def ends(edge):
    """Writer and reader of "writer->reader"."""
    parts = str(edge).split("->")
    if len(parts) != 2:
        raise CircuitFileError(f"{edge!r} names no edge; expected writer->reader")
    return parts


def graph_reader(name):
    """a5.h1<q> as a5.h1.q; m3 and logits as they are."""
    return re.sub(r"<([qkv])>$", r".\1", name)


AUTO = [
    (re.compile(r"Resid Start"), lambda match: "input"),
    (re.compile(r"Resid End"), lambda match: "logits"),
    (re.compile(r"MLP (\d+)"), lambda match: f"m{match[1]}"),
    (re.compile(r"A(\d+)\.(\d+)"), lambda match: f"a{match[1]}.h{match[2]}"),
    (re.compile(r"A(\d+)\.(\d+)\.([QKV])"), lambda match: f"a{match[1]}.h{match[2]}.{match[3].lower()}"),
]


def auto_name(name, edge):
    """The name of a place of AutoCircuit in this project."""
    for pattern, made in AUTO:
        if match := pattern.fullmatch(name):
            return made(match)
    raise CircuitFileError(f"{edge!r}: {name!r} names no place; expected Resid Start, A5.1, A5.1.Q, MLP 3 or Resid End")


def each_once(names):
    """The names, if they are text and none is there twice."""
    for name in names:
        if not isinstance(name, str):
            raise CircuitFileError(f"{name!r} is not a name")
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise CircuitFileError(f"{', '.join(twice)} is listed twice")
    return names


def number(value):
    """A score as a number, or None for none."""
    if value is None or value == "":
        return None
    try:
        # True is no score, though Python takes it for 1.
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        written = str(value) if isinstance(value, bool) else repr(value)
        shown = written if len(written) <= 40 else f"{written[:40]}..."
        raise CircuitFileError(f"{shown} is no score; scores must be finite numbers")
    return found


def known(name):
    """Refuse what names no component."""
    try:
        components.kind(name)
    except ValueError as problem:
        raise CircuitFileError(str(problem)) from None
