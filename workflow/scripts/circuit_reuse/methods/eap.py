"""Edge attribution patching; a component's score is the sum over the edges that leave it, which is that of `atp`.

The edges themselves are scored where a circuit of edges is made (engine.edges).
"""

from circuit_reuse.methods import atp
from circuit_reuse.methods.method import Method

METHOD = Method("eap", atp.scores, "Syed et al. 2023", edges=True)
