"""Run texts and feed the running sums: how much each component differs between two sets."""

import numpy as np
import torch

from circuit_reuse.engine import batching, interventions
from circuit_reuse.stats.circuits import generator
from circuit_reuse.studies.contrast import pooling, streaming

# Pairs whose activations are in memory at once, always an even number.
CHUNK = 64


def owners(space, device="cpu"):
    """[dimension], the place in `space.names` of the component that each dimension belongs to."""
    widths = [space.write_cost(name) for name in space.names]
    return torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths)).to(device)


def pooled(model, texts, weights, tokens):
    """Averages over positions of the outputs of all components.

    texts:   a list of token lists;  weights: [pool][text], each [position] or None
    tokens:  tokens of one run, at most
    returns: [pool, text, dimension], float32, components in the order of `Space.names`; 0 for None
    """
    space = model.space
    width = sum(space.write_cost(name) for name in space.names)
    found = torch.zeros(len(weights), len(texts), width, device=model.device)
    lengths = {}
    for place, text in enumerate(texts):
        lengths.setdefault(len(text), []).append(place)

    def work(places):
        run = torch.tensor([texts[place] for place in places], device=model.device)
        _, acts = interventions.run(model, run)
        outputs = [acts.embedding]
        for z, mlp in zip(acts.z, acts.mlp, strict=True):
            outputs += [z.flatten(2), mlp]
        outputs = torch.cat([each.float().to(model.device) for each in outputs], dim=-1)
        empty = np.zeros(run.shape[1])
        rows = [[each[place] if each[place] is not None else empty for place in places] for each in weights]
        weight = torch.tensor(np.array(rows), dtype=torch.float32, device=model.device)
        return torch.einsum("kep,epd->ked", weight, outputs)

    for length, places in sorted(lengths.items()):
        size, what = max(1, tokens // length), f"texts of {length} tokens"
        for part, result in batching.in_pieces(work, places, size, model.device, what):
            found[:, part] = result
    return found


def signs_and_weights(stream, clusters, flips, draws):
    """Signs [flip, pair] and Poisson weights [draw, pair]; each cluster's from a stream of its own.

    So that no result depends on how pairs are batched, or on which others there are.
    """
    signs, weights = np.empty((flips, len(clusters))), np.empty((draws, len(clusters)))
    for column, cluster in enumerate(clusters):
        rng = generator(*stream, cluster)
        signs[:, column] = 2 * rng.integers(0, 2, flips) - 1
        weights[:, column] = rng.poisson(1.0, draws)
    return signs, weights


def identical(pool, pair):
    """Whether what is compared of a pair is the same by construction, in a causal model."""
    return pair.identical_start and (pool == "start" or len(pair.first) == len(pair.second))


def measure(model, pairs, used, flips, draws, stream, tokens, keep=False, progress=lambda n: None):
    """The running sums of some pools over pairs of texts.

    pairs:   a list of texts.Pair;  used: names of pools
    keep:    whether to return the raw norms of every pair, too
    stream:  names the random stream
    returns: {pool: streaming.Sums}, {pool: (places of pairs, norms [pair, component])}
    """
    space, names = model.space, model.space.names
    owner, rounding = owners(space, model.device), streaming.ROUNDING[model.dtype]
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(p.cluster for p in pairs))}
    # Sums of each cluster are kept only where several pairs share one.
    shared = len(numbers) if len(numbers) < len(pairs) else None
    sums = {pool: streaming.Sums(owner, len(names), flips, draws, rounding, shared) for pool in used}
    raw = {pool: ([], []) for pool in used}
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        texts = [pair.first for pair in part] + [pair.second for pair in part]
        others = texts[len(part) :] + texts[: len(part)]
        leads = [pair.starts for pair in part] * 2
        weights = [
            [
                pooling.weights(pool, len(text), len(other), lead)
                for text, other, lead in zip(texts, others, leads, strict=True)
            ]
            for pool in used
        ]
        found = pooled(model, texts, weights, tokens)
        signs, draw = signs_and_weights(stream, [pair.cluster for pair in part], flips, draws)
        cluster = np.array([numbers[pair.cluster] for pair in part])
        same = {pool: np.array([identical(pool, pair) for pair in part]) for pool in used}
        for place, pool in enumerate(used):
            rows = [row for row in range(len(part)) if weights[place][row] is not None]
            if not rows:
                continue
            first, second = found[place, rows], found[place, [row + len(part) for row in rows]]
            norms = sums[pool].add(
                first,
                second,
                signs[:, rows],
                draw[:, rows],
                None if shared is None else cluster[rows],
                same[pool][rows],
                pool in pooling.ALONE,
            )
            if keep:
                raw[pool][0].extend(start + row for row in rows)
                raw[pool][1].append(norms.astype(np.float32))
        progress(len(part))
    return sums, {pool: (np.array(places), np.concatenate(norms)) for pool, (places, norms) in raw.items() if places}
