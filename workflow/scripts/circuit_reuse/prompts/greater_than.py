"""Greater-than (Hanna et al. 2023): "The war lasted from the year 1732 to the year 17".

Any later year is right; the answer is one of them, the distractor an earlier one.  The
corrupt prompt starts in a year after the answer, so that the answer is wrong in it.
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import Prompt, fill, templates

TEMPLATES = [
    ("lasted", "The {event} lasted from the year 17{year} to the year 17", False),
    ("went_on", "The {event} went on from the year 17{year} to the year 17", False),
    ("started", "The {event} started in the year 17{year} and lasted to the year 17", True),
]


def example(rng, split):
    """One prompt pair; years lie between 02 and 98, their last two digits one token."""
    event = rng.choice(words.pool(words.EVENTS, split))
    name, template = rng.choice(templates(TEMPLATES, split))
    distractor, start, answer, later, corrupt_answer = sorted(rng.sample(words.YEARS, 5))
    clean, roles = fill(template, event=event, year=start)
    corrupt, _ = fill(template, event=event, year=later)
    return Prompt(clean, corrupt, answer, distractor, corrupt_answer, "later", name, roles)
