"""Rows of the prompts table, from a built-in family or from the user's own file."""

from circuit_reuse.prompts import custom
from circuit_reuse.prompts.generate import generate


def rows(task, cfg, file=None):
    """The rows of one shard.

    cfg:  seed, held_out_share, examples (first and last + 1), task (family, options)
    file: the user's file for a custom task
    """
    first, last = cfg["examples"]
    if cfg["task"]["family"] == "custom":
        return custom.rows(file, cfg["held_out_share"])[first:last]
    about = cfg["task"]
    made = generate(
        task, last, cfg["seed"], cfg["held_out_share"], about["options"], about["family"]
    )
    return [row(index, split, prompt) for index, split, prompt in made[first:]]


def row(index, split, prompt):
    """One row of the prompts table."""
    return {
        "example": index,
        "id": f"{index:06d}",
        "split": split,
        "clean": prompt.clean,
        "corrupt": prompt.corrupt,
        "answer": prompt.answer,
        "distractor": prompt.distractor,
        "corrupt_answer": prompt.corrupt_answer,
        "variant": prompt.variant,
        "template": prompt.template,
        "roles": [{"role": role, "start": start, "end": end} for role, start, end in prompt.roles],
    }
