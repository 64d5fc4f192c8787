"""What circuit files hold: this project's format and those of other tools, to and from a Circuit."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from circuit_reuse import components
from circuit_reuse.components import Space

SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "circuit.schema.yaml"

SHARED = (
    "an edge into a key or value that several heads share stands here as one into each, with an even part of its score"
)


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
    )


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
        "used": "write_budget_used",
        "budget": "write_budget_max",
        "nodes": "total_components",
        "heads": "num_attention_heads",
        "mlps": "num_mlps",
    }
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
        for name, value in content["nodes"].items()
        if name != "logits"
    }
    edges = {}
    for name, value in content["edges"].items():
        writer, reader = ends(name)
        edges[writer, graph_reader(reader)] = value
    inside = {name for name, node in nodes.items() if node.get("in_graph")}
    kept = {edge: number(value.get("score")) for edge, value in edges.items() if value.get("in_graph")}
    scores = {name: number(node["score"]) for name, node in nodes.items() if node.get("score") is not None}
    if not inside and not kept:
        scored = {edge: number(value.get("score")) for edge, value in edges.items() if value.get("score") is not None}
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
        shape=Space(cfg["n_layers"], cfg["n_heads"], d_model, d_head, cfg.get("n_key_value_heads")),
        # Nodes without a score stand where the computation has them: that is no order of importance.
        ranked=bool(scores) and inside - {"input"} <= set(scores),
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


def as_own(circuit):
    """The content of a file of this project."""
    space, about = circuit.shape, circuit.about
    found = {
        "format": "circuit-reuse",
        "version": 1,
        "model": {"name": about.get("model"), "shape": shape_of(space)},
        "nodes": [
            {"name": name, "cost": space.write_cost(name)} | ({} if score is None else {"score": score})
            for name, score in circuit.nodes.items()
        ],
        "outside": [{"name": name, "score": score} for name, score in circuit.outside.items()],
        "ranked": circuit.ranked,
        "cost": {"used": components.cost(circuit.nodes, space), "total": components.total_cost(space)}
        | ({"budget": circuit.stated["budget"]} if "budget" in circuit.stated else {}),
    }
    found |= {key: about[key] for key in ("task", "method", "provenance") if about.get(key) is not None}
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
    used = components.cost(circuit.nodes, circuit.shape)
    limit = circuit.stated.get("budget", used)
    about = {key: circuit.about[key] for key in ("model", "task", "method") if circuit.about.get(key)}
    return {
        "nodes": list(circuit.nodes),
        "ranked": circuit.ranked,
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


def shape_of(space):
    """The shape of a model as it stands in a file."""
    return {name: value for name, value in vars(space).items() if value is not None}


def edges_of(circuit, parallel=False):
    """The edges of a circuit; of one of nodes, all between them and to the logits.

    Formats of other tools know a key and a value for every query head: an edge into one that several
    heads share is one into each of them, with an even part of its score.
    """
    if circuit.edges is not None:
        found = {}
        for (writer, reader), score in circuit.edges.items():
            heads, part = components.components_of(reader), components.part_of(reader)
            even = score if score is None or len(heads) == 1 else score / len(heads)
            found |= {(writer, f"{head}.{part}" if part else reader): even for head in heads}
        return found
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
        name: {"in_graph": name in circuit.nodes} | ({"score": scores[name]} if name in scores else {})
        for name in space.names
    }
    edges = {}
    for writer, reader in every_edge(space, parallel):
        head = re.sub(r"\.[qkv]$", "", reader)
        part = f"<{reader[-1]}>" if head != reader else ""
        inside = (writer, reader) in kept or (writer, head) in kept
        edges[f"{writer}->{head}{part}"] = {"score": kept.get((writer, reader)) or 0.0, "in_graph": inside}
    cfg = {"n_layers": space.layers, "n_heads": space.heads, "parallel_attn_mlp": parallel}
    cfg |= {"d_model": space.d_model}
    if space.d_head * space.heads != space.d_model:
        cfg["d_head"] = space.d_head
    if space.shared_by > 1:
        cfg["n_key_value_heads"] = space.kv_heads
    found = {"cfg": cfg, "nodes": nodes | {"logits": {"in_graph": True}}, "edges": edges}
    return found | ({"note": SHARED} if shares(circuit) else {})


def shares(circuit):
    """Whether an edge of a circuit goes into a key or value that several heads share."""
    return any(len(components.components_of(reader)) > 1 for _, reader in circuit.edges or ())


def own_readers(edges, space):
    """Edges into the model's own keys and values, from a file that may have one for every query head.

    raises: CircuitFileError where heads that share one do not agree
    """
    found, heads = {}, {}
    for (writer, reader), score in edges.items():
        part, head = components.part_of(reader), components.components_of(reader)[0]
        name = reader
        if space.shared_by > 1 and part in ("k", "v"):
            layer, number = components.place(head)
            name = components.reader_name(layer, part, number // space.shared_by, space.shared_by)
        heads.setdefault((writer, name), []).extend(components.components_of(reader))
        before = found.get((writer, name))
        found[writer, name] = score if before is None else before + (score or 0)
    for (writer, name), there in heads.items():
        wanted = components.components_of(name)
        if sorted(there) != sorted(wanted):
            raise CircuitFileError(
                f"{writer}->{name}: {', '.join(wanted)} share it, so an edge is one for all of them; the file has it "
                f"for {', '.join(there)}"
            )
    return found


def as_edge_list(circuit):
    """{AutoCircuit's name of an edge: score or null}; below a note where heads share keys or values."""
    kept = edges_of(circuit, bool(circuit.about.get("parallel", False)))
    found = {f"{as_auto(w)}->{as_auto(r)}": score for (w, r), score in kept.items()}
    return {"note": SHARED, "edges": found} if shares(circuit) else found


def as_auto(name):
    """AutoCircuit's name of a place."""
    if name in ("input", "logits"):
        return "Resid Start" if name == "input" else "Resid End"
    if match := re.fullmatch(r"m(\d+)", name):
        return f"MLP {match[1]}"
    match = re.fullmatch(r"a(\d+)\.h(\d+)(\.[qkv])?", name)
    return f"A{match[1]}.{match[2]}{(match[3] or '').upper()}"
