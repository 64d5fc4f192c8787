"""Rows of the prompts table, from a built-in family or from the user's own file."""

from circuit_reuse.prompts import custom
from circuit_reuse.prompts.generate import demonstrations, generate


def rows(task, cfg, file=None):
    """The rows of one shard.

    cfg:     seed, held_out_share, examples (first and last + 1), task (family, options, shots)
    file:    the user's file for a custom task
    returns: fewer rows than asked for where the task or the file has no more different prompts
    """
    about, (first, last) = cfg["task"], cfg["examples"]
    shots = about.get("shots", 0)
    if about["family"] == "custom":
        found, _ = custom.rows(file, cfg["held_out_share"], **about["options"])
        return with_shots(found, shots)[first:last]
    settings = cfg["seed"], about["options"], about["family"]
    lines = [row(n, "train", prompt) for n, prompt in enumerate(demonstrations(task, shots, *settings))]
    made = generate(
        task,
        last,
        cfg["seed"],
        cfg["held_out_share"],
        about["options"],
        about["family"],
        {line["clean"] for line in lines},
    )
    made = [row(*each) for each in made if each[0] >= first]
    return [solved_before(each, lines) for each in made]


def with_shots(rows, shots):
    """Rows of a file with its first train rows solved before every prompt, and without all that ask one of their prompts again.

    raises: ValueError if there are too few
    """
    lines = custom.demonstrations(rows, shots)
    shown = {line[side] for line in lines for side in ("clean", "corrupt")}
    return [solved_before(each, lines) for each in rows if not shown & {each["clean"], each["corrupt"]}]


def solved_before(row, lines):
    """A row with solved examples before both of its prompts."""
    before = "".join(f"{line['clean']}{line['answer']}\n" for line in lines)
    roles = [{**role, "start": role["start"] + len(before), "end": role["end"] + len(before)} for role in row["roles"]]
    return row | {"clean": before + row["clean"], "corrupt": before + row["corrupt"], "roles": roles}


def row(index, split, prompt):
    """One row of the prompts table."""
    return {
        "example": index,
        "id": f"{index:06d}",
        "split": split,
        "clean": prompt.clean,
        "corrupt": prompt.corrupt,
        "answer": prompt.answer,
        "distractors": prompt.distractors,
        "right": list(prompt.right),
        "wrong": list(prompt.wrong),
        "corrupt_answer": prompt.corrupt_answer,
        "variant": prompt.variant,
        "template": prompt.template,
        "cluster": prompt.cluster,
        "roles": [{"role": role, "start": start, "end": end} for role, start, end in prompt.roles],
    }
