"""Anti-repeat: name the item of a list that was not named a second time.

"The colors are red, blue, green and white. We have used white, red and green. The one left
is" -> " blue".  Copying alone would name any item of the list; the task is to suppress every
item that is repeated, whatever its place, with no names, subjects or objects as in IOI.  The
corrupt prompt names the answer where it had named the distractor, and so swaps them.
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import HELD_OUT, LEARNED, TRAIN, Prompt, attempts, fill, in_turn, templates

TEMPLATES = [
    ("used", "The {kind} are {a}, {b}, {c} and {d}. We have used {x}, {y} and {z}. The one left is", LEARNED),
    ("list", "List of {kind}: {a}, {b}, {c}, {d}. Done: {x}, {y}, {z}. Still to do:", LEARNED),
    ("three", "There are three {kind}: {a}, {b} and {c}. We have used {x} and {y}. The one left is", LEARNED),
    ("short", "List of {kind}: {a}, {b}, {c}. Done: {x}, {y}. Still to do:", LEARNED),
    ("mixed", "There are {kind}: {a}, {b}, {c} and {d}. Done: {x}, {y}, {z}. The one left is", TRAIN),
    ("mixed_short", "There are {kind}: {a}, {b} and {c}. We have used {x} and {y}. Still to do:", TRAIN),
    ("mixed_list", "There are {kind}: {a}, {b}, {c} and {d}. Done: {x}, {y}, {z}. Still to do:", HELD_OUT),
    ("three_done", "There are three {kind}: {a}, {b} and {c}. Done: {x}, {y}. Still to do:", TRAIN),
    ("three_left", "There are three {kind}: {a}, {b} and {c}. Done: {x}, {y}. The one left is", HELD_OUT),
    ("used_three", "The {kind} are {a}, {b} and {c}. We have used {x} and {y}. The one left is", TRAIN),
    ("done", "The {kind} are {a}, {b}, {c} and {d}. Done: {x}, {y}, {z}. Still to do:", TRAIN),
    ("done_three", "The {kind} are {a}, {b} and {c}. Done: {x}, {y}. Still to do:", HELD_OUT),
    ("short_used", "List of {kind}: {a}, {b}, {c}. We have used {x} and {y}. The one left is", HELD_OUT),
    ("short_left", "List of {kind}: {a}, {b}, {c}. Done: {x}, {y}. The one left is", TRAIN),
    ("list_left", "List of {kind}: {a}, {b}, {c}, {d}. Done: {x}, {y}, {z}. The one left is", HELD_OUT),
]
# What the head-scaling study (Tejas7007/Tejas7007-circuit-scaling) calls anti-repeat: two names, as in IOI, with its spaces.
PUBLISHED = " {a} met {b}.  {s} talked to"
PUBLISHED_NAMES = "Alice Bob Carol Dave Erin Frank Grace Heidi Ivan Judy Mallory Oscar".split()


def example(rng, split, learned=False, form="own"):
    """One prompt pair over a list of three or four items of a category; `learned` restricts the frames (base.templates).

    form: own, or published (the sentence and the names of the head-scaling study, the same in both splits)
    """
    if form not in ("own", "published"):
        raise ValueError(f"form {form!r} is unknown; known: own, published")
    if form == "published":
        repeated, other = rng.sample(PUBLISHED_NAMES, 2)
        clean, roles = fill(PUBLISHED, a=repeated, b=other, s=repeated)
        corrupt, _ = fill(PUBLISHED, a=repeated, b=other, s=other)
        return Prompt(
            clean, corrupt, f" {other}", f" {repeated}", f" {repeated}", "published", "published", other, roles
        )
    kind = rng.choice(sorted(words.CATEGORIES))
    name, template = in_turn(rng, templates(TEMPLATES, split, learned))
    length = 4 if "{d}" in template else 3
    # Which items meet is what differs between the splits: see `allowed`.
    for _ in attempts():
        items = rng.sample(words.CATEGORIES[kind], length)
        if len(words.whole(items)) == length and allowed(words.CATEGORIES[kind], items, split):
            break
    answer = rng.choice(items)
    used = [item for item in items if item != answer]
    rng.shuffle(used)
    distractor = rng.choice(used)
    slots = dict(zip("abcd", items, strict=False))
    clean, spans = fill(template, kind=kind, **slots, **dict(zip("xyz", used, strict=False)))
    swapped = [answer if item == distractor else item for item in used]
    corrupt, _ = fill(template, kind=kind, **slots, **dict(zip("xyz", swapped, strict=False)))
    roles = [(role_of(role, slots, answer), start, end) for role, start, end in spans]
    return Prompt(clean, corrupt, f" {answer}", f" {distractor}", f" {distractor}", kind, name, name, roles)


def allowed(category, items, split):
    """Lists of items belong to one split by the sum of their places: even ones train."""
    return sum(category.index(item) for item in items) % 2 == (0 if split == "train" else 1)


def role_of(slot, slots, answer):
    """The answer's only mention, the other items' first mention, and their repeats."""
    if slot in slots:
        return "answer" if slots[slot] == answer else f"item_{slot}"
    return f"repeat_{slot}" if slot in "xyz" else slot
