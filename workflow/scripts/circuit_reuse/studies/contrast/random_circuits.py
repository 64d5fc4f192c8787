"""Random circuits that those of the study are compared with.  No torch: tables are made from them, too."""

from circuit_reuse.stats import circuits


def random_sets(counts, space, count, stream):
    """Random circuits of a composition, all different; counts: {kind: number}."""
    return circuits.random_sets(counts, space.of_kinds(), count, "/".join(map(str, stream)))


def budget_matched_name(dimensions):
    """Under which name the random circuits of a budget are found in the effects table."""
    return f"random at {dimensions}"


def budget_matched(space, dimensions, stream):
    """Components in random order, those that still fit into a budget."""
    names, room, chosen = space.of_kinds(), dimensions - space.d_model, []
    for place in circuits.generator(*stream).permutation(len(names)):
        price = space.write_cost(names[place])
        if price <= room:
            chosen.append(names[place])
            room -= price
    return circuits.sorted_names(chosen)


def removable(names):
    """The heads and MLPs of a circuit."""
    return [name for name in names if name != "input"]
