"""What a user gives, checked before anything runs: every error names the argument, the value and what is allowed."""

import zlib
from collections.abc import Iterable
from numbers import Integral, Real

import pandas as pd

from circuit_reuse.config.errors import nearest
from circuit_reuse.data import components
from circuit_reuse.data import examples as reading
from circuit_reuse.prompts.tasks import TASKS

TOKENS = 4096
METRIC = "logit_difference"
DEVICES = ("auto", "cpu", "cuda", "mps", "spread")
# Least and most, for the library and its command.
COUNT, CONTROLS, SEED = (2, 10**7), (1, 10**6), (0, None)
# Where a table of examples has what its token ids stand for (models.vocabulary).
VOCABULARY = "vocabulary"
# Where a table of scores has what its examples are (prompts_of).
PROMPTS = "prompts"


def one_of(name, value, known):
    """Check a name.

    raises: ValueError that says what is known, and which of it is nearest
    """
    # In a dict a list could not even be looked up.
    if value not in list(known):
        raise ValueError(f"{name} is {value!r}; known: {', '.join(map(str, known))}{nearest(value, list(known))}")


def several(name, values, known):
    """Names as a list, from one or several.

    raises: ValueError for what is no list, an unknown name, or one that is listed twice
    """
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, Iterable):
        raise ValueError(f"{name} is {values!r}; it must be a list of names")
    found = list(values)
    for value in found:
        one_of(name, value, known)
    # Counted twice, a component would make random sets of another size than the circuit.
    if len(set(found)) < len(found):
        twice = next(value for value in found if found.count(value) > 1)
        raise ValueError(f"{name} has {twice!r} twice; each name may be listed once")
    return list(map(str, found))


def between(name, value, low, high, whole=False):
    """Check a number of Python or numpy.

    high:    None for no limit
    whole:   whether it must be an integer, not a float such as 64.0
    returns: it as Python's own number
    raises:  ValueError
    """
    kind = Integral if whole else Real
    sound = isinstance(value, kind) and not isinstance(value, bool) and value >= low
    if not sound or not (high is None or value <= high):
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} is {value!r}; it must be {'an integer ' if whole else ''}{allowed}")
    return int(value) if isinstance(value, Integral) else float(value)


def size(name, value, most):
    """Check a number of components, from 1, or a share of `most` below 1; returns it as Python's own; raises ValueError."""
    sound = isinstance(value, Real) and not isinstance(value, bool) and 0 < value <= most
    if not sound or (value >= 1 and value != int(value)):
        raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 to {most}, or a share between 0 and 1")
    return int(value) if value >= 1 else float(value)


def task_named(task, own):
    """Check the name of a task: a built-in one, or with prompts of one's own (own) any other; raises ValueError."""
    if not own:
        one_of("task", task, TASKS)
    elif not isinstance(task, str) or not task:
        raise ValueError(f"task is {task!r}; it must be a name, as text")
    elif task in TASKS:
        raise ValueError(f"task is {task!r}, a built-in task; give prompts of your own another name")


def table(name, value, needed=()):
    """Check that something is a DataFrame with some columns, each once; raises ValueError."""
    if not isinstance(value, pd.DataFrame):
        raise ValueError(f"{name} is of type {type(value).__name__}; it must be a DataFrame")
    for column in needed:
        count = list(value.columns).count(column)
        if count != 1:
            what = f"the column {column!r} {count} times" if count else f"no column {column!r}"
            raise ValueError(f"{name} has {what}; needed once each: {', '.join(needed)}")


def used_of(examples, split=None, model=None):
    """The usable rows of a table of examples, of one split or both.

    model:  models.Model that is to read their tokens
    raises: ValueError that says why there are none, for a number that two rows have, or for tokens of another tokenizer than the model's
    """
    tokens = () if model is None else ("clean_tokens", "corrupt_tokens")
    table("examples", examples, ("example", "split", "used", *tokens))
    same_vocabulary(
        model,
        examples.attrs.get(VOCABULARY),
        "examples have tokens of another tokenizer than the model's; make them with this model and its own folder",
    )
    mine = examples if split is None else examples[examples["split"] == split]
    used = mine[mine["used"].isin([True])].reset_index(drop=True)
    if used.empty:
        why = f"; most often: {reading.commonest(mine.to_dict('records'))}" if len(mine) else ""
        raise ValueError(f"examples has no usable {'row' if split is None else f'row of the split {split}'}{why}")
    if (twice := used["example"].duplicated()).any():
        number = used["example"][twice].iloc[0]
        raise ValueError(f"examples has two rows of the number {number} in its column example; each must have its own")
    return used


def same_vocabulary(model, other, problem):
    """Refuse tokens that a model does not read as they were meant.

    other:  models.vocabulary of their tokenizer.  Where it, or the model's, is not known, nothing is refused
    raises: ValueError, the problem
    """
    own = getattr(model, VOCABULARY, None)
    if own and other and own != other:
        raise ValueError(problem)


def prompts_of(used):
    """{number: hash of its tokens} of used examples, by which scores know what they are of."""
    columns = used["example"], used["clean_tokens"], used["corrupt_tokens"]
    return {
        int(number): zlib.crc32(str((list(map(int, a)), list(map(int, b)))).encode())
        for number, a, b in zip(*columns, strict=True)
    }


def scores_of(scores, used):
    """The rows of a table of scores of some examples, [example, component], in its order.

    used:   the used examples of the train split
    raises: ValueError unless it has one row of each, and columns with names of components, each once; for scores of other prompts
    """
    numbers = used["example"]
    table("scores", scores)
    if wrong := [name for name in scores.columns if not isinstance(name, str)]:
        raise ValueError(f"scores has the column {wrong[0]!r}; columns must be names of components, as from `score`")
    table("scores", scores, tuple(scores.columns))
    there = int(numbers.isin(scores.index).sum())
    if there < len(numbers):
        raise ValueError(
            f"scores has {there} of the {len(numbers)} used train examples in its index; give the scores of these examples, as from `score`"
        )
    # Tables of examples that were read back from a file have texts for tokens, or none.
    tokens = {"clean_tokens", "corrupt_tokens"} <= set(used) and not isinstance(used["clean_tokens"].iloc[0], str)
    if scores.attrs.get(PROMPTS) and tokens:
        own, theirs = prompts_of(used), scores.attrs[PROMPTS]
        if others := [number for number, prompt in own.items() if theirs.get(number, prompt) != prompt]:
            raise ValueError(
                f"scores are of other prompts than examples (example {others[0]} differs); score these examples"
            )
    rows = scores.loc[scores.index.isin(numbers)]
    if len(rows) > len(numbers):
        raise ValueError(f"scores has {len(rows)} rows of {len(numbers)} used train examples; each must have one")
    return rows


def names_of(circuit, space, kinds=None):
    """A circuit as a list of names: of a list, of one name, or of what `circuit` returns.

    space: components.Space of the model;  kinds: what it may hold, heads and MLPs without it
    raises: ValueError for no component, one that is listed twice, or one that the model does not have
    """
    if isinstance(circuit, tuple) and len(circuit) == 2 and not isinstance(circuit[0], str):
        circuit = circuit[0]
    names = several("circuit", circuit, space.of_kinds(kinds or components.KINDS))
    if not names:
        raise ValueError("circuit is empty: lower `threshold`, or raise `top_k`, where it was chosen")
    return names


def kinds_of(kinds):
    """Kinds of components as a tuple, from one or several; raises ValueError for none, an unknown one, or one that is listed twice."""
    found = several("kinds", kinds, components.KINDS)
    if not found:
        raise ValueError(f"kinds is empty; known: {', '.join(components.KINDS)}")
    return tuple(found)
