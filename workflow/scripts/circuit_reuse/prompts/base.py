"""What a prompt pair is, and how templates become text with known positions."""

import string
from dataclasses import dataclass, field

# Where a template is used, see `templates`.
LEARNED, TRAIN, HELD_OUT = "learned", "train", "held_out"


@dataclass(frozen=True)
class Prompt:
    """One clean and one corrupt prompt with the answers between which a model decides.

    clean, corrupt:    text, of equal length in tokens, that differ in `changed` roles
    answer:            what follows the clean prompt, with its leading space
    distractor:        the wrong answer that the metric compares with;  others: more of them
    corrupt_answer:    what follows the corrupt prompt, or None where nothing definite does
    variant, template: labels by which circuits of examples may differ (ABBA or BABA; the sentence that the prompt is made from)
    cluster:           what examples share that are near copies of one another: the template, or
                       what the answer follows from; clusters are the units of intervals and tests
    roles:             [(role, start, end)], character spans in the clean prompt
    right, wrong:      all right and all wrong answers of a task with many of each (probability_difference); else empty
    """

    clean: str
    corrupt: str
    answer: str
    distractor: str
    corrupt_answer: str | None
    variant: str
    template: str
    cluster: str
    roles: list = field(default_factory=list)
    others: tuple = ()
    right: tuple = ()
    wrong: tuple = ()

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


def attempts(most=10_000):
    """Numbers of draws until one will do; raises ValueError once there were too many, where options leave no prompt possible."""
    yield from range(most)
    raise ValueError(f"with these options no prompt was found in {most:,} draws")


def within(option, value, low, high):
    """Refuse an option of a task that is out of its range, ends included; raises ValueError."""
    if not low <= value <= high:
        raise ValueError(f"{option} is {value!r}; it must be {low:,} to {high:,}")


def in_turn(rng, options):
    """One of some options: in turn where the stream is one of `generate`, else at random."""
    return rng.in_turn(options) if hasattr(rng, "in_turn") else rng.choice(options)


def templates(frames, split, learned=False):
    """The templates of a split: [(name, text, use)] -> [(name, text)].

    use:     HELD_OUT (in held-out examples only), TRAIN (in both splits), or LEARNED (in both, and in what the embedded
             models were trained on)
    learned: only what the embedded models were trained on
    """
    uses = (LEARNED,) if learned else (LEARNED, TRAIN) if split == "train" else (LEARNED, TRAIN, HELD_OUT)
    return [(name, text) for name, text, use in frames if use in uses]
