"""Work that need not be done: a shared prefix, lower layers, the last MLP before the end, and outputs that are all replaced.

All shortcuts are exact but for rounding.  Each is checked once a model against full runs, and
not used on a model for which it fails.
"""

import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from transformers import DynamicCache

from circuit_reuse.engine import models

log = logging.getLogger(__name__)

# Difference of a shortened run's logits from a full one's: absolute, and as a share of their
# spread.  What a wrong shortcut gives is off by about the spread.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
COARSE = 5e-2


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the first positions of the examples of a batch.

    length: positions
    layers: (keys, values) of each layer, [distinct prefix, head, position, d_head]
    index:  which of the distinct prefixes each example has, [example]
    """

    length: int
    layers: list
    index: torch.Tensor

    def cache(self, repeats=1):
        """A cache for a run of the examples, the whole batch repeated; a run extends its own."""
        index = self.index.repeat(repeats)
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self.layers):
            cache.update(keys[index], values[index], layer)
        return cache


@torch.no_grad()
def prefix(model, tokens, length):
    """Run the first `length` positions; examples with the same beginning share the run.

    tokens:  [example, position]
    returns: a Prefix, or None if there is nothing to save or the model does not allow it
    """
    if (
        length < 1
        or beyond_window(model, tokens.shape[1])
        or not able(model, "prefix", *checked_at(model, tokens, length))
    ):
        return None
    return run_prefix(model, tokens, length)


def run_prefix(model, tokens, length):
    """Keys and values of the first `length` positions, as a Prefix."""
    distinct, index = tokens[:, :length].unique(dim=0, return_inverse=True)
    _, cache = model.bridge(distinct, return_type="logits_and_cache", use_cache=True, logits_to_keep=1)
    return Prefix(length, [(layer.keys, layer.values) for layer in cache.layers], index)


def beyond_window(model, positions):
    """Whether a sliding window makes early positions invisible to late ones."""
    config = model.bridge.original_model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or getattr(config, "window_size", None)
    return window is not None and positions > window


def checked_at(model, tokens, length):
    """The lengths at which the shared prefix is checked, (positions, those of the prefix).

    Rounded up to a power of two, but as they are where the rotation of queries and keys depends on the length of the text.
    """
    config = model.bridge.original_model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [each.get("rope_type") or each.get("type") for each in (rope, *rope.values()) if isinstance(each, dict)]
    if set(kinds) & {"longrope", "dynamic", "su"}:
        return tokens.shape[1], length
    positions = 1 << (tokens.shape[1] - 1).bit_length()
    most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or positions
    positions = min(positions, most)
    return positions, positions // 2


class Through(torch.nn.Module):
    """Stands in for a layer that need not run: gives on what it gets."""

    def __init__(self, block):
        super().__init__()
        # Not registered: a module has one parent, and models ask their layers for attributes.
        self.__dict__["block"] = block

    def __getattr__(self, name):
        return getattr(self.__dict__["block"], name)

    def forward(self, stream, *args, **kwargs):
        """The stream as it is, whatever else a layer is given."""
        return stream


@contextmanager
def starting(model, begin, hooks=()):
    """Runs inside have hooks, and pass the layers below one by; these are put back whatever happens.

    begin: (layer, its input [row, position, d_model]), or None to run all layers
    All hooks are taken on in one go: doing so costs a small model as much as a layer.
    """
    stack, (layer, stream) = layer_list(model), begin or (0, None)
    kept = list(stack)
    entering = [(f"blocks.{layer}.hook_resid_pre", lambda tensor, hook: stream)] if begin else []
    try:
        for place in range(layer):
            stack[place] = Through(kept[place])
        with model.bridge.hooks(fwd_hooks=[*entering, *hooks]):
            yield
    finally:
        for place in range(layer):
            stack[place] = kept[place]


class OnSomeRows(torch.nn.Module):
    """Stands in for an MLP whose output is read in some rows only: computes these, and gives zeros elsewhere.

    rows: their places, or None for none
    """

    def __init__(self, component, rows):
        super().__init__()
        self.__dict__["component"], self.rows = component, rows

    def forward(self, stream, *args, **kwargs):
        """[row, position, d_model], as the MLP gives."""
        if self.rows is None:
            # Zeros that take no memory.
            return stream.new_zeros(1).expand_as(stream)
        found, rows = torch.zeros_like(stream), self.rows.to(stream.device)
        found[rows] = self.component(stream[rows], *args, **kwargs)
        return found


@contextmanager
def without(model, attentions, mlps):
    """Runs inside do not compute what hooks replace anyway.

    attentions: layers of which every head is replaced in every row
    mlps:       {layer: rows in which its MLP is not replaced, or None for none}
    """
    blocks = model.bridge.blocks
    heads = [blocks[layer].attn for layer in attentions]
    inner = {layer: blocks[layer].mlp._modules for layer in mlps}
    kept = {layer: modules["_original_component"] for layer, modules in inner.items()}
    try:
        for attention in heads:
            # Past the bridge, as in models.fuse_norms.
            attention.__dict__["forward"] = partial(output_alone, attention, model.space.heads * model.space.d_head)
        for layer, modules in inner.items():
            modules["_original_component"] = OnSomeRows(kept[layer], mlps[layer])
        yield
    finally:
        for attention in heads:
            attention.__dict__.pop("forward", None)
        for layer, modules in inner.items():
            modules["_original_component"] = kept[layer]


def output_alone(attention, width, *args, **kwargs):
    """What the output projection makes of what a hook puts in for all heads."""
    stream = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
    z = stream.new_zeros(1).expand(*stream.shape[:-1], width)
    return attention.hook_out(attention.o(z)), None


def at_the_end(model):
    """Hooks that make the last layer's MLP run at the last position only.

    Nothing after it reads another position.  What the MLP gives is added to the stream of all
    positions, so in the runs inside only the last position of the last layer is right.
    """
    return [end_hook(model)] if able(model, "end") else []


def end_hook(model):
    """The hook that gives the last layer's MLP the last position alone."""
    last = len(model.bridge.blocks) - 1
    return f"blocks.{last}.mlp.hook_in", lambda tensor, hook: tensor[:, -1:]


def layer_list(model):
    """The list of layers that the underlying model runs through; looked for once a model."""
    if "layers" not in model.shortcuts:
        last = model.bridge.blocks[len(model.bridge.blocks) - 1]
        modules = model.bridge.original_model.modules()
        lists = [module for module in modules if isinstance(module, torch.nn.ModuleList)]
        model.shortcuts["layers"] = next(m for m in lists if len(m) and m[len(m) - 1] is last)
    return model.shortcuts["layers"]


def able(model, what, *lengths):
    """Whether a shortcut (prefix, skip, end) gives the model's own logits; checked once a model, and for each of some lengths."""
    key = (what, *lengths) if lengths else what
    if key not in model.shortcuts:
        try:
            model.shortcuts[key] = CHECKS[what](model, *lengths)
        except (AttributeError, TypeError, ValueError, IndexError, StopIteration, RuntimeError) as e:
            log.info("shortcut %s: %s", what, e)
            model.shortcuts[key] = False
        if not model.shortcuts[key]:
            at = f" at {lengths[0]} tokens" if lengths else ""
            log.warning(
                "the model does not allow the %s shortcut%s: its runs are made in full, with the same results, only slower",
                what,
                at,
            )
    return model.shortcuts[key]


def sample(model, positions=7, rows=2):
    """Prompts of arbitrary tokens."""
    vocabulary = model.bridge.original_model.config.get_text_config().vocab_size
    tokens = torch.arange(rows * positions).view(rows, positions) * 97 % vocabulary
    return tokens.to(model.device)


@torch.no_grad()
def check_prefix(model, positions, length):
    """A run that goes on from `length` cached positions against the full one."""
    tokens = sample(model, positions)
    found = run_prefix(model, tokens, length)
    return same(model, models.logits(model, tokens[:, length:], found), models.logits(model, tokens))


@torch.no_grad()
def check_skip(model):
    """A run from the middle layer against the full one."""
    tokens, layer = sample(model), len(model.bridge.blocks) // 2
    kept = {}

    def keep(tensor, hook):
        kept["stream"] = tensor
        return tensor

    with model.bridge.hooks(fwd_hooks=[(f"blocks.{layer}.hook_resid_pre", keep)]):
        whole = models.logits(model, tokens)
    # Other tokens, so that a layer that does run, or an embedding that leaks in, is seen.
    with starting(model, (layer, kept["stream"])):
        return same(model, models.logits(model, tokens.flip(1)), whole)


@torch.no_grad()
def check_end(model):
    """A run with the last MLP at the last position alone against the full one."""
    tokens = sample(model)
    whole, seen = models.logits(model, tokens), []

    def see(tensor, hook):
        seen.append(tensor.shape[1])
        return tensor

    place = f"blocks.{len(model.bridge.blocks) - 1}.hook_mlp_out"
    with model.bridge.hooks(fwd_hooks=[end_hook(model), (place, see)]):
        short = models.logits(model, tokens)
    return seen == [1] and same(model, short, whole)


@torch.no_grad()
def check_replaced(model):
    """Runs in which a layer's heads and MLP, replaced in all rows or in some, are not computed there, against full ones."""
    tokens, layer = sample(model, rows=3), len(model.bridge.blocks) // 2
    places = [f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out"]
    alike = True
    for names, rows, unread in (
        (places, slice(None), ([layer], {layer: None})),
        (places[1:], slice(0, 2), ([], {layer: torch.tensor([2])})),
    ):

        def put_in(tensor, hook, rows=rows):
            tensor = tensor.clone()
            tensor[rows] = 1
            return tensor

        with model.bridge.hooks(fwd_hooks=[(name, put_in) for name in names]):
            whole = models.logits(model, tokens)
            with without(model, *unread):
                alike = alike and same(model, models.logits(model, tokens), whole)
    return alike


@torch.no_grad()
def check_pattern(model):
    """Whether the model reads the attention pattern that a hook gives back: without one its heads give nothing."""
    tokens, found = sample(model), []

    def keep(tensor, hook):
        found.append(tensor.abs().max().item())
        return tensor

    layers = range(len(model.bridge.blocks))
    outputs = [(f"blocks.{layer}.attn.hook_z", keep) for layer in layers]
    patterns = [
        (f"blocks.{layer}.attn.hook_pattern", lambda tensor, hook: torch.zeros_like(tensor)) for layer in layers
    ]
    with warnings.catch_warnings(), model.bridge.hooks(fwd_hooks=[*outputs, *patterns]):
        warnings.simplefilter("ignore")
        models.logits(model, tokens)
    return not any(found)


CHECKS = {
    "prefix": check_prefix,
    "skip": check_skip,
    "end": check_end,
    "replaced": check_replaced,
    "pattern": check_pattern,
}


def same(model, first, second):
    """Whether two tensors of logits agree to the rounding of the model's dtype."""
    tolerance = TOLERANCE.get(model.dtype, COARSE)
    return bool((first - second).abs().max() <= tolerance * (1 + second.std()))
