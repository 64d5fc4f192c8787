"""Boolean expressions: "true and not false is" -> " true".

The corrupt prompt flips one literal, one that decides the value, so the answer always flips
(in published data 78 per cent of such pairs had the same answer).
"""

from circuit_reuse.prompts.base import Prompt, fill

TEMPLATES = [("value", "The value of {e} is"), ("evaluate", "Evaluate: {e} is")]


def example(rng, split, operators=3):
    """One prompt pair with 1 to `operators` operators, read from left to right."""
    while True:
        number = rng.randint(1, operators)
        literals = [rng.random() < 0.5 for _ in range(number + 1)]
        negated = [rng.random() < 0.3 for _ in literals]
        joined = [rng.choice(("and", "or")) for _ in range(number)]
        if split_of(literals, negated, joined) != split:
            continue
        value = evaluate(literals, negated, joined)
        deciding = [
            place
            for place in range(len(literals))
            if evaluate(flip(literals, place), negated, joined) != value
        ]
        if deciding:
            break
    changed = flip(literals, rng.choice(deciding))
    name, template = rng.choice(TEMPLATES)
    clean, roles = fill(template, e=text_of(literals, negated, joined))
    corrupt, _ = fill(template, e=text_of(changed, negated, joined))
    answer, other = word(value), word(not value)
    return Prompt(clean, corrupt, f" {answer}", f" {other}", f" {other}", answer, name, roles)


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
    terms = [
        ("not " if negation else "") + word(literal)
        for literal, negation in zip(literals, negated, strict=True)
    ]
    return terms[0] + "".join(
        f" {operator} {term}" for operator, term in zip(joined, terms[1:], strict=True)
    )


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
