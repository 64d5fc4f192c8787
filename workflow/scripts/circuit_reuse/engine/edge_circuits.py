"""Run a model in which only some edges are kept: every other reader sees the corrupt writer.

The stream is a sum of what the writers wrote, so a reader's input without some edges is the present
stream plus, for each edge that is not kept, what the writer wrote in the corrupt run less what it
writes now.  Each reader is given its own input; the stream itself is left alone.
"""

import numpy as np
import torch
from torch import einsum

from circuit_reuse.engine import batching, models
from circuit_reuse.engine.places import FINAL, check_edges, has_post_norm, places_of, post_hook, projected, reader_names

BUDGET_BYTES = 512 * 2**20


def exist(model):
    """Which edges there are, [writer, reader], bool; readers as in `places.reader_names`."""
    writers, readers = len(model.space.names), len(reader_names(model.space))
    found = np.zeros((writers, readers), dtype=bool)
    for place in places_of(model):
        found[: place.writers, place.columns] = True
    found[:, -1] = True
    return found


@torch.no_grad()
def keep(model, tokens, prefix, corrupt, kept):
    """Run with only some edges kept.

    tokens:  [example, position], those after the prefix
    corrupt: Activations of the corrupt run, same examples and positions
    kept:    [set, writer, reader], bool; every set is run on every example
    returns: logits after the last position, [set * example, vocabulary], sets outermost
    raises:  ValueError for models whose stream is no sum of what components write
    source:  Hanna et al. 2024, section 3; Mueller et al. 2025 (MIB)
    """
    check_edges(model)
    sets = len(kept)
    run = Run(model, corrupt.like(lambda t: t.repeat(sets, *[1] * (t.ndim - 1))), ~kept, len(tokens))
    with model.bridge.hooks(fwd_hooks=run.hooks()):
        return models.logits(model, tokens.repeat(sets, 1), prefix, sets)


class Run:
    """One run: what writers wrote differently from the corrupt run, and the readers' inputs.

    change:   [row, writer, position, d_model], corrupt less present, as far as computed; of heads
              before the norm after the attention, if there is one
    cut:      [row, writer, reader], 1 where the edge is not kept
    attended: by layer, the heads' sum before that norm, [row, position, d_model]
    """

    def __init__(self, model, corrupt, cut, examples):
        self.model, self.corrupt, self.heads = model, corrupt, model.space.heads
        rows, positions, width = corrupt.embedding.shape
        writers = len(model.space.names)
        self.change = corrupt.embedding.new_zeros(rows, writers, positions, width)
        cut = torch.as_tensor(cut, device=model.device)
        self.cut = cut.repeat_interleave(examples, dim=0).to(self.change.dtype)
        self.streams, self.attended, self.post = {}, {}, has_post_norm(model)

    def hooks(self):
        """Hooks that note what is written and give each reader its own input."""
        found, places = [("embed.hook_out", self.wrote_input)], iter(places_of(self.model))
        for layer, block in enumerate(self.model.bridge.blocks):
            attention, mlp = next(places), next(places)
            for place in (attention, mlp):
                found.append((place.stream, self.sees(place)))
            for reader, columns in attention.parts():
                found.append((reader.hook, self.reads(attention, reader, columns)))
            if self.post:
                found.append((post_hook(layer), self.attends(layer)))
            found.append((f"blocks.{layer}.attn.hook_z", self.wrote_heads(layer, block)))
            for reader, columns in mlp.parts():
                found.append((reader.hook, self.reads(mlp, reader, columns)))
            found.append((f"blocks.{layer}.hook_mlp_out", self.wrote_mlp(layer)))
        return [*found, (FINAL, self.reads_final)]

    def place(self, layer):
        """Number of the first writer of a layer."""
        return 1 + layer * (self.heads + 1)

    def without(self, writers, columns):
        """What the cut edges add to the inputs of some readers, [row, reader, position, d_model]."""
        cut, change = self.cut[:, :writers, columns], self.change[:, :writers]
        if not self.post:
            return (cut.mT @ change.flatten(2)).unflatten(2, change.shape[2:])
        # The norm after the attention takes the heads of a layer together.
        direct = cut.clone()
        added = 0
        for layer in range(self.model.space.layers):
            heads = slice(self.place(layer), self.place(layer) + self.heads)
            if heads.stop > writers:
                break
            direct[:, heads] = 0
            if cut[:, heads].any():
                moved = cut[:, heads].mT @ change[:, heads].flatten(2)
                moved = moved.unflatten(2, change.shape[2:])
                added = added + self.renormed(layer, moved)
        return added + (direct.mT @ change.flatten(2)).unflatten(2, change.shape[2:])

    def renormed(self, layer, moved):
        """How the output of the norm after the attention changes when its input is moved."""
        norm = self.model.bridge.blocks[layer].ln1_post.original_component
        present = self.attended[layer][:, None]
        return norm(present + moved) - norm(present)

    def attends(self, layer):
        """The heads' sum before the norm after the attention."""

        def see(tensor, hook):
            self.attended[layer] = tensor

        return see

    def wrote_input(self, tensor, hook):
        """What the embedding wrote differently."""
        self.change[:, 0] = self.corrupt.embedding - tensor

    def wrote_heads(self, layer, block):
        """What a layer's heads wrote differently."""

        def wrote(tensor, hook):
            start = self.place(layer)
            z = self.corrupt.z[layer] - tensor
            self.change[:, start : start + self.heads] = einsum("ephd,hdm->ehpm", z, block.attn.W_O.to(z.dtype))

        return wrote

    def wrote_mlp(self, layer):
        """What a layer's MLP wrote differently."""

        def wrote(tensor, hook):
            self.change[:, self.place(layer) + self.heads] = self.corrupt.mlp[layer] - tensor

        return wrote

    def sees(self, place):
        """The stream before a norm."""

        def see(tensor, hook):
            self.streams[place.stream] = tensor

        return see

    def reads(self, place, reader, columns):
        """Queries, keys or values of a layer, or its MLP, each from its own stream."""

        def read(tensor, hook):
            stream = self.streams[place.stream][:, None] + self.without(place.writers, columns)
            if reader.weight is None:
                return place.normed(stream[:, 0])
            return projected(place, reader, stream).reshape(tensor.shape)

        return read

    def reads_final(self, tensor, hook):
        """The final stream that the logits read."""
        return tensor + self.without(self.change.shape[1], slice(-1, None))[:, 0]


def mask_of(model, table):
    """Which edges are kept, [writer, reader] bool.  table: the columns writer and reader, a row an edge that is kept"""
    writers, readers = (
        {name: place for place, name in enumerate(names)} for names in (model.space.names, reader_names(model.space))
    )
    mask = np.zeros((len(writers), len(readers)), dtype=bool)
    mask[[writers[name] for name in table["writer"]], [readers[name] for name in table["reader"]]] = True
    return mask


def scan(model, batch, corrupt, kept):
    """Run many edge circuits on the same examples, as many at once as the budget holds.

    kept:   [set, writer, reader], bool
    yields: (places, logits [set * example, vocabulary])
    Where one circuit on all examples is too much, it is run on parts of them.
    """
    examples = len(batch.rows)
    per_row = 4 * corrupt.embedding[0].numel() * len(model.space.names) * 2
    rows = max(1, BUDGET_BYTES // per_row)
    what = f"edge circuits on {examples} examples"

    def work(places):
        parts = []
        for start in range(0, examples, rows):
            part, chosen = batch.part(start, start + rows), slice(start, start + rows)
            last = keep(model, part.clean, part.prefix, corrupt.rows(chosen), kept[places])
            parts.append(last.unflatten(0, (len(places), -1)))
        return torch.cat(parts, dim=1).flatten(0, 1)

    yield from batching.in_pieces(work, list(range(len(kept))), max(1, rows // examples), model.device, what)
