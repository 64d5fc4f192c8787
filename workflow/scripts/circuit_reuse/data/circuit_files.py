"""Circuit files: one format for nodes, edges and weights, and those of other tools, in and out.

Formats, found by what a file holds:
circuit:    this project's own (workflow/schemas/circuit.schema.yaml)
budget:     {"nodes": [name, ...], "metadata": {"write_budget_used": ...}}, a list under a write budget
graph:      {"cfg", "nodes", "edges"} of EAP-IG (Hanna et al. 2024) and of MIB (Mueller et al. 2025)
edges:      AutoCircuit's names of edges, "A0.1->MLP 2": a list, {name: score}, or a CSV edge,score
JSON and CSV only; no torch.
"""

import json
from dataclasses import replace
from pathlib import Path

from circuit_reuse.data import circuit_exports as formats_exports
from circuit_reuse.data import circuit_formats as formats
from circuit_reuse.data import components, user_tables
from circuit_reuse.data.circuit_formats import Circuit, CircuitFileError
from circuit_reuse.data.components import cost

__all__ = ["ENDINGS", "FORMATS", "Circuit", "CircuitFileError", "load", "read", "write"]
WRITERS = {
    "circuit": formats_exports.as_own,
    "budget": formats_exports.as_budget_list,
    "graph": formats_exports.as_graph,
    "edges": formats_exports.as_edge_list,
}
FORMATS = tuple(WRITERS)
ENDINGS = {"circuit": ".json", "budget": ".budget.json", "graph": ".graph.json", "edges": ".edges.json"}


def read(path, shape=None, keep=None):
    """A circuit from a file of any of the formats, checked against itself and the model.

    shape:  components.Space of the model; needed if the file does not say
    keep:   share of the scored edges (or nodes) that make the circuit, for a file of scores alone
    raises: CircuitFileError that names the file, what is wrong with it, and what is allowed
    """
    try:
        circuit = parsed(load(path), keep)
    except CircuitFileError as problem:
        raise CircuitFileError(f"{path}: {problem}") from None
    if shape is not None and circuit.shape is not None:
        for name in ("layers", "heads", "d_model", "d_head", "kv_heads"):
            said, known = getattr(circuit.shape, name), getattr(shape, name)
            if None not in (said, known) and said != known:
                raise CircuitFileError(f"{path} is for a model with {name} {said}; the model has {known}")
    space = shape or circuit.shape
    if shape is not None and circuit.shape is not None and shape.kv_heads is None:
        space = replace(shape, kv_heads=circuit.shape.kv_heads)
    if space is None or None in (space.d_model, space.d_head):
        raise CircuitFileError(
            f"{path} does not say how large its model is: give its shape (layers, heads, d_model, d_head)"
        )
    check_names(path, circuit, space)
    check_order(path, circuit.edges, bool(circuit.about.get("parallel", False)))
    check_stated(path, circuit, space)
    try:
        edges = None if circuit.edges is None else formats_exports.own_readers(circuit.edges, space)
    except CircuitFileError as problem:
        raise CircuitFileError(f"{path}: {problem}") from None
    return replace(circuit, shape=space, edges=edges)


def parsed(content, keep=None):
    """formats.parse, where content of another inner shape than its format has is one clear error."""
    try:
        return formats.parse(content, keep)
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as problem:
        if isinstance(problem, CircuitFileError):
            raise
        raise CircuitFileError(
            f"its parts have another form than such files have ({type(problem).__name__}: {problem}); docs/contrast.md shows the formats"
        ) from None


def load(path):
    """What a file holds: parsed JSON, or {edge: score} of a CSV."""
    path = Path(path)
    try:
        if not path.is_file():
            raise CircuitFileError("there is no such file")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CircuitFileError("it is not text; circuit files are JSON or CSV") from None
    except OSError as problem:
        raise CircuitFileError(f"it cannot be read: {problem.strerror or problem}") from None
    if path.suffix == ".csv":
        try:
            columns, rows = user_tables.rows(path)
        except ValueError as problem:
            raise CircuitFileError(str(problem)) from None
        if "edge" not in columns or not rows:
            found = f"found: {', '.join(columns) or 'none'}" if rows else "it has no rows"
            raise CircuitFileError(f"a CSV of edges needs the columns edge and, if there are scores, score; {found}")
        if "score" not in columns and len(columns) > 1:
            found = ", ".join(columns)
            raise CircuitFileError(f"scores of edges must stand in a column score; found: {found}")
        scored = {row["edge"]: formats.number(row.get("score")) for row in rows}
        formats.each_once([row["edge"] for row in rows])
        return scored
    try:
        content = json.loads(text, object_pairs_hook=user_tables.once, parse_constant=refuse)
        user_tables.whole(content, "it cannot be used")
        return content
    except RecursionError:
        raise CircuitFileError("its lists or objects are nested too deeply") from None
    except json.JSONDecodeError as problem:
        raise CircuitFileError(f"it is not JSON: {problem}") from None
    except ValueError as problem:
        raise CircuitFileError(str(problem)) from None


def refuse(constant):
    """NaN and infinities, which Python reads as numbers, are no scores: the strongest edge would be one of them."""
    raise CircuitFileError(f"{constant} is no score; scores must be finite numbers")


def check_names(path, circuit, space):
    """Every component, and both ends of every edge, must be the model's.

    raises: CircuitFileError that names each that is not
    """
    places = list(circuit.nodes) + list(circuit.outside)
    for writer, reader in circuit.edges or {}:
        places.append(writer)
        if reader != "logits":
            places += components.components_of(reader)
    there = set(space.names)
    wrong = [name for name in dict.fromkeys(places) if name not in there]
    if wrong:
        raise CircuitFileError(
            f"{path}: the model has {space.layers} layers of {space.heads} heads and so no {', '.join(wrong)}"
        )


def check_order(path, edges, parallel=False):
    """Every edge must run the way that a model computes: a head or an MLP is read by later ones alone.

    edges:    {(writer, reader): score}, or None
    parallel: whether an MLP reads the stream before its own layer's attention
    raises:   CircuitFileError that names an edge that no model has
    """
    for writer, reader in edges or ():
        (layer, head), (there, other) = (components.place(components.components_of(end)[0]) for end in (writer, reader))
        beside = layer == there and head is not None and other is None and not parallel
        forward = reader != "input" and (layer is None or beside or (there is not None and layer < there))
        if reader != "logits" and not forward:
            why = (
                "the input reads nothing"
                if reader == "input"
                else f"{reader} is computed before {writer}, or beside it"
            )
            raise CircuitFileError(f"{path}: there is no edge {writer}->{reader} in a model: {why}")


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
        raise CircuitFileError(f"{path} states a budget of {limit}; its components cost {counted['used'][1]}")


def write(path, circuit, form):
    """Write a circuit with a shape in one of FORMATS."""
    content = WRITERS[form](circuit)
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
