"""Path patching: the effect of one edge of a circuit, all else held.

An edge goes from a writer of the residual stream to a reader: the query, key or value of a head,
the input of an MLP, or the final stream.  The reader alone sees the writer replaced; every other
head and MLP between them is held where it was, so nothing is counted twice, and what comes after the
reader runs freely.  The runs are those of the circuit: everything outside it stays replaced.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import einsum

from circuit_reuse import batching, components, edges, interventions, progress
from circuit_reuse.sequences.graphs import FINAL


@dataclass(frozen=True)
class Reader:
    """Who reads the stream.

    part:    q, k or v of a head, mlp, or logits;  head: number of the query, key or value
    writers: how many of `Space.names` come before
    """

    name: str
    part: str
    layer: int
    head: int | None
    writers: int


def readers(model, circuit):
    """Readers of a circuit's components, in the order of `edges.reader_names`, the logits last.

    A key or value that several heads share is a reader if one of them is in the circuit.
    raises: ValueError for models whose stream is no sum of what components write
    """
    edges.check_architecture(model)
    found, layers, shared = [], model.space.layers, model.space.shared_by
    for layer in range(layers):
        upstream = 1 + layer * (model.space.heads + 1)
        for part in "qkv":
            for number in range(model.space.heads // (1 if part == "q" else shared)):
                name = components.reader_name(layer, part, number, shared)
                if any(head in circuit for head in components.components_of(name)):
                    found.append(Reader(name, part, layer, number, upstream))
        above = upstream if model.parallel else upstream + model.space.heads
        if f"m{layer}" in circuit:
            found.append(Reader(f"m{layer}", "mlp", layer, None, above))
    return [*found, Reader(FINAL, FINAL, layers - 1, None, len(model.space.names))]


@dataclass(frozen=True)
class Own:
    """The circuit's own run on a batch, and what each of its writers would write instead.

    change: {writer: [example, position, d_model]}, replacement less present
    streams: {hook name: [example, position, d_model]}, inputs of layers and of norms
    last:   logits after the last position, [example, vocabulary]
    """

    change: dict
    streams: dict
    last: torch.Tensor


@torch.no_grad()
def own_run(model, base, instead, removed, circuit):
    """Run the circuit alone and keep what its readers see."""
    layers, kept = range(model.space.layers), {}
    names = [f"blocks.{layer}.hook_resid_pre" for layer in layers]
    blocks, post = model.bridge.blocks, edges.has_post_norm(model)
    names += [edges.stream_hook(blocks[n], n, norm) for n in layers for norm in ("ln1", "ln2")]
    names += [edges.post_hook(layer) for layer in layers] if post else []
    whole = interventions.Base(base.tokens, base.prefix)
    hooks = interventions.keepers(kept, *dict.fromkeys(names))
    with model.bridge.hooks(fwd_hooks=hooks), interventions.capturing(model) as outputs:
        last = interventions.replace(model, whole, [removed], instead)
    found, change = interventions.activations(model, outputs), {}
    for name in ["input", *circuit]:
        layer, head = components.place(name)
        if layer is None:
            change[name] = instead.embedding - found.embedding
        elif head is None:
            # The last MLP runs at the last position alone, and nothing reads it at another.
            change[name] = instead.mlp[layer][:, -found.mlp[layer].shape[1] :] - found.mlp[layer]
        else:
            z = instead.z[layer][:, :, head] - found.z[layer][:, :, head]
            moved = z @ blocks[layer].attn.W_O[head].to(z.dtype)
            if post:
                # What is added to the stream is the norm of the heads' sum, computed again.
                norm, attended = (
                    blocks[layer].ln1_post.original_component,
                    kept[edges.post_hook(layer)],
                )
                moved = norm(attended + moved) - norm(attended)
            change[name] = moved
    return Own(change, kept, last)


@torch.no_grad()
def patched(model, base, instead, removed, own, reader, writers):
    """Logits with one reader seeing each of some writers replaced, one after the other.

    writers: names;  returns: [writer * example, vocabulary], writers outermost
    """
    count, block = len(writers), model.bridge.blocks[reader.layer]
    change = torch.cat(
        [own.change[name].expand_as(base_stream(block, own, reader)) for name in writers]
    )
    begin = own.streams[f"blocks.{reader.layer}.hook_resid_pre"].repeat(count, 1, 1)
    hook = {
        "mlp": lambda: (f"blocks.{reader.layer}.mlp.hook_in", reads_mlp(block, own, reader, change, count)),
        FINAL: lambda: (edges.FINAL, lambda tensor, hook: tensor + change),
    }.get(reader.part, lambda: (f"blocks.{reader.layer}.attn.{reader.part}.hook_out", reads_head(model, block, own, reader, change, count)))()  # fmt: skip
    with model.bridge.hooks(fwd_hooks=[hook]):
        return interventions.replace(model, base, [removed] * count, instead, (reader.layer, begin))


def base_stream(block, own, reader):
    """The stream that a reader sees in the circuit's own run, before the norm."""
    which = "ln2" if reader.part == "mlp" else "ln1"
    return own.streams[edges.stream_hook(block, reader.layer, which)]


def reads_head(model, block, own, reader, change, count):
    """A hook that gives one head's query, key or value its own input."""
    linear = block.attn._modules[reader.part].original_component
    rows = slice(reader.head * model.space.d_head, (reader.head + 1) * model.space.d_head)
    stream = base_stream(block, own, reader).repeat(count, 1, 1) + change
    norm = edges.first_norm(block)
    found = einsum("epm,dm->epd", stream if norm is None else norm(stream), linear.weight[rows])
    if linear.bias is not None:
        found = found + linear.bias[rows]

    def read(tensor, hook):
        shape = tensor.shape
        tensor = tensor.reshape(*shape[:2], -1).clone()
        tensor[..., rows] = found
        return tensor.reshape(shape)

    return read


def reads_mlp(block, own, reader, change, count):
    """A hook that gives an MLP its own input."""
    stream = base_stream(block, own, reader).repeat(count, 1, 1) + change
    norm = edges.second_norm(block)
    normed = stream if norm is None else norm(stream)
    return lambda tensor, hook: normed


def effects(keeper, circuit, log):
    """Change of the metric when an edge is replaced, for all edges of a circuit.

    keeper:  keeping.Keeper with the examples and what replaces them;  circuit: component names
    returns: [(writer, reader)], [edge, example], [example] metric of the circuit's own run
    source:  Wang et al. 2023 (path patching); Goldowsky-Dill et al. 2023
    """
    model, names = keeper.model, ["input", *circuit]
    removed = [name for name in model.space.of_kinds() if name not in set(circuit)]
    place = {name: n for n, name in enumerate(model.space.names)}
    pairs = [
        (reader, [name for name in names if place[name] < reader.writers])
        for reader in readers(model, set(circuit))
    ]
    edge_list = [(writer, reader.name) for reader, writers in pairs for writer in writers]
    row = {edge: n for n, edge in enumerate(edge_list)}
    found = np.empty((len(edge_list), len(keeper.examples)))
    alone = np.empty(len(keeper.examples))
    for batch, base, instead in progress.bar(keeper.prepared, desc="edges", unit="batch"):
        own = own_run(model, base, instead, removed, circuit)
        alone[batch.rows] = keeper.values(own.last, batch, 1)[0]
        size = keeper.tokens // base.tokens.numel()
        for reader, writers in pairs:

            def work(some, reader=reader, batch=batch, base=base, instead=instead, own=own):
                last = patched(model, base, instead, removed, own, reader, some)
                return keeper.values(last, batch, len(some))

            what = f"paths on {len(batch.rows)} examples"
            for some, values in batching.in_pieces(work, writers, size, model.device, what):
                rows = [row[writer, reader.name] for writer in some]
                found[np.ix_(rows, batch.rows)] = values - alone[batch.rows]
    log.info("%d edges into %d readers", len(edge_list), len(pairs))
    return edge_list, found, alone
