"""Sequence continuation (Lan et al. 2023): digits, number words, months, days, letters.

"Van done in 1. Hat done in 2. Ring done in 3. Desk done in 4. Sun done in" -> " 5".  A task
is declared by its members, step and frame; the distractor is the last element shown.  The
corrupt prompt is built from its own elements (never by replacing text in the clean one).
"""

from circuit_reuse.prompts import words
from circuit_reuse.prompts.base import Prompt

MEMBERS = {
    "digits": words.DIGITS[1:],
    "number_words": words.NUMBER_WORDS,
    "months": words.MONTHS,
    "days": words.DAYS,
    "letters": words.LETTERS,
}
SENTENCES = {"done": "{word} done in {item}.", "lost": "{word} lost in {item}.",
             "found": "{word} found in {item}."}  # fmt: skip
HELD_OUT_FRAMES = {"found"}


def example(
    rng,
    split,
    members="digits",
    step=1,
    length=4,
    frame="sentence",
    corruption="random",
    largest=None,
):
    """One prompt pair.

    members:    a key of MEMBERS; largest: use the first so many members only
    step:       difference of successive elements, negative for descending sequences
    length:     elements shown before the answer
    frame:      sentence (five words of filler text an element), or bare
    corruption: random (elements without progression at the end), repeat_last (the last but
                one twice), repeat_all (one element), shuffled (the same in another order)
    """
    elements = MEMBERS[members][:largest]
    span = abs(step) * length
    if span >= len(elements):
        raise ValueError(f"{length} steps of {step} do not fit into {len(elements)} {members}")
    low = rng.randrange(len(elements) - span)
    start = low if step > 0 else low + span
    shown = [start + step * place for place in range(length)]
    answer = shown[-1] + step
    corrupted = corrupt_elements(rng, shown, answer, step, len(elements), corruption)
    fillers = rng.sample(words.pool(words.FILLERS, split), length + 1)
    frames = sorted(SENTENCES if split != "train" else set(SENTENCES) - HELD_OUT_FRAMES)
    sentence = rng.choice(frames) if frame == "sentence" else "bare"
    clean, roles = render(sentence, fillers, [elements[place] for place in shown])
    corrupt, _ = render(sentence, fillers, [elements[place] for place in corrupted])
    return Prompt(
        clean, corrupt, f" {elements[answer]}", f" {elements[shown[-1]]}", None,
        f"start {elements[start]}", sentence, roles,
    )  # fmt: skip


def corrupt_elements(rng, shown, answer, step, total, corruption):
    """Places of the elements of the corrupt prompt, which must not continue to the answer."""
    if corruption == "repeat_last":
        return [*shown[:-1], shown[-2]] if len(shown) > 1 else [rng.choice(others(total, shown))]
    if corruption == "repeat_all":
        return [rng.choice(others(total, [answer - step]))] * len(shown)
    if corruption == "shuffled" and len(shown) > 2:
        while True:
            order = rng.sample(shown, len(shown))
            if order[-1] - order[-2] != step and order[-1] != answer - step:
                return order
    while True:
        order = [rng.randrange(total) for _ in shown]
        progress = len(order) > 1 and order[-1] - order[-2] == step
        if not progress and order[-1] != answer - step:
            return order


def others(total, places):
    """Every place but those given."""
    return [place for place in range(total) if place not in places]


def render(sentence, fillers, items):
    """Text and the spans of the elements: item_1 is the first shown, word_5 the last filler."""
    text, roles = "", []
    for place, item in enumerate(items, start=1):
        if sentence == "bare":
            start = len(text)
            text += f" {item}"
            roles.append((f"item_{place}", start, len(text)))
            continue
        text += " " if text else ""
        before, after = SENTENCES[sentence].format(word=fillers[place - 1], item="|").split("|")
        text += before
        roles.append((f"item_{place}", len(text) - 1, len(text) + len(item)))
        text += item + after
    if sentence != "bare":
        before = SENTENCES[sentence].format(word=fillers[len(items)], item="|").split("|")[0]
        text += f" {before.rstrip()}"
    return text, roles
