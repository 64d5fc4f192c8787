"""Boolean expressions: "true and not false is" -> " true".

The corrupt prompt flips one literal, one that decides the value, so the answer always flips
(in published data 78 per cent of such pairs had the same answer).
"""

import zlib

from circuit_reuse.prompts.base import Prompt, attempts, fill, within

TEMPLATES = [("value", "The value of {e} is"), ("evaluate", "Evaluate: {e} is")]

# Longer expressions are no question that a model is asked, and take long to make.
MOST = 20


def example(rng, split, operators=3, parentheses=False):
    """One prompt pair with 1 to `operators` operators, at most 20.

    parentheses: whether these say in which order; else it is read from left to right
    """
    within("operators", operators, 1, MOST)
    if parentheses:
        return nested(rng, split, operators)
    for _ in attempts():
        number = rng.randint(1, operators)
        literals = [rng.random() < 0.5 for _ in range(number + 1)]
        negated = [rng.random() < 0.3 for _ in literals]
        joined = [rng.choice(("and", "or")) for _ in range(number)]
        if split_of(literals, negated, joined) != split:
            continue
        value = evaluate(literals, negated, joined)
        deciding = [
            place for place in range(len(literals)) if evaluate(flip(literals, place), negated, joined) != value
        ]
        if deciding:
            break
    changed = flip(literals, rng.choice(deciding))
    name, template = rng.choice(TEMPLATES)
    clean, roles = fill(template, e=text_of(literals, negated, joined))
    corrupt, _ = fill(template, e=text_of(changed, negated, joined))
    answer, other = word(value), word(not value)
    form = text_of([True] * len(literals), negated, joined)
    return Prompt(clean, corrupt, f" {answer}", f" {other}", f" {other}", answer, name, form, roles)


def evaluate(literals, negated, joined):
    """The value, operators applied from left to right, `not` before them."""
    values = [literal != negation for literal, negation in zip(literals, negated, strict=True)]
    result = values[0]
    for operator, value in zip(joined, values[1:], strict=True):
        result = (result and value) if operator == "and" else (result or value)
    return result


def flip(literals, place):
    """The literals with one flipped."""
    return [literal != (index == place) for index, literal in enumerate(literals)]


def text_of(literals, negated, joined):
    """The expression in words."""
    terms = [("not " if negation else "") + word(literal) for literal, negation in zip(literals, negated, strict=True)]
    return terms[0] + "".join(f" {operator} {term}" for operator, term in zip(joined, terms[1:], strict=True))


def word(value):
    """True or false."""
    return "true" if value else "false"


def split_of(literals, negated, joined):
    """The form of an expression, without its literals, decides its split.

    A pair differs in one literal only, so both of its prompts lie in one split.
    """
    form = sum((2 + place) * sign for place, sign in enumerate(negated))
    form += sum((place + 3) * (operator == "and") for place, operator in enumerate(joined))
    return "held_out" if form % 4 == 3 else "train"


def nested(rng, split, operators):
    """One prompt pair of an expression with parentheses, such as not (true and false) or true."""
    for _ in attempts():
        shape = tree(rng, rng.randint(1, operators))
        if held_out(shape) != (split != "train"):
            continue
        literals = [rng.random() < 0.5 for _ in range(leaves(shape))]
        value = value_of(shape, literals)
        deciding = [n for n in range(len(literals)) if value_of(shape, flip(literals, n)) != value]
        if deciding:
            break
    changed = flip(literals, rng.choice(deciding))
    name, template = rng.choice(TEMPLATES)
    clean, roles = fill(template, e=written(shape, literals))
    corrupt, _ = fill(template, e=written(shape, changed))
    answer, other = word(value), word(not value)
    form = written(shape, [True] * len(literals))
    return Prompt(clean, corrupt, f" {answer}", f" {other}", f" {other}", answer, name, form, roles)


def tree(rng, operators):
    """The form of an expression: (operator, negated, left, right), or (None, negated) for a literal."""
    negated = rng.random() < 0.3
    if operators == 0:
        return None, negated
    left = rng.randrange(operators)
    parts = tree(rng, left), tree(rng, operators - 1 - left)
    return rng.choice(("and", "or")), negated, *parts


def leaves(shape):
    """Number of literals."""
    return 1 if shape[0] is None else leaves(shape[2]) + leaves(shape[3])


def value_of(shape, literals):
    """The value of an expression."""
    if shape[0] is None:
        return literals[0] != shape[1]
    count = leaves(shape[2])
    left, right = value_of(shape[2], literals[:count]), value_of(shape[3], literals[count:])
    return ((left and right) if shape[0] == "and" else (left or right)) != shape[1]


def written(shape, literals, outermost=True):
    """The text of an expression; every operation but the outermost in parentheses."""
    before = "not " if shape[1] else ""
    if shape[0] is None:
        return before + word(literals[0])
    count = leaves(shape[2])
    parts = written(shape[2], literals[:count], False), written(shape[3], literals[count:], False)
    text = f"{parts[0]} {shape[0]} {parts[1]}"
    return text if outermost and not before else f"{before}({text})"


def held_out(shape):
    """The form of an expression, without its literals, decides its split."""
    return zlib.crc32(repr(shape).encode()) % 4 == 3
