"""What a user gives, checked before anything runs: every error names the argument, the value and what is allowed."""

from circuit_reuse.config.errors import nearest
from circuit_reuse.data import components
from circuit_reuse.data import examples as reading

TOKENS = 4096
METRIC = "logit_difference"


def one_of(name, value, known):
    """Check a name.

    raises: ValueError that says what is known, and which of it is nearest
    """
    if value not in known:
        raise ValueError(f"{name} is {value!r}; known: {', '.join(map(str, known))}{nearest(value, list(known))}")


def between(name, value, low, high):
    """Check a number; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; it must be from {low} to {high}")


def size(name, value, most):
    """Check a number of components, from 1, or a share of `most` below 1; raises ValueError."""
    between(name, value, 0, most)
    if value == 0 or (value >= 1 and value != int(value)):
        raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 to {most}, or a share between 0 and 1")


def used_of(examples, split=None):
    """The usable rows of a table of examples, of one split or both.

    raises: ValueError that says why there are none
    """
    mine = examples if split is None else examples[examples["split"] == split]
    used = mine[mine["used"]].reset_index(drop=True)
    if used.empty:
        why = f"; most often: {reading.commonest(mine.to_dict('records'))}" if len(mine) else ""
        raise ValueError(f"examples has no usable {'row' if split is None else f'row of the split {split}'}{why}")
    return used


def names_of(circuit, space, kinds=None):
    """A circuit as a list of names: of a list, of one name, or of what `circuit` returns.

    space: components.Space of the model;  kinds: what it may hold, heads and MLPs without it
    raises: ValueError for no component, or one that the model does not have
    """
    if isinstance(circuit, tuple) and len(circuit) == 2 and not isinstance(circuit[0], str):
        circuit = circuit[0]
    names = [circuit] if isinstance(circuit, str) else list(circuit)
    if not names:
        raise ValueError("circuit is empty: lower `threshold`, or raise `top_k`, where it was chosen")
    known = space.of_kinds(kinds or components.KINDS)
    for name in names:
        one_of("circuit", name, known)
    return names


def kinds_of(kinds):
    """Kinds of components as a tuple, from one or several; raises ValueError for an unknown one."""
    found = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in found:
        one_of("kinds", kind, components.KINDS)
    return found
