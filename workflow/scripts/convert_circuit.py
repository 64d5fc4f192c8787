"""Convert a circuit file: python convert_circuit.py circuit.json --to graph --shape 12,12,768,64

Reads any format of circuit_files (this project's, a list under a write budget, a graph of EAP-IG or MIB,
AutoCircuit's edges), checks it against the model, and writes another beside it.
"""

import argparse
import sys
from pathlib import Path

from circuit_reuse.data import circuit_files, components, fingerprint
from circuit_reuse.data.components import Space


def main(arguments=None):
    """Convert one file; returns the path written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="JSON or CSV")
    parser.add_argument("--to", choices=circuit_files.FORMATS, default="circuit")
    parser.add_argument("--model", help="folder of the model, for its shape")
    parser.add_argument(
        "--shape",
        help="layers,heads,d_model,d_head, and key and value heads where they are fewer, in place of --model, as 12,12,768,64",
    )
    parser.add_argument("--keep", type=float, help="share of scored edges or nodes, for a file of scores")
    parser.add_argument("--parallel", action="store_true", help="MLPs beside attention, as in GPT-NeoX")
    parser.add_argument("--output", help="where to; beside the file without it")
    chosen = parser.parse_args(arguments)
    shape = Space(*map(int, chosen.shape.split(","))) if chosen.shape else None
    if chosen.model:
        if not (Path(chosen.model) / "config.json").is_file():
            raise circuit_files.CircuitFileError(
                f"there is no model folder {chosen.model}; give one such as resources/models/tiny-gpt2-medium"
            )
        shape = fingerprint.shape(chosen.model)
        chosen.parallel |= fingerprint.parallel(chosen.model)
    circuit = circuit_files.read(chosen.file, shape, chosen.keep)
    if chosen.parallel:
        circuit.about["parallel"] = True
    stem = Path(chosen.file).name.split(".")[0]
    output = Path(chosen.output or Path(chosen.file).parent / (stem + circuit_files.ENDINGS[chosen.to]))
    if output.resolve() == Path(chosen.file).resolve():
        raise circuit_files.CircuitFileError(f"{output} is the file itself; name another with --output")
    circuit_files.write(output, circuit, chosen.to)
    print(f"{output}: {len(circuit.nodes)} components, write cost {components.cost(circuit.nodes, circuit.shape)}")
    return output


if __name__ == "__main__":
    try:
        main()
    except (circuit_files.CircuitFileError, fingerprint.ModelError, ValueError) as problem:
        hint = "\nGive --shape 12,12,768,64 or --model FOLDER." if "give its shape" in str(problem) else ""
        sys.exit(f"{problem}{hint}")
