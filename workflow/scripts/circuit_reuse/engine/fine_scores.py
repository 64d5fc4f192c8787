"""Scores of what is finer or coarser than a component, on every example.

Edges, components at the positions of named words, and whole attention blocks by integrated gradients: the sum over the edges of a
writer, and over the positions of a component, is its score by `eap-ig`, which is that of `ig`; the score of a block is the sum of
its heads'.  Single neurons by the gradient at the clean prompt.
"""

from functools import cached_property

import numpy as np

from circuit_reuse.engine import attribution, batching, edge_circuits, edges, neurons, places

# Positions of no named word, and the last one, where the answer is read.
REST, END = "rest", "end"


class UnitScores:
    """Scores of the units of every level on some examples; each method returns [example, unit] and names.

    examples: with a column roles;  steps: of integrated gradients;  tokens: of one run, at most
    """

    def __init__(self, model, examples, metric, steps, tokens):
        self.model, self.examples, self.metric, self.steps, self.tokens = model, examples, metric, steps, tokens

    def batches(self, run, what):
        """What a function finds in each batch, with the batch."""
        return batching.run_in_batches(run, self.examples, self.tokens, self.model.device, what)

    def edges(self):
        """Scores of every edge that exists; names are (writer, reader).

        raises: ValueError for models whose stream is no sum of what components write
        """
        model, there = self.model, edge_circuits.exist(self.model)
        result = np.empty((len(self.examples), int(there.sum())), dtype=np.float32)

        def run(batch):
            found = edges.edge_scores(model, batch.shortened(model), self.metric, self.steps)
            return found.cpu().numpy()[:, there]

        for batch, found in self.batches(run, "edges"):
            result[batch.rows] = found
        names, readers = model.space.names, places.reader_names(model.space)
        return result, [(names[writer], readers[reader]) for writer, reader in zip(*np.nonzero(there), strict=True)]

    def positions(self):
        """Scores of every component at each role: at the last token of a named word, at the end, or at the rest together.

        Names are (component, role); the score is 0 where an example has no such role.
        """
        values, roles = self.by_role
        return values.reshape(len(values), -1), [(name, role) for role in roles for name in self.model.space.names]

    def components(self):
        """Scores of every component."""
        return self.by_role[0].sum(axis=1), self.model.space.names

    def blocks(self):
        """Scores of every attention block (a5, all heads of layer 5) and MLP."""
        values, names = self.components()
        blocks = [name.split(".")[0] for name in names]
        units = [name for name in dict.fromkeys(blocks) if name != "input"]
        return np.stack([values[:, np.array(blocks) == unit].sum(1) for unit in units], axis=1), units

    def neurons(self):
        """Scores of every neuron of every MLP; names are (layer, neuron).

        The gradient is that at the clean prompt, as in the source.
        """
        parts = {}

        def run(batch):
            return np.concatenate(
                [each.cpu().numpy() for each in neurons.scores(self.model, batch, self.metric)], axis=1
            )

        for batch, found in self.batches(run, "neurons"):
            parts |= dict(zip(batch.rows, found, strict=True))
        values = np.stack([parts[row] for row in range(len(self.examples))])
        layers = self.model.space.layers
        return values, [(layer, neuron) for layer in range(layers) for neuron in range(values.shape[1] // layers)]

    @cached_property
    def by_role(self):
        """[example, role, component], roles: one pass serves positions, components and blocks."""
        model, roles = self.model, roles_of(self.examples)
        known = [*dict.fromkeys(role for row in roles for role in row if role not in (REST, END)), END, REST]
        result = np.zeros((len(self.examples), len(known), len(model.space.names)), dtype=np.float32)

        def run(batch):
            found = attribution.integrated(model, batch.shortened(model), self.metric, self.steps, positions=True)
            return found.cpu().numpy()

        for batch, found in self.batches(run, "components"):
            # Before the first position in which the prompts differ there is nothing to attribute.
            start = batch.clean.shape[1] - found.shape[1]
            for row, values in zip(batch.rows, found, strict=True):
                np.add.at(result[row], [known.index(role) for role in roles[row][start:]], values)
        return result, known


def roles_of(examples):
    """The role at each position of each example."""
    return [role_at(row, length) for row, length in zip(examples["roles"], examples["length"], strict=True)]


def role_at(roles, length):
    """The role at each position of a prompt."""
    found = [REST] * length
    for role in roles:
        found[role["position"]] = role["role"]
    found[-1] = END
    return found
