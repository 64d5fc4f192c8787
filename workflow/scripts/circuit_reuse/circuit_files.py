"""Circuit files: one format for nodes, edges and weights, and those of other tools, in and out.

Formats, found by what a file holds:
circuit:    this project's own (workflow/schemas/circuit.schema.yaml)
budget:     {"nodes": [name, ...], "metadata": {"write_budget_used": ...}}, a list under a write budget
graph:      {"cfg", "nodes", "edges"} of EAP-IG (Hanna et al. 2024) and of MIB (Mueller et al. 2025)
edges:      AutoCircuit's names of edges, "A0.1->MLP 2": a list, {name: score}, or a CSV edge,score
JSON and CSV only; no torch.
"""

import csv
import json
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from circuit_reuse import components
from circuit_reuse.components import Space

SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "circuit.schema.yaml"
FORMATS = ("circuit", "budget", "graph", "edges")
ENDINGS = {"circuit": ".json", "budget": ".budget.json", "graph": ".graph.json", "edges": ".edges.json"}  # fmt: skip


class CircuitFileError(ValueError):
    """A circuit file that cannot be used."""


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


def cost(names, space):
    """Write cost of a set of components: d_model for the input and an MLP, d_head for a head."""
    return sum(space.write_cost(name) for name in names)


def total_cost(space):
    """Write cost of all components of a model."""
    return cost(space.names, space)


def read(path, shape=None, keep=None):
    """A circuit from a file of any of the formats, checked against itself and the model.

    shape:  components.Space of the model; needed if the file does not say
    keep:   share of the scored edges (or nodes) that make the circuit, for a file of scores alone
    raises: CircuitFileError that names the file, what is wrong with it, and what is allowed
    """
    try:
        circuit = parse(load(path), keep)
    except CircuitFileError as problem:
        raise CircuitFileError(f"{path}: {problem}") from None
    if shape is not None and circuit.shape is not None:
        for name in ("layers", "heads", "d_model", "d_head"):
            said, known = getattr(circuit.shape, name), getattr(shape, name)
            if said is not None and said != known:
                raise CircuitFileError(f"{path} is for a model with {name} {said}; the model has {known}")  # fmt: skip
    space = shape or circuit.shape
    if space is None or None in (space.d_model, space.d_head):
        raise CircuitFileError(
            f"{path} does not say how large its model is: give its shape (layers, heads, d_model, d_head)"
        )
    check_names(path, circuit, space)
    check_stated(path, circuit, space)
    return replace(circuit, shape=space)


def load(path):
    """What a file holds: parsed JSON, or {edge: score} of a CSV."""
    path = Path(path)
    if not path.is_file():
        raise CircuitFileError("there is no such file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CircuitFileError("it is not text; circuit files are JSON or CSV") from None
    if path.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        if not rows or "edge" not in rows[0]:
            raise CircuitFileError(
                "a CSV of edges needs the columns edge and, if there are scores, score"
            )
        names = [row["edge"] for row in rows]
        scored = {row["edge"]: number(row.get("score")) for row in rows}
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CircuitFileError(f"{', '.join(twice)} is listed twice")
        return scored
    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as problem:
        raise CircuitFileError(f"it is not JSON: {problem}") from None


def unique(pairs):
    """A JSON object in which no key is there twice (json keeps the last without a word)."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise CircuitFileError(f"{next(k for k in keys if keys.count(k) > 1)!r} is listed twice")
    return found


def parse(content, keep=None):
    """A Circuit from the content of a file, not yet checked against a model."""
    if isinstance(content, dict) and content.get("format") == "circuit-reuse":
        return own(content)
    if isinstance(content, dict) and {"cfg", "nodes", "edges"} <= set(content):
        return graph(content, keep)
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        return budget_list(content)
    edges = content.get("edges", content) if isinstance(content, dict) else content
    if isinstance(edges, list):
        edges = dict.fromkeys(each_once(edges))
    if isinstance(edges, dict) and edges and all("->" in str(name) for name in edges):
        return edge_list(edges, keep)
    raise CircuitFileError(
        "no known format: expected a circuit of this project, {nodes: [...], metadata}, a graph of EAP-IG "
        "or MIB {cfg, nodes, edges}, or AutoCircuit's names of edges"
    )


def own(content):
    """A file of this project, checked by its schema."""
    import jsonschema

    for error in jsonschema.Draft202012Validator(schema()).iter_errors(content):
        where = ".".join(map(str, error.absolute_path)) or "the file"
        raise CircuitFileError(f"{where}: {error.message}")
    nodes = each_once([node["name"] for node in content["nodes"]])
    scored = {node["name"]: node.get("score") for node in content["nodes"]}
    edges, weights = content.get("edges"), content.get("weights")
    if edges is not None:
        each_once([f"{edge['from']}->{edge['to']}" for edge in edges])
    shape = content.get("model", {}).get("shape")
    claimed = content.get("cost", {})
    return Circuit(
        nodes={name: scored[name] for name in nodes},
        outside={node["name"]: node["score"] for node in content.get("outside", [])},
        edges=None if edges is None else {(e["from"], e["to"]): e.get("score") for e in edges},
        weights=None if weights is None else [(w["from"], w["to"], w.get("value")) for w in weights],
        shape=Space(**shape) if shape else None,
        ranked=content.get("ranked", True),
        stated={name: claimed[name] for name in ("used", "budget") if claimed.get(name) is not None},
        about={"model": content.get("model", {}).get("name")}
        | {key: content[key] for key in ("task", "method", "provenance") if key in content},
    )  # fmt: skip


@cache
def schema():
    """The JSON schema of this project's own format."""
    import yaml

    return yaml.safe_load(SCHEMA.read_text())


def budget_list(content):
    """A list of nodes under a write budget; scores (of any component) may stand beside it."""
    metadata = content.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise CircuitFileError("metadata must be an object")
    names, scores = each_once(content["nodes"]), content.get("scores") or {}
    keys = {
        "used": "write_budget_used", "budget": "write_budget_max", "nodes": "total_components",
        "heads": "num_attention_heads", "mlps": "num_mlps",
    }  # fmt: skip
    return Circuit(
        nodes={name: number(scores.get(name)) for name in names},
        outside={name: number(score) for name, score in scores.items() if name not in set(names)},
        ranked=bool(content.get("ranked", True)),
        stated={name: metadata[key] for name, key in keys.items() if key in metadata},
        about={name: metadata[name] for name in ("model", "task", "method") if name in metadata},
    )


def graph(content, keep):
    """A graph of EAP-IG or MIB: nodes as booleans, or as objects with in_graph and score."""
    cfg = content["cfg"]
    missing = [name for name in ("n_layers", "n_heads") if name not in cfg]
    if missing:
        raise CircuitFileError(f"cfg has no {missing[0]}")
    nodes = {
        name: value if isinstance(value, dict) else {"in_graph": value}
        for name, value in content["nodes"].items() if name != "logits"
    }  # fmt: skip
    edges = {}
    for name, value in content["edges"].items():
        writer, reader = ends(name)
        edges[writer, graph_reader(reader)] = value
    inside = {name for name, node in nodes.items() if node.get("in_graph")}
    kept = {
        edge: number(value.get("score")) for edge, value in edges.items() if value.get("in_graph")
    }
    scores = {
        name: number(node["score"]) for name, node in nodes.items() if node.get("score") is not None
    }
    if not inside and not kept:
        scored = {edge: number(value.get("score")) for edge, value in edges.items() if value.get("score") is not None}  # fmt: skip
        if any(scored.values()):
            kept = largest(scored, keep)
        else:
            inside = set(largest(scores, keep))
    d_model = cfg.get("d_model")
    d_head = cfg.get("d_head") or (d_model and d_model // cfg["n_heads"])
    inside |= {writer for writer, _ in kept}
    return Circuit(
        nodes=in_order(inside, scores),
        outside={name: score for name, score in scores.items() if name not in inside},
        edges=kept or None,
        shape=Space(cfg["n_layers"], cfg["n_heads"], d_model, d_head),
        ranked=bool(scores),
        about={"parallel": bool(cfg.get("parallel_attn_mlp", False))},
    )


def edge_list(edges, keep):
    """AutoCircuit's names of edges; a file with a score for every edge needs `keep`."""
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
    order = sorted(scores, key=lambda name: -abs(scores[name] or 0.0))
    return {name: scores[name] for name in order[: max(1, round(keep * len(scores)))]}


def in_order(names, scores):
    """{name: score}, by |score| where there are scores, else in the order of the computation."""
    for name in names:
        known(name)
    order = sorted(names, key=components.order)
    return {
        name: scores.get(name) for name in sorted(order, key=lambda n: -abs(scores.get(n) or 0.0))
    }


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
]  # fmt: skip


def auto_name(name, edge):
    """The name of a place of AutoCircuit in this project."""
    for pattern, made in AUTO:
        if match := pattern.fullmatch(name):
            return made(match)
    raise CircuitFileError(
        f"{edge!r}: {name!r} names no place; expected Resid Start, A5.1, A5.1.Q, MLP 3 or Resid End"
    )


def each_once(names):
    """The names, if they are text and none is there twice."""
    for name in names:
        if not isinstance(name, str):
            raise CircuitFileError(f"{name!r} is not a name")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CircuitFileError(f"{', '.join(twice)} is listed twice")
    return names


def number(value):
    """A score as a number, or None for none."""
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CircuitFileError(f"{value!r} is no score") from None


def known(name):
    """Refuse what names no component."""
    try:
        components.kind(name)
    except ValueError as problem:
        raise CircuitFileError(str(problem)) from None


def check_names(path, circuit, space):
    """Every component, and both ends of every edge, must be the model's.

    raises: CircuitFileError that names each that is not
    """
    places = list(circuit.nodes) + list(circuit.outside)
    for writer, reader in circuit.edges or {}:
        places.append(writer)
        if reader != "logits":
            places.append(re.sub(r"\.[qkv]$", "", reader))
    there = set(space.names)
    wrong = [name for name in dict.fromkeys(places) if name not in there]
    if wrong:
        raise CircuitFileError(
            f"{path}: the model has {space.layers} layers of {space.heads} heads and so no {', '.join(wrong)}"
        )


def check_stated(path, circuit, space):
    """What a file says of its own size must be so: the cost is counted again.

    raises: CircuitFileError with both numbers
    """
    kinds = [components.kind(name) for name in circuit.nodes]
    counted = {
        "used": ("write cost", cost(circuit.nodes, space)),
        "nodes": ("number of components", len(kinds)),
        "heads": ("number of heads", kinds.count("head")),
        "mlps": ("number of MLPs", kinds.count("mlp")),
    }
    for key, (what, found) in counted.items():
        said = circuit.stated.get(key)
        if said is not None and said != found:
            raise CircuitFileError(f"{path} states a {what} of {said}; its components make {found}")
    limit = circuit.stated.get("budget")
    if limit is not None and counted["used"][1] > limit:
        raise CircuitFileError(
            f"{path} states a budget of {limit}; its components cost {counted['used'][1]}"
        )


def write(path, circuit, form):
    """Write a circuit with a shape in one of FORMATS."""
    made = {"circuit": as_own, "budget": as_budget_list, "graph": as_graph, "edges": as_edge_list}
    Path(path).write_text(json.dumps(made[form](circuit), indent=1) + "\n", encoding="utf-8")


def as_own(circuit):
    """The content of a file of this project."""
    space, about = circuit.shape, circuit.about
    found = {
        "format": "circuit-reuse",
        "version": 1,
        "model": {"name": about.get("model"), "shape": vars(space).copy()},
        "nodes": [
            {"name": name, "cost": space.write_cost(name)}
            | ({} if score is None else {"score": score})
            for name, score in circuit.nodes.items()
        ],
        "outside": [{"name": name, "score": score} for name, score in circuit.outside.items()],
        "ranked": circuit.ranked,
        "cost": {"used": cost(circuit.nodes, space), "total": total_cost(space)}
        | ({"budget": circuit.stated["budget"]} if "budget" in circuit.stated else {}),
    }
    found |= {key: about[key] for key in ("task", "method", "provenance") if about.get(key) is not None}  # fmt: skip
    if circuit.edges is not None:
        found["edges"] = [
            {"from": writer, "to": reader} | ({} if score is None else {"score": score})
            for (writer, reader), score in circuit.edges.items()
        ]
    if circuit.weights is not None:
        found["weights"] = [
            {"from": start, "to": end} | ({} if value is None else {"value": value})
            for start, end, value in circuit.weights
        ]
    return found


def as_budget_list(circuit):
    """The content of a list under a write budget."""
    kinds = [components.kind(name) for name in circuit.nodes]
    used = cost(circuit.nodes, circuit.shape)
    limit = circuit.stated.get("budget", used)
    about = {
        key: circuit.about[key] for key in ("model", "task", "method") if circuit.about.get(key)
    }
    return {
        "nodes": list(circuit.nodes),
        "metadata": {
            "total_components": len(kinds),
            "write_budget_used": used,
            "write_budget_max": limit,
            "budget_utilization": f"{100 * used / limit:.1f}%",
            "num_mlps": kinds.count("mlp"),
            "num_attention_heads": kinds.count("head"),
        }
        | about,
        "scores": circuit.scores,
    }


def every_edge(space, parallel=False):
    """All edges of a model in EAP-IG's order: (writer, reader), readers as a5.h1.q, m3, logits.

    parallel: whether an MLP reads the stream before its own layer's attention
    """
    stream, found = ["input"], []
    for layer in range(space.layers):
        heads = [f"a{layer}.h{head}" for head in range(space.heads)]
        readers = [f"{head}.{part}" for head in heads for part in "qkv"]
        found += [(writer, reader) for writer in stream for reader in readers]
        seen = stream if parallel else stream + heads
        found += [(writer, f"m{layer}") for writer in seen]
        stream = stream + heads + [f"m{layer}"]
    return found + [(writer, "logits") for writer in stream]


def edges_of(circuit, parallel=False):
    """The edges of a circuit; of one of nodes, all between them and to the logits."""
    if circuit.edges is not None:
        return circuit.edges
    inside = {*circuit.nodes, "logits"}
    return {
        (writer, reader): None
        for writer, reader in every_edge(circuit.shape, parallel)
        if writer in inside and re.sub(r"\.[qkv]$", "", reader) in inside
    }


def as_graph(circuit):
    """The content of a graph that EAP-IG and MIB read; edges without a score have 0."""
    space, parallel = circuit.shape, bool(circuit.about.get("parallel", False))
    kept, scores = edges_of(circuit, parallel), circuit.scores
    nodes = {
        name: {"in_graph": name in circuit.nodes}
        | ({"score": scores[name]} if name in scores else {})
        for name in space.names
    }
    edges = {}
    for writer, reader in every_edge(space, parallel):
        head = re.sub(r"\.[qkv]$", "", reader)
        part = f"<{reader[-1]}>" if head != reader else ""
        inside = (writer, reader) in kept or (writer, head) in kept
        edges[f"{writer}->{head}{part}"] = {
            "score": kept.get((writer, reader)) or 0.0,
            "in_graph": inside,
        }
    cfg = {"n_layers": space.layers, "n_heads": space.heads, "parallel_attn_mlp": parallel}
    cfg |= {"d_model": space.d_model}
    return {"cfg": cfg, "nodes": nodes | {"logits": {"in_graph": True}}, "edges": edges}


def as_edge_list(circuit):
    """{AutoCircuit's name of an edge: score or null}."""
    kept = edges_of(circuit, bool(circuit.about.get("parallel", False)))
    return {f"{as_auto(w)}->{as_auto(r)}": score for (w, r), score in kept.items()}


def as_auto(name):
    """AutoCircuit's name of a place."""
    if name in ("input", "logits"):
        return "Resid Start" if name == "input" else "Resid End"
    if match := re.fullmatch(r"m(\d+)", name):
        return f"MLP {match[1]}"
    match = re.fullmatch(r"a(\d+)\.h(\d+)(\.[qkv])?", name)
    return f"A{match[1]}.{match[2]}{(match[3] or '').upper()}"
