"""Edge attribution patching with integrated gradients; a component's score is the sum over its edges, which is that of `ig`.

The edges themselves are scored where a circuit of edges is made (engine.edges).
"""

from circuit_reuse.methods import ig
from circuit_reuse.methods.method import Method

METHOD = Method("eap-ig", ig.scores, "Hanna et al. 2024", steps=True, edges=True)
