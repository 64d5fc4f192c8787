"""Gendered pronouns (Mathwin et al. 2023): "So Mary is a really good friend, isn't" -> " she".

The corrupt prompt has a name of the other gender.
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import HELD_OUT, LEARNED, TRAIN, Prompt, fill, in_turn, templates

TEMPLATES = [
    ("friend", "So {name} is a really good friend, isn't", LEARNED),
    ("tired", "Then {name} went to the {place} because", LEARNED),
    ("gave", "After {name} had a long day at the {place},", LEARNED),
    ("found", "When {name} found a {object} at the {place},", LEARNED),
    ("met", "While {name} walked to the {place},", HELD_OUT),
    ("after_found", "After {name} found a {object} at the {place},", TRAIN),
    ("while_found", "While {name} found a {object} at the {place},", HELD_OUT),
    ("when_day", "When {name} had a long day at the {place},", TRAIN),
    ("while_day", "While {name} had a long day at the {place},", HELD_OUT),
    ("then_day", "Then {name} had a long day at the {place} because", HELD_OUT),
    ("then_walked", "Then {name} walked to the {place} because", HELD_OUT),
    ("then_found", "Then {name} found a {object} at the {place} because", TRAIN),
    ("so_went", "So {name} went to the {place} because", TRAIN),
    ("so_day", "So {name} had a long day at the {place} because", HELD_OUT),
    ("then_friend", "Then {name} is a really good friend, isn't", TRAIN),
]


def example(rng, split, learned=False):
    """One prompt pair with a man's name and a woman's name; `learned` restricts the frames (base.templates)."""
    woman = rng.choice(words.whole(words.name_pool(split)[1::2]))
    man = rng.choice(words.whole(words.name_pool(split)[0::2]))
    name, template = in_turn(rng, templates(TEMPLATES, split, learned))
    rest = {"place": rng.choice(words.PLACES), "object": rng.choice(words.OBJECTS)}
    rest = {slot: word for slot, word in rest.items() if f"{{{slot}}}" in template}
    she = rng.random() < 0.5
    clean, roles = fill(template, name=woman if she else man, **rest)
    corrupt, _ = fill(template, name=man if she else woman, **rest)
    answer, other = (" she", " he") if she else (" he", " she")
    return Prompt(clean, corrupt, answer, other, other, answer.strip(), name, name, roles)
