"""Run a model in which only some edges are kept: every other reader sees the corrupt writer.

The stream is a sum of what the writers wrote, so a reader's input without some edges is the present
stream plus, for each edge that is not kept, what the writer wrote in the corrupt run less what it
writes now.  Each reader is given its own input; the stream itself is left alone.
"""

import numpy as np
import torch
from torch import einsum

from circuit_reuse import batching, edges, models

BUDGET_BYTES = 512 * 2**20


def exist(model):
    """Which edges there are, [writer, reader], bool; readers as in `edges.reader_names`."""
    writers, readers = len(model.space.names), len(edges.reader_names(model.space))
    found = np.zeros((writers, readers), dtype=bool)
    for place in edges.places_of(model):
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
    edges.check_architecture(model)
    sets = len(kept)
    run = Run(
        model, corrupt.like(lambda t: t.repeat(sets, *[1] * (t.ndim - 1))), ~kept, len(tokens)
    )
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
        self.streams, self.attended, self.post = {}, {}, edges.has_post_norm(model)

    def hooks(self):
        """Hooks that note what is written and give each reader its own input."""
        found = [("embed.hook_out", self.wrote_input)]
        places = iter(edges.places_of(self.model))
        for layer, block in enumerate(self.model.bridge.blocks):
            for norm in ("ln1", "ln2"):
                found.append((edges.stream_hook(block, layer, norm), self.sees(layer, norm)))
            attention, mlp = next(places), next(places)
            first = attention.columns.start
            for part in "qkv":
                linear = block.attn._modules[part].original_component
                columns = slice(first, first + linear.weight.shape[0] // self.model.space.d_head)
                hook = self.reads_head(layer, block, linear, columns, attention.writers)
                found.append((f"blocks.{layer}.attn.{part}.hook_out", hook))
                first = columns.stop
            if self.post:
                found.append((edges.post_hook(layer), self.attends(layer)))
            found.append((f"blocks.{layer}.attn.hook_z", self.wrote_heads(layer, block)))
            found.append((f"blocks.{layer}.mlp.hook_in", self.reads_mlp(layer, block, mlp)))
            found.append((f"blocks.{layer}.hook_mlp_out", self.wrote_mlp(layer)))
        return [*found, ("ln_final.hook_in", self.reads_final)]

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
            self.change[:, start : start + self.heads] = einsum(
                "ephd,hdm->ehpm", z, block.attn.W_O.to(z.dtype)
            )

        return wrote

    def wrote_mlp(self, layer):
        """What a layer's MLP wrote differently."""

        def wrote(tensor, hook):
            self.change[:, self.place(layer) + self.heads] = self.corrupt.mlp[layer] - tensor

        return wrote

    def sees(self, layer, norm):
        """The stream before a norm."""

        def see(tensor, hook):
            self.streams[layer, norm] = tensor

        return see

    def reads_head(self, layer, block, linear, columns, writers):
        """Queries, keys or values of a layer, each from its own stream."""
        weight = linear.weight.view(-1, self.model.space.d_head, self.model.space.d_model)
        norm = edges.first_norm(block) or (lambda stream: stream)

        def read(tensor, hook):
            stream = self.streams[layer, "ln1"][:, None] + self.without(writers, columns)
            found = einsum("ehpm,hdm->ephd", norm(stream), weight)
            if linear.bias is not None:
                found = found + linear.bias.view(len(weight), -1)
            return found.reshape(tensor.shape)

        return read

    def reads_mlp(self, layer, block, place):
        """What an MLP reads, from its own stream."""
        norm = edges.second_norm(block) or (lambda stream: stream)

        def read(tensor, hook):
            stream = self.streams[layer, "ln2"] + self.without(place.writers, place.columns)[:, 0]
            return norm(stream)

        return read

    def reads_final(self, tensor, hook):
        """The final stream that the logits read."""
        return tensor + self.without(self.change.shape[1], slice(-1, None))[:, 0]


def scan(model, batch, corrupt, kept):
    """Run many edge circuits on the same examples, as many at once as the budget holds.

    kept:   [set, writer, reader], bool
    yields: (places, logits [set * example, vocabulary])
    """
    per_set = 4 * corrupt.embedding.numel() * len(model.space.names) * 2
    size = max(1, BUDGET_BYTES // per_set)
    what = f"edge circuits on {len(batch.rows)} examples"

    def work(places):
        return places, keep(model, batch.clean, batch.prefix, corrupt, kept[places])

    places = list(range(len(kept)))
    for _, result in batching.in_pieces(work, places, size, model.device, what):
        yield result
