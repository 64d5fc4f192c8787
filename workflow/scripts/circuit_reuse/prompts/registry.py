"""The tasks by name: which family makes the prompts, with which options.

Standard library only, because the Snakefile reads it to name the known tasks in its errors.
A new family is a module with `example(rng, split, **options) -> Prompt` and a line here.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """A task family with its options.

    bos:      whether the beginning-of-sequence token goes before the prompt
    accuracy: what counts as correct; "top1" (the answer has the highest logit) or
              "preferred" (it has a higher logit than the distractor), for tasks that
              have more than one right answer
    """

    family: str
    title: str
    options: dict = field(default_factory=dict)
    bos: bool = True
    accuracy: str = "top1"


def sequence(title, **options):
    """A sequence task, declared by its options alone."""
    return Task("sequence", title, options)


TASKS = {
    "ioi": Task("ioi", "IOI"),
    "anti_repeat": Task("anti_repeat", "Anti-repeat"),
    "greater_than": Task("greater_than", "Greater-than", accuracy="preferred"),
    "digits": sequence("Digits", members="digits", largest=20),
    "digits_down": sequence("Digits down", members="digits", largest=20, step=-1),
    "digits_by_two": sequence("Digits by two", members="digits", largest=20, step=2),
    "number_words": sequence("Number words", members="number_words"),
    "months": sequence("Months", members="months"),
    "days": sequence("Days", members="days"),
    "letters": sequence("Letters", members="letters"),
    "number_words_down": sequence("Number words down", members="number_words", step=-1),
    "number_words_by_two": sequence("Number words by two", members="number_words", step=2),
    "months_down": sequence("Months down", members="months", step=-1),
    "months_by_two": sequence("Months by two", members="months", step=2),
    "days_down": sequence("Days down", members="days", step=-1),
    "letters_down": sequence("Letters down", members="letters", step=-1),
    "letters_by_two": sequence("Letters by two", members="letters", step=2),
    "digits_of_3": sequence("Digits, 3 shown", members="digits", largest=20, length=3),
    "digits_of_6": sequence("Digits, 6 shown", members="digits", largest=20, length=6),
    "digits_of_8": sequence("Digits, 8 shown", members="digits", largest=20, length=8),
    "digits_among_words": sequence(
        "Digits among words", members="digits", largest=20, frame="among"
    ),
    "months_among_digits": sequence(
        "Months among digits", members="months", frame="among", fillers="digits"
    ),
    "months_and_digits": sequence(
        "Months and digits", members="months", frame="among", fillers="digits", filler_step=1
    ),
    "addition": Task("addition", "Addition"),
    "boolean": Task("boolean", "Boolean"),
    "pronouns": Task("pronouns", "Pronouns"),
    "sarcasm": Task("sarcasm", "Sarcasm"),
    "sarcasm_balanced": Task(
        "sarcasm", "Sarcasm, balanced", options={"praise_share": 0.5, "paired_events": True}
    ),
}
FAMILIES = sorted({task.family for task in TASKS.values()})
