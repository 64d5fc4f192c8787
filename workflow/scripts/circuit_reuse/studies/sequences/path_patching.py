"""Path patching: the effect of one edge of a circuit, all else held.

An edge goes from a writer of the residual stream to a reader: the query, key or value of a head,
the input of an MLP, or the final stream.  The reader alone sees the writer replaced; every other
head and MLP between them is held where it was, so nothing is counted twice, and what comes after the
reader runs freely.  The runs are those of the circuit: everything outside it stays replaced.
"""

from dataclasses import dataclass

import numpy as np
import torch

from circuit_reuse.data import components
from circuit_reuse.engine import batching, interventions, places, progress
from circuit_reuse.studies.sequences.graphs import FINAL


@dataclass(frozen=True)
class Target:
    """One reader of the stream that is given its own input.

    part:    q, k or v of a head, mlp, or logits;  number: of the query, key or value
    writers: how many of `Space.names` come before
    place, reader: where it reads, and with what; None for the logits
    """

    name: str
    part: str
    layer: int
    number: int | None
    writers: int
    place: places.StreamPlace | None = None
    reader: places.Reader | None = None


def readers(model, circuit):
    """Readers of a circuit's components as Targets, in the order of `places.reader_names`, the logits last.

    A key or value that several heads share is a reader if one of them is in the circuit.
    raises: ValueError for models whose stream is no sum of what components write
    """
    places.check_edges(model)
    found, shared = [], model.space.shared_by
    for n, place in enumerate(places.places_of(model)):
        layer = n // 2
        if n % 2:
            if f"m{layer}" in circuit:
                found.append(Target(f"m{layer}", "mlp", layer, None, place.writers, place, place.readers[0]))
            continue
        for part, reader in zip("qkv", place.readers, strict=True):
            for number in range(reader.count):
                name = components.reader_name(layer, part, number, shared)
                if any(head in circuit for head in components.components_of(name)):
                    found.append(Target(name, part, layer, number, place.writers, place, reader))
    last = model.space.layers - 1
    return [*found, Target(FINAL, FINAL, last, None, len(model.space.names))]


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
    blocks, post = model.bridge.blocks, places.has_post_norm(model)
    names += [place.stream for place in places.places_of(model)]
    names += map(places.post_hook, layers) if post else []
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
                norm, attended = (blocks[layer].ln1_post.original_component, kept[places.post_hook(layer)])
                moved = norm(attended + moved) - norm(attended)
            change[name] = moved
    return Own(change, kept, last)


@torch.no_grad()
def patched(model, base, instead, removed, own, target, writers):
    """Logits with one reader seeing each of some writers replaced, one after the other.

    writers: names;  returns: [writer * example, vocabulary], writers outermost
    """
    count = len(writers)
    begin = own.streams[f"blocks.{target.layer}.hook_resid_pre"].repeat(count, 1, 1)
    seen = begin if target.place is None else own.streams[target.place.stream].repeat(count, 1, 1)
    # The last MLP's change is of the last position alone.
    change = torch.cat([own.change[name].expand_as(seen[: len(base.tokens)]) for name in writers])
    if target.place is None:
        hook = (places.FINAL, lambda tensor, hook: tensor + change)
    else:
        hook = (target.reader.hook, reads(model, target, seen + change))
    with model.bridge.hooks(fwd_hooks=[hook]):
        return interventions.replace(model, base, [removed] * count, instead, (target.layer, begin))


def reads(model, target, stream):
    """A hook that gives one reader its own input: an MLP's, or one query, key or value."""
    place, reader, number = target.place, target.reader, target.number
    if number is None:
        normed = place.normed(stream)
        return lambda tensor, hook: normed
    one = places.Reader(reader.hook, reader.weight[[number]], None if reader.bias is None else reader.bias[[number]])
    found = places.projected(place, one, stream).squeeze(2)
    rows = slice(number * model.space.d_head, (number + 1) * model.space.d_head)

    def read(tensor, hook):
        shape = tensor.shape
        tensor = tensor.reshape(*shape[:2], -1).clone()
        tensor[..., rows] = found
        return tensor.reshape(shape)

    return read


def effects(evaluate, circuit, log):
    """Change of the metric when an edge is replaced, for all edges of a circuit.

    evaluate:  evaluator.CircuitEvaluator with the examples and what replaces them;  circuit: component names
    returns: [(writer, reader)], [edge, example], [example] metric of the circuit's own run
    source:  Wang et al. 2023 (path patching); Goldowsky-Dill et al. 2023
    """
    model, names = evaluate.model, ["input", *circuit]
    removed = [name for name in model.space.of_kinds() if name not in set(circuit)]
    place = {name: n for n, name in enumerate(model.space.names)}
    pairs = [
        (reader, [name for name in names if place[name] < reader.writers]) for reader in readers(model, set(circuit))
    ]
    edge_list = [(writer, reader.name) for reader, writers in pairs for writer in writers]
    row = {edge: n for n, edge in enumerate(edge_list)}
    found = np.empty((len(edge_list), len(evaluate.examples)))
    alone = np.empty(len(evaluate.examples))
    for number, (batch, base, instead) in enumerate(progress.bar(evaluate.prepared, desc="edges", unit="batch")):
        own = own_run(model, base, instead, removed, circuit)
        alone[batch.rows] = evaluate.values(own.last, number, 1)[0]
        size = evaluate.tokens // base.tokens.numel()
        for reader, writers in pairs:

            def work(some, reader=reader, number=number, base=base, instead=instead, own=own):
                last = patched(model, base, instead, removed, own, reader, some)
                return evaluate.values(last, number, len(some))

            what = f"paths on {len(batch.rows)} examples"
            for some, values in batching.in_pieces(work, writers, size, model.device, what):
                rows = [row[writer, reader.name] for writer in some]
                found[np.ix_(rows, batch.rows)] = values - alone[batch.rows]
    log.info("%d edges into %d readers", len(edge_list), len(pairs))
    return edge_list, found, alone
