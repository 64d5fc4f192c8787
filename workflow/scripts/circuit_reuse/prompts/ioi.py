"""Indirect object identification (Wang et al. 2022).

"When Mary and John went to the store, John gave a ring to" -> " Mary".  In ABBA prompts the
indirect object comes first, in BABA prompts the subject.  The corrupt prompt swaps the
second subject for the indirect object, so that the answer becomes the distractor.
"""

from dataclasses import replace

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import HELD_OUT, LEARNED, TRAIN, Prompt, fill, in_turn, templates

TEMPLATES = [
    ("went", "When {a} and {b} went to the {place}, {s} gave a {object} to", LEARNED),
    ("long_day", "Then {a} and {b} had a long day at the {place}. {s} gave a {object} to", LEARNED),
    ("met", "After {a} and {b} met at the {place}, {s} handed a {object} to", LEARNED),
    ("were", "While {a} and {b} were at the {place}, {s} offered a {object} to", LEARNED),
    ("found", "Then {a} and {b} found a {object} at the {place}. {s} gave it to", LEARNED),
    ("walked", "Then {a} and {b} walked to the {place}, and {s} handed a {object} to", LEARNED),
    ("after_day", "After {a} and {b} had a long day at the {place}, {s} offered a {object} to", HELD_OUT),
    ("when_found", "When {a} and {b} found a {object} at the {place}, {s} handed it to", TRAIN),
    ("when_met", "When {a} and {b} met at the {place}, {s} gave a {object} to", TRAIN),
    ("when_were", "When {a} and {b} were at the {place}, {s} handed a {object} to", HELD_OUT),
    ("when_day", "When {a} and {b} had a long day at the {place}, {s} handed a {object} to", HELD_OUT),
    ("after_went", "After {a} and {b} went to the {place}, {s} offered a {object} to", HELD_OUT),
    ("after_were", "After {a} and {b} were at the {place}, {s} gave a {object} to", TRAIN),
    ("after_found", "After {a} and {b} found a {object} at the {place}, {s} gave it to", HELD_OUT),
    ("while_day", "While {a} and {b} had a long day at the {place}, {s} gave a {object} to", TRAIN),
    ("while_found", "While {a} and {b} found a {object} at the {place}, {s} offered it to", HELD_OUT),
    ("then_went", "Then {a} and {b} went to the {place}, and {s} gave a {object} to", TRAIN),
    ("then_were", "Then {a} and {b} were at the {place}. {s} offered a {object} to", HELD_OUT),
    ("then_met", "Then {a} and {b} met at the {place}, and {s} offered a {object} to", TRAIN),
]
# The only prompt, and the names, of the head-scaling study (Tejas7007/Tejas7007-circuit-scaling).
PUBLISHED = "When {a} and {b} went to the store, {s} gave a gift to"
PUBLISHED_NAMES = "John Mary Tom Kate Raj Liam Mia Omar Lina Chen Sara Ivy Alex Noah Zoe".split()
ROLES = {"ABBA": {"a": "IO", "b": "S1", "s": "S2"}, "BABA": {"a": "S1", "b": "IO", "s": "S2"}}


def example(rng, split, variants=("ABBA", "BABA"), learned=False, form="own"):
    """One prompt pair; `variants` restricts the order of the names, `learned` the frames (base.templates).

    form: own, or published (the one sentence and the names of the head-scaling study, the same in both splits)
    """
    if form not in ("own", "published"):
        raise ValueError(f"form {form!r} is unknown; known: own, published")
    if form == "published":
        indirect, subject = rng.sample(PUBLISHED_NAMES, 2)
        # One sentence for all: prompts of one answer are those that say the same.
        return replace(pair(PUBLISHED, "published", "BABA", indirect, subject, {}), cluster=indirect)
    indirect, subject = rng.sample(words.whole(words.name_pool(split)), 2)
    variant = rng.choice(list(variants))
    name, template = in_turn(rng, templates(TEMPLATES, split, learned))
    rest = {"place": rng.choice(words.PLACES), "object": rng.choice(words.OBJECTS)}
    return pair(template, name, variant, indirect, subject, rest)


def pair(template, name, variant, indirect, subject, rest):
    """A prompt and the corrupt one, in which the indirect object is named instead of the second subject."""
    first, second = (indirect, subject) if variant == "ABBA" else (subject, indirect)
    clean, spans = fill(template, a=first, b=second, s=subject, **rest)
    corrupt, _ = fill(template, a=first, b=second, s=indirect, **rest)
    roles = [(ROLES[variant].get(role, role), start, end) for role, start, end in spans]
    return Prompt(clean, corrupt, f" {indirect}", f" {subject}", f" {subject}", variant, name, name, roles)
