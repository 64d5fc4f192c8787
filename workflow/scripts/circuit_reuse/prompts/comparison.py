"""Comparison of two numbers: "Of 34 and 81, the larger number is" -> " 81".

The corrupt prompt exchanges the two words, larger and smaller, so that the answer becomes the
distractor and both numbers stay where they are.
"""

from circuit_reuse.prompts.base import HELD_OUT, TRAIN, Prompt, attempts, fill, in_turn, templates

TEMPLATES = [
    ("of", "Of {a} and {b}, the {which} number is", TRAIN),
    ("given", "Given {a} and {b}, the {which} one is", TRAIN),
    ("numbers", "Numbers: {a}, {b}. The {which} number is", TRAIN),
    ("between", "Between {a} and {b}, the {which} number is", TRAIN),
    ("between_one", "Between {a} and {b}, the {which} one is", HELD_OUT),
    ("of_one", "Of {a} and {b}, the {which} one is", TRAIN),
    ("given_number", "Given {a} and {b}, the {which} number is", HELD_OUT),
    ("out_of", "Out of {a} and {b}, the {which} number is", HELD_OUT),
    ("numbers_one", "Numbers: {a}, {b}. The {which} one is", HELD_OUT),
    ("look", "Look at {a} and {b}. The {which} number is", TRAIN),
    ("take", "Take {a} and {b}. The {which} number is", TRAIN),
    ("written", "I wrote down {a} and {b}. The {which} number is", TRAIN),
    ("compare", "Compare {a} with {b}: the {which} number is", HELD_OUT),
]
WHICH = ("larger", "smaller")


def example(rng, split, digits=2):
    """One prompt pair of two numbers with different first digits.

    digits: of both numbers, 1, 2 or 3
    """
    if digits not in (1, 2, 3):
        raise ValueError(f"digits is {digits!r}; it must be 1, 2 or 3")
    low, high = 10 ** (digits - 1), 10**digits - 1
    for _ in attempts():
        a, b = rng.randint(low, high), rng.randint(low, high)
        if str(a)[0] != str(b)[0] and split_of(a, b) == split:
            break
    name, template = in_turn(rng, templates(TEMPLATES, split))
    which = rng.choice(WHICH)
    other = WHICH[which == WHICH[0]]
    clean, roles = fill(template, a=str(a), b=str(b), which=which)
    corrupt, _ = fill(template, a=str(a), b=str(b), which=other)
    larger, smaller = f" {max(a, b)}", f" {min(a, b)}"
    answer, distractor = (larger, smaller) if which == WHICH[0] else (smaller, larger)
    variant = f"{which} {'first' if answer == f' {a}' else 'second'}"
    return Prompt(clean, corrupt, answer, distractor, distractor, variant, name, name, roles)


def split_of(a, b):
    """One pair of numbers in four is held out, whatever their order."""
    return "held_out" if (a + b) % 4 == 3 else "train"
