"""The part of the command that converts circuit files.

Any format of circuit_files (this project's, a list under a write budget, a graph of EAP-IG or MIB, AutoCircuit's edges) is read,
checked against the model, and written in another one.
"""

import re
from pathlib import Path

from circuit_reuse.command.model_folders import folder_named
from circuit_reuse.data import circuit_files, circuit_shapes, components, fingerprint


def shape_of(chosen):
    """The shape that --shape or --model gives; None without either.

    raises: ValueError for a shape that is none
    """
    if chosen.shape:
        parts = chosen.shape.split(",")
        if len(parts) not in (4, 5) or not all(re.fullmatch(r"\s*0*[1-9][0-9]{0,8}\s*", part) for part in parts):
            raise ValueError(
                f"--shape is {chosen.shape!r}; it must be four or five numbers above 0: layers,heads,d_model,d_head"
            )
        return circuit_shapes.sound_shape("--shape", **dict(zip(circuit_shapes.CFG, map(int, parts), strict=False)))
    if not chosen.model:
        return None
    return fingerprint.shape(folder_named(chosen.model))


def beside(file, form):
    """Where a converted file goes without --output: beside the file, under its name with the ending of the format."""
    file = Path(file)
    name = file.name.removesuffix(file.suffix)
    for ending in circuit_files.ENDINGS.values():
        name = name.removesuffix(ending.removesuffix(".json"))
    return file.parent / (name + circuit_files.ENDINGS[form])


def convert(chosen, _):
    """Convert one file."""
    shape = shape_of(chosen)
    if chosen.keep is not None and not 0 < chosen.keep <= 1:
        raise ValueError(f"--keep is {chosen.keep:g}; it must be above 0 and at most 1")
    parallel = chosen.parallel or bool(chosen.model and fingerprint.parallel(folder_named(chosen.model)))
    try:
        circuit = circuit_files.read(chosen.file, shape, chosen.keep)
    except circuit_files.CircuitFileError as problem:
        hint = "\nGive --shape 12,12,768,64 or --model FOLDER." if "give its shape" in str(problem) else ""
        raise circuit_files.CircuitFileError(f"{problem}{hint}") from None
    if parallel:
        circuit.about["parallel"] = True
        circuit_files.check_order(chosen.file, circuit.edges, parallel=True)
    output = Path(chosen.output or beside(chosen.file, chosen.to))
    if output.resolve() == Path(chosen.file).resolve():
        raise circuit_files.CircuitFileError(f"{output} is the file itself; name another with --output")
    if not chosen.output and output.exists():
        raise circuit_files.CircuitFileError(
            f"{output} is there already; name it with --output to replace it, or name another"
        )
    circuit_files.write(output, circuit, chosen.to)
    print(f"{output}: {len(circuit.nodes)} components, write cost {components.cost(circuit.nodes, circuit.shape)}")
