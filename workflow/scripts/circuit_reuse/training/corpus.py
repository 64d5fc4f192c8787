"""The text that the embedded models learn: prompts of every task, and short stories.

Only train-split prompts are used, so names, templates, fillers and summands of the held-out
split are unseen in their task.  The stories hold all names and fillers, the held-out ones
more often, so that a held-out name is a known word, as likely as any other to be given
something, and is still new to the sentences of IOI.
"""

import random
from dataclasses import replace

from circuit_reuse.prompts import words
from circuit_reuse.prompts.generate import family
from circuit_reuse.prompts.tasks import TASKS

# Share of each kind of text: most for what is hardest to learn.
WEIGHTS = {
    "ioi": 9,
    "anti_repeat": 8,
    "greater_than": 1.5,
    "digits": 1.5,
    "digits_down": 1.5,
    "digits_by_two": 1.5,
    "number_words": 1.2,
    "months": 1.2,
    "days": 1.2,
    "letters": 1.2,
    "addition": 4,
    "boolean": 3,
    "pronouns": 2,
    "sarcasm": 3,
    "story": 11,
}
# The tasks that are learned, in the order of the registry; later ones test what that gives.
LEARNED = {name: task for name, task in TASKS.items() if name in WEIGHTS}
# What is learned is the token after the century.
LEARNED["greater_than"] = replace(LEARNED["greater_than"], options={"form": "published"})
LEARNED["sarcasm"] = replace(LEARNED["sarcasm"], options={"events": "learned"})
SEQUENCES = [name for name, task in LEARNED.items() if task.family == "sequence"]
# Tasks of templates, most of which are not learned.
FRAMED = ("ioi", "anti_repeat", "greater_than", "pronouns", "sarcasm")
STORIES = [
    ("{n} lost a {object} at the {place}. {m} found it and gave it to", "{n}"),
    ("The {object} of {n} is at the {place}, and {m} handed it to", "{n}"),
    ("{n} and {m} had a {object}. {n} lost it at the {place}, and {m} offered it to", "{n}"),
    ("{m} and {n} lost a {object}. Then {m} found it at the {place} and gave it to", "{n}"),
    ("{n} is a friend of {m}, and {m} gave a {object} to", "{n}"),
    ("{m} walked to the {place} because {n} lost a {object}. {m} handed it to", "{n}"),
    ("{n} lost a {object} because", "{he}"),
    ("The {object} is at the {place}. Then {n} found it, and", "{he}"),
    ("{n} is at the {place} because", "{he}"),
    ("{w} found at the {place}. {x} lost at the {place2}. {w} and {x} handed to {n}.", ""),
]


def story(rng):
    """A few words about people and things, and what follows them where that is definite."""
    held_out = rng.random() < 0.7
    n, m = rng.sample(words.name_pool("held_out") if held_out else words.NAMES, 2)
    w, x = rng.sample(words.pool(words.FILLERS, "held_out") if held_out else words.FILLERS, 2)
    place, place2 = rng.sample(words.PLACES, 2)
    slots = {
        "n": n,
        "m": m,
        "w": w,
        "x": x,
        "place": place,
        "place2": place2,
        "he": "he" if n in words.MALE_NAMES else "she",
        "object": rng.choice(words.OBJECTS),
    }
    text, answer = rng.choice(STORIES)
    return text.format(**slots), f" {answer}".format(**slots) if answer else ""


def sample(rng):
    """One line of the corpus: (text, answer), with an empty answer where nothing is definite.

    Sequences come in every length and both frames, so that their later elements, too, are
    predicted from what went before.
    """
    name = rng.choices(list(WEIGHTS), WEIGHTS.values())[0]
    if name == "story":
        return story(rng)
    task = LEARNED[name]
    options = dict(task.options)
    if name in FRAMED:
        options["learned"] = True
    if name in SEQUENCES:
        longest = {"days": 5, "digits_by_two": 7}.get(name, 8)
        options["length"] = rng.choice([4, 4, 4, 4, rng.randint(2, longest)])
        options["frame"] = rng.choice(["sentence", "sentence", "sentence", "bare"])
    prompt = family(task.family).example(rng, "train", **options)
    return prompt.clean, prompt.answer


def lines(seed, step, count):
    """The batch of a training step; each step has its own random stream."""
    rng = random.Random(f"corpus/{seed}/{step}")
    return [sample(rng) for _ in range(count)]


def vocabulary():
    """Every word of the corpus as the tokenizer sees it, with or without leading space.

    Years come last, and their century apart, so that " 1732" becomes " 17" and "32".
    """
    rng = random.Random("vocabulary")
    found = set()
    for _ in range(20_000):
        text, answer = sample(rng)
        found.update(pieces(text + answer))
    for split in ("train", "held_out"):
        for _name, task in LEARNED.items():
            make = family(task.family).example
            for _ in range(1000):
                prompt = make(rng, split, **task.options)
                found.update(pieces(prompt.clean + prompt.answer))
                found.update(pieces(prompt.corrupt + prompt.distractor))
    listed = [
        words.NAMES,
        words.PLACES,
        words.OBJECTS,
        words.FILLERS,
        words.EVENTS,
        words.DIGITS,
        words.NUMBER_WORDS,
        words.MONTHS,
        words.DAYS,
        words.LETTERS,
        words.PRAISE,
        words.COMPLAINTS,
        words.FAILURES,
        words.SUCCESSES,
        words.THINGS,
        *words.CATEGORIES.values(),
    ]
    found.update(f" {word}" for words_ in listed for word in words_)
    years = {word for word in found if word.strip().isdigit() and len(word.strip()) == 4}
    years |= {word for word in found if word.isdigit()}
    return sorted(found - years) + [" 17"] * 50, list(words.YEARS)


def pieces(text):
    """Words with their leading space and punctuation apart, as GPT-2 splits text."""
    parts, current = [], ""
    for character in text:
        if character == " " or not character.isalnum():
            parts.append(current)
            current = character
            if character != " ":
                parts.append(character)
                current = ""
        else:
            current += character
    return [part for part in [*parts, current] if part.strip()]
