"""Scores of what is finer or coarser than a component, on every example.

Edges, components at the positions of named words, and whole attention blocks by integrated gradients: the sum over the edges of a
writer, and over the positions of a component, is its score by `eap-ig`, which is that of `ig`; the score of a block is the sum of
its heads'.  Single neurons by the gradient at the clean prompt.
"""

import numpy as np

from circuit_reuse.engine import attribution, batching, edge_circuits, edges, neurons, places

# Positions of no named word, and the last one, where the answer is read.
REST, END = "rest", "end"


def of_edges(model, examples, metric, steps, tokens):
    """Scores of every edge that exists.

    returns: [example, edge], [(writer, reader)]
    raises:  ValueError for models whose stream is no sum of what components write
    """
    there = edge_circuits.exist(model)
    result = np.empty((len(examples), int(there.sum())), dtype=np.float32)

    def run(batch):
        return edges.edge_scores(model, batch.shortened(model), metric, steps).cpu().numpy()[:, there]

    for batch, found in batching.run_in_batches(run, examples, tokens, model.device, "edges"):
        result[batch.rows] = found
    names, readers = model.space.names, places.reader_names(model.space)
    return result, [(names[writer], readers[reader]) for writer, reader in zip(*np.nonzero(there), strict=True)]


def of_positions(model, examples, metric, steps, tokens):
    """Scores of every component at each role: at the last token of a named word, at the end, or at the rest together.

    examples: with a column roles
    returns:  [example, component at role], [(component, role)]; 0 where an example has no such role
    """
    names = model.space.names
    roles = roles_of(examples)
    known = [*dict.fromkeys(role for row in roles for role in row if role not in (REST, END)), END, REST]
    result = np.zeros((len(examples), len(known), len(names)), dtype=np.float32)

    def run(batch):
        return attribution.integrated(model, batch.shortened(model), metric, steps, positions=True).cpu().numpy()

    for batch, found in batching.run_in_batches(run, examples, tokens, model.device, "positions"):
        # Before the first position in which the prompts differ there is nothing to attribute.
        start = batch.clean.shape[1] - found.shape[1]
        for row, values in zip(batch.rows, found, strict=True):
            np.add.at(result[row], [known.index(role) for role in roles[row][start:]], values)
    return result.reshape(len(examples), -1), [(name, role) for role in known for name in names]


def of_components(model, examples, metric, steps, tokens):
    """Scores of every component; returns [example, component], names."""
    result = np.empty((len(examples), len(model.space.names)), dtype=np.float32)

    def run(batch):
        return attribution.integrated(model, batch.shortened(model), metric, steps).cpu().numpy()

    for batch, found in batching.run_in_batches(run, examples, tokens, model.device, "components"):
        result[batch.rows] = found
    return result, model.space.names


def of_blocks(model, examples, metric, steps, tokens):
    """Scores of every attention block (a5, all heads of layer 5) and MLP; returns [example, block], names."""
    values, names = of_components(model, examples, metric, steps, tokens)
    blocks = [name.split(".")[0] for name in names]
    units = [name for name in dict.fromkeys(blocks) if name != "input"]
    return np.stack([values[:, np.array(blocks) == unit].sum(1) for unit in units], axis=1), units


def of_neurons(model, examples, metric, steps, tokens):
    """Scores of every neuron of every MLP; returns [example, neuron], [(layer, neuron)].

    steps: not used, as in the source, which takes the gradient at the clean prompt
    """
    parts = {}

    def run(batch):
        return np.concatenate([each.cpu().numpy() for each in neurons.scores(model, batch, metric)], axis=1)

    for batch, found in batching.run_in_batches(run, examples, tokens, model.device, "neurons"):
        parts |= dict(zip(batch.rows, found, strict=True))
    values = np.stack([parts[row] for row in range(len(examples))])
    width = values.shape[1] // model.space.layers
    return values, [(layer, neuron) for layer in range(model.space.layers) for neuron in range(width)]


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
