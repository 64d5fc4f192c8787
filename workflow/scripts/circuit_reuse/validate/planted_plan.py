"""A model in words of its stream: which coordinates its heads and MLPs read and write."""

from dataclasses import dataclass, field

HEADS, D_HEAD, POSITIONS = 4, 32, 10


@dataclass
class Head:
    """What a head reads and writes, in coordinates of the stream.

    query, key: lists of (d_head dimension, {coordinate: weight}); "one" is the constant 1
    offset:     attends to this many positions back instead
    value:      [(coordinate read, coordinate written, weight)], at most d_head of them
    """

    value: list
    query: list = field(default_factory=list)
    key: list = field(default_factory=list)
    offset: int | None = None


@dataclass
class Mlp:
    """Neurons: [({coordinate: weight}, bias, {coordinate written: weight})]."""

    neurons: list


@dataclass
class Plan:
    """A model in coordinates.

    coordinates: names;  embedding: one {coordinate: value} a token
    heads:       {(layer, head): Head};  mlps: {layer: Mlp}
    logits:      {token: {coordinate: weight}}
    """

    layers: int
    coordinates: list
    embedding: list
    logits: dict
    heads: dict = field(default_factory=dict)
    mlps: dict = field(default_factory=dict)
