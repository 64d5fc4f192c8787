"""What removed components are replaced by: means, donors and activations of corrupt prompts."""

import numpy
import torch

from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import batching, interventions


def reference_mean(model, examples, tokens):
    """Mean activations of the corrupt prompts per length and position.

    examples: the examples that the mean is taken over (train split)
    returns:  {length: Activations with one row}
    """
    sums, counts = {}, {}
    for batch in batching.batches(examples, tokens, model.device):
        _, acts = interventions.run(model, batch.corrupt)
        length = batch.corrupt.shape[1]
        total = acts.like(lambda tensor: tensor.float().sum(0, keepdim=True))
        counts[length] = counts.get(length, 0) + len(batch.rows)
        sums[length] = total if length not in sums else interventions.add(sums[length], total)
    return {length: sums[length].like(lambda t, n=counts[length]: t / n) for length in sums}


def replacement_activations(model, batch, clean, replacement, means):
    """Activations that are put in for removed components, with the rows of the batch.

    clean:       Activations of its clean run
    replacement: zero, mean or corrupt;  means: by length, as from `reference_mean`
    raises:      LeftOut for a length without a mean
    """
    if replacement == "zero":
        return clean.like(torch.zeros_like)
    if replacement == "corrupt":
        return interventions.run(model, batch.corrupt, batch.prefix)[1]
    length = batch.clean.shape[1]
    if length not in means:
        raise LeftOut(
            f"mean ablation: no train example has {length} tokens, so there is no mean for "
            "the held-out ones; use more examples or another replacement"
        )
    return repeated(means[length], len(batch.rows))


def repeated(means, count):
    """Activations of one row for many examples."""
    return means.like(lambda tensor: tensor.expand(count, *tensor.shape[1:]))


def donors(examples, seed):
    """For `resample`: another example of the same length for each, drawn from a seed.

    returns: places in `examples`, never the example itself
    raises:  LeftOut if an example is the only one of its length
    """
    lengths = examples["length"].to_numpy()
    result = numpy.empty(len(examples), dtype=int)
    generator = numpy.random.default_rng(seed)
    for length in sorted(set(lengths)):
        rows = numpy.flatnonzero(lengths == length)
        if len(rows) < 2:
            raise LeftOut(
                f"resample ablation needs two examples of each length; there is one of {length} "
                "tokens; use more examples or another replacement"
            )
        # A rotation of a random order has no fixed point.
        order = generator.permutation(rows)
        result[order] = numpy.roll(order, 1)
    return result
