"""The part of the command that compares two circuit files; no torch."""

import numpy as np

from circuit_reuse.command.convert import shape_of
from circuit_reuse.data import circuit_files
from circuit_reuse.report.numbers import p_text
from circuit_reuse.stats import similarity


def compare(chosen, _):
    """Print how alike two circuits are."""
    both = [circuit_files.read(path, shape_of(chosen)) for path in (chosen.first, chosen.second)]
    if both[0].shape != both[1].shape:
        raise circuit_files.CircuitFileError(f"{chosen.first} and {chosen.second} are of models of different shapes")
    print(compared(*both))


def compared(first, second):
    """The comparison of two circuits as text: what they share and whether by chance, and all else that is known, a line a number."""
    values, bounds = similarity.compare(first, second, first.shape)
    shared = [name for name in first.nodes if name in second.nodes]
    low, high = bounds["jaccard_null"]
    lines = [
        f"{values['n_components_first']} and {values['n_components_second']} components, {len(shared)} in both: {', '.join(shared) or 'none'}",
        f"Jaccard index {values['jaccard']:.2f}; of random circuits of as many heads and MLPs {values['jaccard_null']:.2f} [{low:.2f}, {high:.2f}], "
        f"{p_text('p', values['p_overlap'])}; of as many in each layer, {p_text('p', values['p_overlap_layers'])}",
        "",
    ]
    # What the files do not say (scores, order, edges) is not listed.
    lines += [f"{name:32} {value:.4g}" for name, value in values.items() if np.isfinite(value)]
    return "\n".join(lines)
