"""The library in a notebook: score, circuit, ablate, plot, prune, compare, weight_sweep.

    import sys; sys.path.insert(0, "workflow/scripts")
    from circuit_reuse import api

The same functions that the workflow's jobs call, without files between them: tables are pandas DataFrames,
circuits are lists of component names (`input`, `a<layer>.h<head>`, `m<layer>`).  docs/library.md has an example
of each.  What the workflow adds is that nothing is run twice, and that whole studies are corrected for the
number of their tests.
"""

from circuit_reuse.api.notebook_circuits import ablate, circuit, compare, plot, prune
from circuit_reuse.api.notebook_examples import examples, load
from circuit_reuse.api.notebook_scores import edge_circuit, edges, positions, score
from circuit_reuse.api.notebook_weights import node_mask, weight_sweep

__all__ = [
    "ablate",
    "circuit",
    "compare",
    "edge_circuit",
    "edges",
    "examples",
    "load",
    "node_mask",
    "plot",
    "positions",
    "prune",
    "score",
    "weight_sweep",
]


def __dir__():
    return __all__
