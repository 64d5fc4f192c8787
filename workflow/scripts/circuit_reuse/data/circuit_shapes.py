"""The shape of a model as a circuit file or the command line says it, checked."""

from dataclasses import replace

from circuit_reuse.data.components import Space


class CircuitFileError(ValueError):
    """A circuit file that cannot be used."""


# What a model's shape may be at most, as for contrast.circuits.*.shape of the config.
MOST = {"layers": 1000, "heads": 1000, "d_model": 1_000_000, "d_head": 100_000, "kv_heads": 1000}


def sound_shape(where, names=None, **shape):
    """The Space of a model from what a file says, where None is not said; names: how the file calls the parts.

    raises: CircuitFileError for what is no whole number of a model, or heads that cannot share keys and values evenly
    """
    names = names or {}
    for part, value in shape.items():
        # Without these two no name can be checked; the rest is not always stated.
        needed = part in ("layers", "heads")
        if (needed or value is not None) and (type(value) is not int or not 1 <= value <= MOST[part]):
            raise CircuitFileError(
                f"{where}.{names.get(part, part)} is {repr(value)[:40]}; it must be a whole number from 1 to {MOST[part]}"
            )
    heads, shared = shape["heads"], shape.get("kv_heads")
    if shared is not None and heads % shared:
        raise CircuitFileError(
            f"{where}.{names.get('kv_heads', 'kv_heads')} is {shared}; it must divide the {heads} heads, which share keys and values evenly"
        )
    return Space(**shape)


# How EAP-IG calls the parts of a shape.
CFG = {
    "layers": "n_layers",
    "heads": "n_heads",
    "d_model": "d_model",
    "d_head": "d_head",
    "kv_heads": "n_key_value_heads",
}


def shape_of_graph(cfg):
    """The Space of a graph's cfg; the width of a head follows from the others where it is not there."""
    shape = sound_shape("cfg", CFG, **{part: cfg.get(name) for part, name in CFG.items()})
    if shape.d_head is None and shape.d_model is not None:
        if shape.d_model % shape.heads:
            raise CircuitFileError(
                f"cfg has no d_head, and its d_model {shape.d_model} is not divisible by its n_heads {shape.heads}"
            )
        return replace(shape, d_head=shape.d_model // shape.heads)
    return shape
