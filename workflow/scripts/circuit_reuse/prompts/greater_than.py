"""Greater-than (Hanna et al. 2023): "The war lasted from the year 1732 to the year" -> " 1762".

Any later year is right; the answer is one of them, the distractor an earlier one.  The
corrupt prompt starts in a year after the answer, so that the answer is wrong in it.
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import HELD_OUT, LEARNED, TRAIN, Prompt, attempts, fill, in_turn, templates

TEMPLATES = [
    ("lasted", "The {event} lasted from the year 17{year} to the year", LEARNED),
    ("went_on", "The {event} went on from the year 17{year} to the year", LEARNED),
    ("started", "The {event} started in the year 17{year} and lasted to the year", TRAIN),
    ("started_on", "The {event} started in the year 17{year} and went on to the year", HELD_OUT),
    ("opened", "The {event} opened in the year 17{year} and lasted to the year", TRAIN),
    ("long", "The long {event} lasted from the year 17{year} to the year", TRAIN),
    ("good", "The good {event} went on from the year 17{year} to the year", HELD_OUT),
    ("then", "Then the {event} lasted from the year 17{year} to the year", TRAIN),
    ("so", "So the {event} went on from the year 17{year} to the year", HELD_OUT),
    ("when", "When the {event} started in the year 17{year}, it lasted to the year", TRAIN),
    ("after", "After the {event} started in the year 17{year}, it went on to the year", HELD_OUT),
    ("is", "The {event} is from the year 17{year} to the year", HELD_OUT),
]
CENTURY = " 17"


def example(rng, split, form="whole", learned=False):
    """One prompt pair; years lie between 1702 and 1798.

    form: whole (the answer is a year of four digits; where a tokenizer takes the century apart, as
          GPT-2's does, it belongs to the prompt) or published (the prompt ends in the century, and
          the answer is the last two digits).  The years of a whole form differ in the digit of the
          tens: a tokenizer that takes digits one by one is compared there.
    learned: restricts the frames (base.templates)
    """
    if form not in ("whole", "published"):
        raise ValueError(f"form {form!r} is unknown; known: whole, published")
    event = rng.choice(words.pool(words.EVENTS, split))
    name, template = in_turn(rng, templates(TEMPLATES, split, learned))
    for _ in attempts():
        distractor, start, answer, later, corrupt_answer = sorted(rng.sample(words.YEARS, 5))
        tens = [year[0] for year in (distractor, start, answer, later)]
        if form == "published" or len(set(tens)) == len(tens):
            break
    after = "" if form == "whole" else CENTURY
    clean, roles = fill(template + after, event=event, year=start)
    corrupt, _ = fill(template + after, event=event, year=later)
    before = CENTURY if form == "whole" else ""
    right = tuple(f"{before}{year:02d}" for year in range(int(start) + 1, 100))
    wrong = tuple(f"{before}{year:02d}" for year in range(int(start) + 1))
    answer, distractor, corrupt_answer = (before + year for year in (answer, distractor, corrupt_answer))
    about = ("later", name, name)
    return Prompt(clean, corrupt, answer, distractor, corrupt_answer, *about, roles, right=right, wrong=wrong)
