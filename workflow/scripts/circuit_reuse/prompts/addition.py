"""Addition within 100: "34 + 8 =" -> " 42".  The corrupt prompt changes the second summand."""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import Prompt, fill

TEMPLATES = [("sum", "The sum {a} + {b} ="), ("compute", "Compute {a} + {b} =")]


def example(rng, split, largest=99, second=9):
    """One prompt pair; a pair of summands belongs to one split.

    largest: the largest sum;  second: the largest second summand
    """
    while True:
        a = rng.randrange(1, largest)
        highest = min(second, largest - a)
        b, changed = rng.randint(1, highest), rng.randint(1, highest)
        if changed != b and split_of(a, b) == split and split_of(a, changed) == split:
            break
    total = a + b
    name, template = rng.choice(TEMPLATES)
    clean, roles = fill(template, a=words.DIGITS[a], b=words.DIGITS[b])
    corrupt, _ = fill(template, a=words.DIGITS[a], b=words.DIGITS[changed])
    carry = "carry" if a % 10 + b % 10 > 9 else "no carry"
    wrong = f" {a + changed}"
    return Prompt(clean, corrupt, f" {total}", wrong, wrong, carry, name, roles)


def split_of(a, b):
    """One pair of summands in five is held out, by a fixed rule."""
    return "held_out" if (a * b + a + b) % 5 == 0 else "train"
