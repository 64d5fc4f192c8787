"""Circuits in the formats of circuit files: this project's own and those of other tools."""

import re

from circuit_reuse.data import components
from circuit_reuse.data.circuit_formats import SHARED, CircuitFileError


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
            # Without nodes, as of a circuit of weights, nothing is used.
            "budget_utilization": f"{100 * used / limit if limit else 0:.1f}%",
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
        # An edge into a whole head is evenly one into each of its three inputs.
        whole = kept.get((writer, head)) or 0.0
        score = kept.get((writer, reader)) or (whole / 3 if part else whole)
        edges[f"{writer}->{head}{part}"] = {"score": score, "in_graph": inside}
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
