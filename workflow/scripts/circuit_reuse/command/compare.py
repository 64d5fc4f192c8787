"""The part of the command that compares two circuit files; no torch."""

from circuit_reuse.command.convert import shape_of
from circuit_reuse.data import circuit_files
from circuit_reuse.stats import similarity


def compare(chosen, _):
    """Print how alike two circuits are."""
    both = [circuit_files.read(path, shape_of(chosen)) for path in (chosen.first, chosen.second)]
    if both[0].shape != both[1].shape:
        raise circuit_files.CircuitFileError(f"{chosen.first} and {chosen.second} are of models of different shapes")
    print(compared(*both))


def compared(first, second):
    """The comparison of two circuits as text, a line a number."""
    values, bounds = similarity.compare(first, second, first.shape)
    lines = []
    for name, value in values.items():
        ends = f" [{bounds[name][0]:.3g}, {bounds[name][1]:.3g}]" if name in bounds else ""
        lines.append(f"{name:32} {value:.4g}{ends}" if isinstance(value, (int, float)) else f"{name:32} {value}")
    return "\n".join(lines)
