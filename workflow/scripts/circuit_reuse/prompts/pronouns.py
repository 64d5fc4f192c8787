"""Gendered pronouns (Mathwin et al. 2023): "So Mary is a really good friend, isn't" -> " she".

The corrupt prompt has a name of the other gender.
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import Prompt, fill, templates

TEMPLATES = [
    ("friend", "So {name} is a really good friend, isn't", False),
    ("tired", "Then {name} went to the {place} because", False),
    ("gave", "After {name} had a long day at the {place},", False),
    ("found", "When {name} found a {object} at the {place},", False),
    ("met", "While {name} walked to the {place},", True),
]


def example(rng, split):
    """One prompt pair with a man's name and a woman's name."""
    woman = rng.choice(words.whole(words.name_pool(split)[1::2]))
    man = rng.choice(words.whole(words.name_pool(split)[0::2]))
    name, template = rng.choice(templates(TEMPLATES, split))
    rest = {"place": rng.choice(words.PLACES), "object": rng.choice(words.OBJECTS)}
    rest = {slot: word for slot, word in rest.items() if f"{{{slot}}}" in template}
    she = rng.random() < 0.5
    clean, roles = fill(template, name=woman if she else man, **rest)
    corrupt, _ = fill(template, name=man if she else woman, **rest)
    answer, other = (" she", " he") if she else (" he", " she")
    return Prompt(clean, corrupt, answer, other, other, answer.strip(), name, roles)
