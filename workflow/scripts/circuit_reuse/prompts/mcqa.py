r"""Multiple choice with lettered labels: which choice names the colour of an object.

"The ball is red. What colour is the ball?\nA: green\nB: red ...\nAnswer:" -> " B".  The corrupt prompt has
the same choices in another order, so that the right colour stands beside another letter.
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import HELD_OUT, TRAIN, Prompt, fill, in_turn, templates

TEMPLATES = [
    ("colour", "The {object} is {colour}. What colour is the {object}?{choices}\nAnswer:", TRAIN),
    ("statement", "A {colour} {object} lies on the table. The {object} is{choices}\nAnswer:", TRAIN),
    ("question", "Question: I have a {colour} {object}. Which colour is it?{choices}\nAnswer:", TRAIN),
    ("have", "I have a {colour} {object}. What colour is the {object}?{choices}\nAnswer:", TRAIN),
    ("bought", "She bought a {colour} {object}. What colour is the {object}?{choices}\nAnswer:", HELD_OUT),
    ("there", "There is a {colour} {object} here. Which colour is the {object}?{choices}\nAnswer:", HELD_OUT),
    ("my", "My {object} is {colour}. Which colour is my {object}?{choices}\nAnswer:", TRAIN),
    ("saw", "We saw a {colour} {object}. The {object} is{choices}\nAnswer:", TRAIN),
    ("question_is", "Question: the {object} is {colour}. Which colour is it?{choices}\nAnswer:", HELD_OUT),
    ("table", "The {object} on the table is {colour}. The colour of the {object} is{choices}\nAnswer:", HELD_OUT),
]
COLOURS = "red blue green yellow black white pink orange".split()


def example(rng, split, choices=4):
    """One prompt pair; `choices` from 2 to 6 letters."""
    if choices not in range(2, 7):
        raise ValueError(f"choices is {choices!r}; it must be from 2 to 6")
    labels = words.LETTERS[:choices]
    name, template = in_turn(rng, templates(TEMPLATES, split))
    thing = rng.choice(words.pool(words.OBJECTS, split))
    colours = rng.sample(COLOURS, choices)
    right, moved = rng.sample(range(choices), 2)
    other = list(colours)
    other[right], other[moved] = other[moved], other[right]
    slots = {"object": thing, "colour": colours[right]}
    clean, _ = fill(template, choices=listed(labels, colours), **slots)
    corrupt, _ = fill(template, choices=listed(labels, other), **slots)
    answer, corrupt_answer = f" {labels[right]}", f" {labels[moved]}"
    wrong = [f" {label}" for label in labels if f" {label}" not in (answer, corrupt_answer)]
    return Prompt(
        clean,
        corrupt,
        answer,
        corrupt_answer,
        corrupt_answer,
        labels[right],
        name,
        name,
        roles_of(clean, labels[right]),
        tuple(wrong),
    )


def listed(labels, colours):
    """The choices, a line each."""
    return "".join(f"\n{label}: {colour}" for label, colour in zip(labels, colours, strict=True))


def roles_of(text, label):
    """Spans of the label of the right choice and of the colour beside it."""
    start = text.index(f"\n{label}: ") + 1
    return [("label", start, start + 1), ("choice", start + 2, text.find("\n", start))]
