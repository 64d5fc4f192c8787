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
    "addition": Task("addition", "Addition"),
    "boolean": Task("boolean", "Boolean"),
    "pronouns": Task("pronouns", "Pronouns"),
    "sarcasm": Task("sarcasm", "Sarcasm"),
}
FAMILIES = sorted({task.family for task in TASKS.values()})
