"""The tasks by name: which family makes the prompts, with which options.

Standard library only, because the Snakefile reads it to name the known tasks in its errors.
A new family is a module with `example(rng, split, **options) -> Prompt` and a line here.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """A task family with its options.

    bos:      whether the beginning-of-sequence token goes first: auto (as the tokenizer does it),
              always or never; None for what the config says of all tasks
    accuracy: what counts as correct; "top1" (greedy decoding gives the answer), "preferred" (the
              answer has a higher logit than the distractors), for tasks that have more than one
              right answer, or "choice" (its label is the best of all labels)
    shots:    solved examples before each prompt, the same before all;  chat: use the chat template
    """

    family: str
    title: str
    options: dict = field(default_factory=dict)
    bos: str | None = None
    accuracy: str = "top1"
    shots: int = 0
    chat: bool = False


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
    "digits_among_words": sequence("Digits among words", members="digits", largest=20, frame="among"),
    "months_among_digits": sequence("Months among digits", members="months", frame="among", fillers="digits"),
    "months_and_digits": sequence(
        "Months and digits", members="months", frame="among", fillers="digits", filler_step=1
    ),
    "addition": Task("addition", "Addition"),
    "addition_of_1": Task("addition", "Addition, 1 digit", {"digits": 1}),
    "addition_of_2": Task("addition", "Addition, 2 digits", {"digits": 2}),
    "addition_of_3": Task("addition", "Addition, 3 digits", {"digits": 3}),
    "boolean": Task("boolean", "Boolean"),
    "boolean_parentheses": Task("boolean", "Boolean, parentheses", {"parentheses": True}),
    "comparison": Task("comparison", "Comparison"),
    "capitals": Task("capitals", "Capitals"),
    "mcqa": Task("mcqa", "Multiple choice", accuracy="choice"),
    "pronouns": Task("pronouns", "Pronouns"),
    "sarcasm": Task("sarcasm", "Sarcasm"),
    "sarcasm_balanced": Task("sarcasm", "Sarcasm, balanced", options={"praise_share": 0.5, "paired_events": True}),
}


def settings(task, config):
    """The settings of a task, whether built in or the user's own: family, options, bos, accuracy, shots, chat.

    config: a checked config, with its defaults filled in
    """
    spec = TASKS.get(task)
    if task in config["custom_tasks"]:
        custom = config["custom_tasks"][task]
        family = "sequence" if "sequence" in custom else "custom"
        spec = Task(family, task, custom.get("sequence") or {name: custom[name] for name in FORMAT if name in custom})
        given = {name: custom[name] for name in SETTINGS if name in custom}
    else:
        given = dict(config["task_options"].get(task, {}))
    found = {name: given.pop(name, None) for name in SETTINGS}
    found = {name: getattr(spec, name) if value is None else value for name, value in found.items()}
    bos = config["examples"]["bos"] if found["bos"] is None else found["bos"]
    options = spec.options | (given if task in TASKS else {})
    return found | {"family": spec.family, "options": options, "bos": BOS.get(bos, bos)}


# True and false say the same, shorter.
BOS = {True: "always", False: "never"}
# What the config may say of any task, beside the options of its family.
SETTINGS = ("bos", "accuracy", "shots", "chat")
# How a file of a custom task is read (prompts.datasets).
FORMAT = ("format", "counterfactual", "longest")
