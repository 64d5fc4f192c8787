"""Examples by number: example i of a task is the same whatever n is."""

import importlib
import random

from circuit_reuse.prompts.registry import TASKS

ATTEMPTS = 500


def family(name):
    """The module of a task family."""
    return importlib.import_module(f"circuit_reuse.prompts.{name}")


def split_of(index, held_out_share):
    """Train or held_out, spread evenly over the numbers and independent of n."""
    before, after = int(index * held_out_share), int((index + 1) * held_out_share)
    return "held_out" if after > before else "train"


def generate(task, n, seed=0, held_out_share=0.5, options=None, kind=None):
    """The first n examples of a task, all different.

    Each has its own random stream, named by (seed, task, index, attempt); a repeat of an
    earlier prompt is drawn again, so a prefix of a longer list equals the shorter list.

    options: that differ from those of the task
    kind:    family of a task of the user's own, which `options` declare in full
    returns: [(index, split, Prompt)]
    raises:  ValueError if the task has fewer than n different prompts
    """
    own = {} if kind else TASKS[task].options
    make = family(kind or TASKS[task].family).example
    settings = {**own, **(options or {})}
    seen, examples = set(), []
    for index in range(n):
        split = split_of(index, held_out_share)
        for attempt in range(ATTEMPTS):
            rng = random.Random(f"{seed}/{task}/{index}/{attempt}")
            prompt = make(rng, split, **settings)
            if prompt.clean not in seen:
                break
        else:
            raise ValueError(
                f"task {task!r} has run out of different {split} prompts after {index} examples; "
                f"ask for fewer (examples: {n} is too many)"
            )
        seen.add(prompt.clean)
        examples.append((index, split, prompt))
    return examples
