"""Sarcasm: praise for a failure, or complaint about a success.

"Oh great, the printer failed again. That remark is" -> " sarcastic".  The corrupt prompt
changes the event, so that words and event agree and the remark is sincere (or the reverse).
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import HELD_OUT, LEARNED, TRAIN, Prompt, fill, in_turn, templates, within

TEMPLATES = [
    ("oh", "Oh {feeling}, the {thing} {event} again. That remark is", LEARNED),
    ("just", "Just {feeling}, the {thing} {event} once more. That remark is", LEARNED),
    ("how", "How {feeling}, the {thing} {event} today. That remark is", LEARNED),
    ("well", "Well, {feeling}, the {thing} {event} again. That remark is", TRAIN),
    ("well_more", "Well, {feeling}, the {thing} {event} once more. That remark is", TRAIN),
    ("oh_today", "Oh {feeling}, the {thing} {event} today. That remark is", TRAIN),
    ("oh_more", "Oh {feeling}, the {thing} {event} once more. That remark is", HELD_OUT),
    ("oh_comma", "Oh, {feeling}, the {thing} {event} again. That remark is", HELD_OUT),
    ("just_again", "Just {feeling}, the {thing} {event} again. That remark is", TRAIN),
    ("just_today", "Just {feeling}, the {thing} {event} today. That remark is", HELD_OUT),
    ("how_again", "How {feeling}, the {thing} {event} again. That remark is", TRAIN),
    ("how_more", "How {feeling}, the {thing} {event} once more. That remark is", HELD_OUT),
]


def example(rng, split, praise_share=0.75, paired_events=False, events="common", learned=False):
    """One prompt pair; half of the clean prompts are sarcastic.

    praise_share:  of the prompts; at one half, neither failures nor successes are the sarcastic ones
    paired_events: whether each failure goes with one success, so that pairs fall into groups
    events:        common, or learned (those that the embedded models know)
    learned:       restricts the frames (base.templates)
    """
    if events not in words.EVENTS_OF:
        raise ValueError(f"events {events!r} is unknown; known: {', '.join(words.EVENTS_OF)}")
    within("praise_share", praise_share, 0, 1)
    failures, successes = words.EVENTS_OF[events]
    name, template = in_turn(rng, templates(TEMPLATES, split, learned))
    thing = rng.choice(words.pool(words.THINGS, split))
    # Mostly praise, as in life; then the event alone decides most remarks.
    praise = rng.random() < praise_share
    feeling = rng.choice(words.PRAISE if praise else words.COMPLAINTS)
    failure, success = rng.choice(failures), rng.choice(successes)
    if paired_events:
        success = successes[failures.index(failure)]
    failed = rng.random() < 0.5
    event, other_event = (failure, success) if failed else (success, failure)
    clean, roles = fill(template, feeling=feeling, thing=thing, event=event)
    corrupt, _ = fill(template, feeling=feeling, thing=thing, event=other_event)
    sarcastic = praise == failed
    answer, other = (" sarcastic", " sincere") if sarcastic else (" sincere", " sarcastic")
    return Prompt(clean, corrupt, answer, other, other, answer.strip(), name, name, roles)
