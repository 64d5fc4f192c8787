"""What the jobs of the scaling study that run a model have in common."""

from circuit_reuse.data import examples, tables


def usable(path, needed, task):
    """The valid examples of a file, whatever the model answers.

    raises: LeftOut if a split has fewer than `needed`
    """
    table = tables.read(path, tables.EXAMPLES)
    examples.enough_of_each(table.assign(used=table["valid"]), needed, task)
    return table[table["valid"]].reset_index(drop=True)


def held_out(table, count):
    """The first examples of the held-out split."""
    return table[table["split"] == "held_out"].head(count).reset_index(drop=True)
