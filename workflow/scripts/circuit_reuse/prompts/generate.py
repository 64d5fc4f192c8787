"""Examples by number: example i of a task is the same whatever n is."""

import importlib
import random

from circuit_reuse.prompts.tasks import TASKS

ATTEMPTS = 500


def family(name):
    """The module of a task family."""
    return importlib.import_module(f"circuit_reuse.prompts.{name}")


def split_of(index, held_out_share):
    """Train or held_out, spread evenly over the numbers and independent of n."""
    before, after = int(index * held_out_share), int((index + 1) * held_out_share)
    return "held_out" if after > before else "train"


class Draw(random.Random):
    """A random stream that knows the place of its example in its split, so that choices can go round in turn."""

    def __init__(self, text, order, turn):
        super().__init__(text)
        self.order, self.turn = order, turn

    def in_turn(self, options):
        """One of some options: each comes once in as many examples as there are options, in a new order each time."""
        round_, place = divmod(self.turn, len(options))
        return random.Random(f"{self.order}/{round_}").sample(options, len(options))[place]


def generate(task, n, seed=0, held_out_share=0.5, options=None, kind=None, taken=()):
    """The examples of a task with numbers below n, all different.

    Templates and starts of sequences go round in turn, so that few examples have many of them.
    Each has its own random stream, named by (seed, task, index, attempt); a repeat of an
    earlier prompt is drawn again, so a prefix of a longer list equals the shorter list.

    options: that differ from those of the task
    kind:    family of a task of the user's own, which `options` declare in full
    taken:   clean prompts that are used otherwise
    returns: [(index, split, Prompt)]; once a split has no more different prompts, its numbers
             are left out
    """
    make, settings = maker(task, options, kind)
    seen, examples, exhausted = set(taken), [], set()
    for index in range(n):
        split = split_of(index, held_out_share)
        if split in exhausted:
            continue
        held_out = int(index * held_out_share)
        turn = held_out if split == "held_out" else index - held_out
        for attempt in range(ATTEMPTS):
            rng = Draw(f"{seed}/{task}/{index}/{attempt}", f"{seed}/{task}/{split}", turn)
            prompt = make(rng, split, **settings)
            if prompt.clean not in seen:
                seen.add(prompt.clean)
                examples.append((index, split, prompt))
                break
        else:
            exhausted.add(split)
    return examples


def maker(task, options=None, kind=None):
    """The function that makes a prompt of a task, and its options."""
    own = {} if kind else TASKS[task].options
    return family(kind or TASKS[task].family).example, {**own, **(options or {})}


def demonstrations(task, count, seed=0, options=None, kind=None):
    """Solved examples that go before each prompt, different ones of the train split.

    raises: ValueError if the task has fewer
    """
    make, settings = maker(task, options, kind)
    found, answers = {}, set()
    for attempt in range(ATTEMPTS):
        if len(found) == count:
            break
        prompt = make(random.Random(f"{seed}/{task}/shot/{attempt}"), "train", **settings)
        # Different answers as long as there are any, so that none is the one to repeat.
        if prompt.clean not in found and (prompt.answer not in answers or attempt > ATTEMPTS // 2):
            found[prompt.clean] = prompt
            answers.add(prompt.answer)
    if len(found) < count:
        raise ValueError(f"task {task!r} has only {len(found)} different prompts for {count} shots")
    return list(found.values())
