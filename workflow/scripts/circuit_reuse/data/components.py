"""Names and places of a model's components: `input`, `a5.h1` (head 1 of layer 5), `m3` (MLP 3).

The names are those of EAP-IG and MIB.  `input` is the token embedding.
"""

import re
from dataclasses import dataclass, field
from functools import cache

KINDS = ("head", "mlp")
HEAD, MLP = re.compile(r"a(\d+)\.h(\d+)"), re.compile(r"m(\d+)")
READER = re.compile(r"a(\d+)\.h(\d+)(?:-(\d+))?\.[qkv]")


@dataclass(frozen=True)
class Space:
    """The component space of a model: its shape, and the order of all its components."""

    layers: int
    heads: int
    d_model: int
    d_head: int
    # Key and value heads, fewer than query heads where several share one; None for as many.  Circuits
    # of two models can be compared whatever these are.
    kv_heads: int | None = field(default=None, compare=False)

    @property
    def shared_by(self):
        """How many query heads share a key and a value."""
        return self.heads // (self.kv_heads or self.heads)

    @property
    def names(self):
        """Every component in the order of the computation, `input` first."""
        names = ["input"]
        for layer in range(self.layers):
            names += [f"a{layer}.h{head}" for head in range(self.heads)] + [f"m{layer}"]
        return names

    def of_kinds(self, kinds=KINDS):
        """The components of some kinds (head, mlp) in order."""
        return [name for name in self.names if kind(name) in kinds]

    def write_cost(self, name):
        """Dimensions of the residual stream that a component writes from its own space."""
        return self.d_head if kind(name) == "head" else self.d_model


def kind(name):
    """input, head or mlp."""
    if name == "input":
        return "input"
    if HEAD.fullmatch(name):
        return "head"
    if MLP.fullmatch(name):
        return "mlp"
    raise ValueError(f"{name!r} names no component; expected input, a5.h1 or m3")


def reader_name(layer, part, number, shared_by=1):
    """The name of what reads the stream in a layer: a5.h3.q, or a5.h3-5.k for a key that heads 3 to 5 share."""
    if part == "q" or shared_by == 1:
        return f"a{layer}.h{number}.{part}"
    first = number * shared_by
    return f"a{layer}.h{first}-{first + shared_by - 1}.{part}"


def components_of(reader):
    """The components that a reader belongs to: a5.h1 of a5.h1.q, heads 3 to 5 of a5.h3-5.k, m3, logits."""
    match = READER.fullmatch(reader)
    if match is None:
        return [reader]
    first = int(match[2])
    return [f"a{match[1]}.h{head}" for head in range(first, int(match[3] or first) + 1)]


def part_of(reader):
    """q, k or v of a head's reader; empty for others."""
    return reader[-1] if READER.fullmatch(reader) else ""


@cache
def place(name):
    """(layer, head) of a component; head is None for an MLP, layer None for the input."""
    if match := HEAD.fullmatch(name):
        return int(match[1]), int(match[2])
    if match := MLP.fullmatch(name):
        return int(match[1]), None
    return None, None


def order(name):
    """A sort key: the order of the computation."""
    layer, head = place(name)
    if layer is None:
        return (-1, 0)
    return (layer, 10**6 if head is None else head)


def resolve_k(top_k, total):
    """Components per circuit: top_k from 1 is a count, below 1 a share of `total`.

    raises: ValueError if that is none, or more than there are
    """
    k = int(top_k) if top_k >= 1 else max(1, round(top_k * total))
    if not 1 <= k <= total:
        raise ValueError(f"top_k {top_k} is {k} components, but there are only {total}")
    return k


def cost(names, space):
    """Write cost of a set of components: d_model for the input and an MLP, d_head for a head."""
    return sum(space.write_cost(name) for name in names)


def total_cost(space):
    """Write cost of all components of a model."""
    return cost(space.names, space)
