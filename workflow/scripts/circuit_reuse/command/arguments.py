"""What the command takes, and what each of its parts says of itself."""

import argparse
import sys
import warnings

from circuit_reuse.command import compare, convert, runs
from circuit_reuse.data.circuit_files import FORMATS
from circuit_reuse.engine.replacements import REPLACEMENTS
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.prompts.tasks import TASKS

ABOUT = """Which components of a language model do a task, is that real, and is the circuit shared?

Whole studies, with figures and a page, as jobs that are never run twice (in a clone of the project):
  run       run the studies of a config
  explain   say what a run would do, and for about how long

One model and one task at once, printed, or written with --output:
  score     how much each head and MLP matters to a task, example by example
  circuit   the components that the circuits of many examples share
  ablate    what removing a circuit does, beside random circuits of the same layers
  compare   how alike two circuits are, beside chance
  convert   a circuit file into the format of another tool

In a clone the command is .venv/bin/circuit-reuse:

  circuit-reuse circuit resources/models/tiny-gpt2-medium ioi --output ioi.json
  circuit-reuse ablate resources/models/tiny-gpt2-medium ioi --circuit ioi.json
"""


def parser():
    """The parser of the command and of all its parts."""
    found = argparse.ArgumentParser(
        prog="circuit-reuse", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = found.add_subparsers(dest="part", required=True, metavar="COMMAND")
    add_runs(parts)
    score = add(parts, "score", notebook("score"), "how much each head and MLP matters to a task")
    on_a_task(score)
    score.add_argument("--output", help="CSV: a row an example, a column a component")
    circuit = add(parts, "circuit", notebook("circuit"), "the components that many examples' circuits share")
    on_a_task(circuit)
    of_circuits(circuit)
    circuit.add_argument("--output", help="JSON: a circuit file, which ablate, compare and the studies read")
    ablate = add(parts, "ablate", notebook("ablate"), "what removing a circuit does, beside random circuits")
    on_a_task(ablate)
    of_circuits(ablate)
    ablate.add_argument("--circuit", metavar="FILE", help="a circuit file; without it the circuit that `circuit` finds")
    ablate.add_argument(
        "--replacement",
        choices=REPLACEMENTS,
        default="corrupt",
        help="what removed components write (default: %(default)s)",
    )
    ablate.add_argument("--controls", type=int, default=99, help="random circuits (default: %(default)s)")
    ablate.add_argument("--figure", help="PDF, SVG or PNG of the effect among random circuits")
    ablate.add_argument("--output", help="CSV of what is printed")
    both = add(parts, "compare", compare.compare, "how alike two circuits are, beside chance")
    both.add_argument("first", help="a circuit file")
    both.add_argument("second", help="a circuit file of a model of the same shape")
    of_shape(both)
    add_convert(parts)
    return found


def notebook(name):
    """The function of a part that runs a model: torch is imported when it is called, not to print a help text."""

    def call(chosen, more):
        from circuit_reuse.command import notebook_commands

        return getattr(notebook_commands, name)(chosen, more)

    return call


def add(parts, name, function, about):
    """A part of the command with the function that it calls."""
    found = parts.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    found.set_defaults(function=function)
    return found


def add_runs(parts):
    """The parts that call Snakemake; what they do not know is handed on to it."""
    for name, function, about in (
        ("run", runs.run, "run the studies of a config, in a clone of the project"),
        ("explain", runs.explain, "say what a run would do, and for about how long, before anything runs"),
    ):
        found = add(parts, name, function, about)
        found.usage = f"circuit-reuse {name} [STUDY ...] [--config FILE ...] [--cores N] [options of Snakemake]"
        found.add_argument(
            "--config", nargs="+", default=[], metavar="FILE", help="configs, each on top of those before"
        )
        found.add_argument("-c", "--cores", help="CPU cores (default: all)")
        found.epilog = (
            "STUDY: reuse, scaling, sequences, weights, contrast, or a file; all studies without one. "
            "Any other option is Snakemake's own, such as -n or --profile profiles/gpu."
        )


def add_convert(parts):
    """The part that converts circuit files."""
    found = add(parts, "convert", convert.convert, "a circuit file into the format of another tool")
    found.add_argument("file", help="JSON or CSV")
    found.add_argument("--to", choices=FORMATS, default="circuit", help="format to write (default: %(default)s)")
    of_shape(found)
    found.add_argument("--keep", type=float, help="share of scored edges or nodes, for a file of scores")
    found.add_argument("--parallel", action="store_true", help="MLPs beside attention, as in GPT-NeoX")
    found.add_argument("--output", help="where to; beside the file without it")


def on_a_task(part):
    """What names a model, a task and its prompts."""
    part.add_argument(
        "model", help="folder of a model in Hugging Face format with safetensors, or a name in resources/"
    )
    part.add_argument("task", help=f"a built-in task ({', '.join(list(TASKS)[:4])}, ...), or a name for --prompts")
    part.add_argument(
        "--prompts", metavar="FILE", help="CSV, JSONL or Parquet of one's own: clean, corrupt, answer, distractor"
    )
    part.add_argument("--count", type=int, default=64, help="prompts, half of them held out (default: %(default)s)")
    part.add_argument("--method", choices=list(METHODS), default="eap-ig", help="attribution (default: %(default)s)")
    part.add_argument("--seed", type=int, default=0, help="of prompts and random circuits (default: %(default)s)")
    part.add_argument("--device", default="auto", help="auto, cpu, cuda, mps or spread")
    part.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        default="float32",
        help="of the weights (default: %(default)s)",
    )


def of_circuits(part):
    """What decides on a shared circuit."""
    part.add_argument(
        "--top-k",
        type=float,
        default=8,
        help="components of an example's circuit: a number, or a share below 1 (default: %(default)s)",
    )
    part.add_argument(
        "--threshold",
        type=float,
        default=0.75,
        help="share of the train examples that must hold a component (default: %(default)s)",
    )
    part.add_argument(
        "--kinds", nargs="+", choices=["head", "mlp"], default=["head"], help="what circuits may hold (default: head)"
    )


def of_shape(part):
    """What says of which shape the model of a circuit file is."""
    part.add_argument("--model", help="folder of the model, for its shape")
    part.add_argument(
        "--shape", help="layers,heads,d_model,d_head, and key and value heads where they are fewer: 12,12,768,64"
    )


def main(given=None):
    """Run the command; returns its exit status."""
    chosen, more = parser().parse_known_args(given)
    if more and chosen.part not in ("run", "explain"):
        parser().error(f"unknown: {' '.join(more)}; see circuit-reuse {chosen.part} --help")
    # Warnings of the libraries below say nothing to whoever reads a terminal; ours do.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", module="circuit_reuse")
    warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
    try:
        return chosen.function(chosen, more) or 0
    except (ValueError, OSError, MemoryError) as problem:
        print(f"circuit-reuse {chosen.part}: {problem}", file=sys.stderr)
        return 1
