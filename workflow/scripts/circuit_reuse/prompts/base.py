"""What a prompt pair is, and how templates become text with known positions."""

import string
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prompt:
    """One clean and one corrupt prompt with the answers between which a model decides.

    clean, corrupt:    text, of equal length in tokens, that differ in `changed` roles
    answer:            what follows the clean prompt, with its leading space
    distractor:        the wrong answer that the metric compares with;  others: more of them
    corrupt_answer:    what follows the corrupt prompt, or None where nothing definite does
    variant, template: labels by which examples may cluster (ABBA or BABA, sentence frame)
    roles:             [(role, start, end)], character spans in the clean prompt
    """

    clean: str
    corrupt: str
    answer: str
    distractor: str
    corrupt_answer: str | None
    variant: str
    template: str
    roles: list = field(default_factory=list)
    others: tuple = ()

    @property
    def distractors(self):
        """All wrong answers."""
        return [self.distractor, *self.others]


def fill(template, **slots):
    """Fill a template and say where each slot landed.

    `{a}` takes slots["a"]; the span of a role includes the space before the word, as the
    token does.  A slot may occur more than once: its spans are numbered a1, a2, ...

    returns: (text, [(role, start, end)])
    raises:  KeyError if a slot is missing
    """
    text, spans, seen = "", [], {}
    parts = list(string.Formatter().parse(template))
    times = {}
    for _, name, _, _ in parts:
        times[name] = times.get(name, 0) + 1
    for literal, name, _, _ in parts:
        text += literal
        if name is None:
            continue
        word = slots[name]
        seen[name] = seen.get(name, 0) + 1
        role = f"{name}{seen[name]}" if times[name] > 1 else name
        start = len(text) - (1 if text.endswith(" ") else 0)
        text += word
        spans.append((role, start, len(text)))
    return text, spans


def templates(pairs, split):
    """Templates of a split: [(name, text, held_out)] -> [(name, text)].

    Held-out examples use every template; train examples only those not held out.
    """
    return [(name, text) for name, text, held_out in pairs if split != "train" or not held_out]
