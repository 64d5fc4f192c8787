"""Which circuits are compared: those of the tasks, their unions and intersections, files, random ones."""

import itertools

from circuit_reuse.data import components, gather, tables
from circuit_reuse.stats import circuits, similarity
from circuit_reuse.studies.sequences import given_circuits, schemas, shares


def of_files(chosen, space, task, model=""):
    """Circuits of files for one task: {name: [component]}.

    chosen: {name: {file}} as the config names them
    raises: CircuitFileError for components that the model lacks
    """
    found = {}
    for name, file in chosen.items():
        read = given_circuits.read(file["file"])
        given_circuits.check_model(file["file"], read, space, model or "the model")
        if task in read:
            found[name] = circuits.sorted_names(read[task])
    return found


def name_circuits(job):
    """The circuits of a model by name, and how much they overlap."""
    cfg = job.cfg
    space = job.space
    rows = []
    for task, path in gather.one_by(job.input.pruned, "task").items():
        table = tables.read(path, schemas.PRUNED)
        rows += of_task(table, task, cfg)
        rows += [
            row(f"{name}: {task}", "file", circuit, task)
            for name, circuit in of_files(cfg["circuits"], space, task, job.wildcards.model).items()
        ]
    mine = {each["task"]: each["components"] for each in rows if each["kind"] == "task"}
    rows += combined({task: mine[task] for task in cfg["tasks"] if task in mine})
    rows += random_rows(rows, space, cfg["random_sets"], (cfg["seed"], job.wildcards.model))
    found = overlaps(rows, space)
    job.write(job.output.circuits, schemas.NAMED, rows)
    job.write(job.output.overlap, schemas.OVERLAP, found)
    job.log.info("%d circuits", len(rows))


def row(name, kind, names, task=None, number=None):
    """A row of the named circuits."""
    return {
        "circuit": name,
        "kind": kind,
        "task": task,
        "composition": shares.composition(names),
        "number": number,
        "components": list(names),
    }


def of_task(table, task, cfg):
    """The circuit of a task by the chosen strategy and threshold, and that of most pruning runs."""
    table = table[table["threshold"] == cfg["threshold"]]
    chosen = table[(table["strategy"] == cfg["strategy"]) & table["draw"].isna() & table["order"].isna()]
    found = [row(task, "task", chosen["components"].iloc[0], task)]
    often = table[table["strategy"] == "frequent"]
    if len(often):
        found.append(row(f"{task} (frequent)", "frequent", often["components"].iloc[0], task))
    return found


def combined(mine):
    """Unions and intersections of every two circuits, and of all; mine: {task: components}."""
    found = []
    groups = [list(pair) for pair in itertools.combinations(mine, 2)]
    if len(mine) > 2:
        groups.append(list(mine))
    for group in groups:
        sets = [set(mine[task]) for task in group]
        for kind, sign, members in (
            ("union", " | ", set.union(*sets)),
            ("intersection", " & ", set.intersection(*sets)),
        ):
            found.append(row(sign.join(group), kind, circuits.sorted_names(members)))
    return found


def random_rows(rows, space, count, stream):
    """Random circuits of every composition among the circuits of tasks and files."""
    names, found = space.of_kinds(shares.KINDS), {}
    for each in rows:
        if each["kind"] in ("task", "file") and len(each["components"]):
            found.setdefault(each["composition"], circuits.composition_of(each["components"]))
    return [
        row(f"random {composition}", "random", chosen, number=number)
        for composition, numbers in sorted(found.items())
        for number, chosen in enumerate(
            circuits.random_sets(numbers, names, count, "/".join(map(str, (*stream, "sequences"))))
        )
    ]


def overlaps(rows, space):
    """Rows of the overlap table: every two circuits of tasks, most pruning runs and files."""
    chosen = [each for each in rows if each["kind"] in ("task", "frequent", "file")]
    found = []
    for first, second in itertools.combinations(chosen, 2):
        for kind in ("all", *shares.KINDS):
            kinds = shares.KINDS if kind == "all" else (kind,)
            a, b = ([name for name in each["components"] if components.kind(name) in kinds] for each in (first, second))
            there = similarity.overlap(a, b, space.of_kinds(kinds))
            found.append({"first": first["circuit"], "second": second["circuit"], "kind": kind} | there)
    return found
