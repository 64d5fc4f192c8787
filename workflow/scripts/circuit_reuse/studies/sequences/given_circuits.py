"""Circuits from files: a user's own, or published ones.

A file is JSON: {"circuits": {task: [component, ...]}}; other keys are left alone.  Or it is a file of one
circuit (circuit_files) that says for which task it is.
"""

from circuit_reuse.data import circuit_files, components
from circuit_reuse.data.circuit_files import CircuitFileError


def read(path):
    """{task: [component]} of a file, checked.

    raises: CircuitFileError for a file without circuits, or a name that names no component
    """
    try:
        content = circuit_files.load(path)
        found = content["circuits"] if isinstance(content, dict) and "circuits" in content else of_one(content)
    except CircuitFileError as problem:
        raise CircuitFileError(
            f"{path} must be JSON with the key circuits: {{task: [a5.h1, m3]}}, or a circuit file: {problem}"
        ) from None
    if not isinstance(found, dict):
        raise CircuitFileError(f"{path}: circuits must map tasks to lists of components")
    for task, names in found.items():
        if not isinstance(names, list):
            raise CircuitFileError(f"{path}, {task}: {str(names)[:60]} is no list of components")
        if not names:
            raise CircuitFileError(
                f"{path}, {task}: there is no head and no MLP in this circuit; list some, or leave the task out"
            )
        wrong = [name for name in names if not is_component(name)]
        if wrong:
            raise CircuitFileError(
                f"{path}, {task}: {', '.join(map(repr, wrong))} name no component; expected a5.h1 or m3"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CircuitFileError(f"{path}, {task}: {', '.join(twice)} is listed twice")
    return found


def of_one(content):
    """{task: [component]} of a file of one circuit, without the input, which is in all."""
    circuit = circuit_files.parsed(content)
    if not circuit.about.get("task"):
        raise CircuitFileError("it does not say for which task it is")
    if circuit.edges is not None:
        raise CircuitFileError(
            "it is a circuit of edges, and components are evaluated here: list its components as nodes, or compare it under contrast.circuits"
        )
    return {circuit.about["task"]: [name for name in circuit.nodes if name != "input"]}


def is_component(name):
    """Whether a name is that of a head or an MLP."""
    try:
        return components.kind(name) in components.KINDS
    except (ValueError, TypeError):
        return False


def missing(circuits, space):
    """Components that a model does not have: [(task, name)]; space: components.Space."""
    there = set(space.names)
    return [(task, name) for task, names in circuits.items() for name in names if name not in there]


def check_model(path, circuits, space, model):
    """Every component of a file must be one of the model, and the shape that a file of one circuit states that of the model.

    raises: CircuitFileError that names them
    """
    if "circuits" not in circuit_files.load(path):
        circuit_files.read(path, space)
    wrong = missing(circuits, space)
    if wrong:
        names = ", ".join(dict.fromkeys(name for _, name in wrong))
        raise CircuitFileError(f"{path}: {model} has {space.layers} layers of {space.heads} heads and so no {names}")
