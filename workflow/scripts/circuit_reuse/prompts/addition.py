"""Addition: "The sum 34 + 8 =" -> " 42".  The corrupt prompt changes the second summand."""

from circuit_reuse.prompts.base import Prompt, attempts, fill, within

TEMPLATES = [("sum", "The sum {a} + {b} ="), ("compute", "Compute {a} + {b} =")]

# The second summand is at most this: GPT-2's tokenizer takes every such number as one token, larger ones not.
WHOLE = 361
LARGEST = 1_000_000


def example(rng, split, largest=99, second=9, digits=None):
    """One prompt pair; a pair of summands belongs to one split.

    largest: the largest sum, from 3 on;  second: the largest second summand, from 2 on, as it is changed
    digits:  of both summands, instead of these: 1 (from 1 on), 2 or 3
    """
    if digits is not None and digits not in (1, 2, 3):
        raise ValueError(f"digits is {digits!r}; it must be 1, 2 or 3")
    within("largest", largest, 3, LARGEST)
    within("second", second, 2, LARGEST)
    for _ in attempts():
        if digits is None:
            a = rng.randrange(1, largest)
            highest = min(second, largest - a)
            b, changed = rng.randint(1, highest), rng.randint(1, highest)
        else:
            low, high = 10 ** (digits - 1), 10**digits - 1
            a, b, changed = (rng.randint(low, top) for top in (high, *[min(high, WHOLE)] * 2))
        alike = len(str(b)) == len(str(changed))
        if alike and changed != b and split_of(a, b) == split and split_of(a, changed) == split:
            break
    total = a + b
    name, template = rng.choice(TEMPLATES)
    clean, roles = fill(template, a=str(a), b=str(b))
    corrupt, _ = fill(template, a=str(a), b=str(changed))
    carry = "carry" if a % 10 + b % 10 > 9 else "no carry"
    wrong = f" {a + changed}"
    return Prompt(clean, corrupt, f" {total}", wrong, wrong, carry, name, f"{a} + {b}", roles)


def split_of(a, b):
    """One pair of summands in five is held out, by a fixed rule."""
    return "held_out" if (a * b + a + b) % 5 == 0 else "train"
