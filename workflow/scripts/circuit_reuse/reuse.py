"""How far the circuits of a task's examples are shared, against what chance would share."""

import numpy as np

from circuit_reuse import circuits, components, statistics


def reuse_table(task, scores, names, examples, others, cfg, stream):
    """The reuse table of one task: reuse at p against its nulls.

    scores:   [example, component], train split;  examples: their rows, in the same order
    others:   {task: [example, component]} of the model's other tasks
    cfg:      top_k, thresholds, draws, rarefaction
    """
    rows = []
    kinds = [components.kind(name) for name in names]
    for top_k in cfg["top_k"]:
        k = circuits.resolve_k(top_k, len(names))
        member = circuits.top_k(scores, k)
        rng = circuits.generator(*stream, task, top_k)
        random_counts = circuits.random_members(member, kinds, cfg["draws"], rng).sum(axis=1)
        mixed = mixed_counts(member, [circuits.top_k(s, k) for s in others.values()], cfg["draws"], rng)  # fmt: skip
        boot = member[rng.integers(0, len(member), (cfg["draws"], len(member)))].sum(axis=1)
        rare, rare_n = rarefied(member, cfg["rarefaction"], cfg["draws"], rng)
        overlap = circuits.pairwise_jaccard(member)
        ranks = circuits.rank_correlations(scores)
        upper = np.triu_indices(len(member), 1)
        labels, _ = circuits.families(1 - overlap)
        variants = examples["variant"].to_numpy()
        seed = rng.integers(2**31)
        common = {
            "task": task,
            "top_k": float(top_k),
            "k": k,
            "n_examples": len(member),
            "identifiability": circuits.identifiability(member, scores, k),
            "mean_jaccard": float(overlap[upper].mean()),
            "mean_rank_correlation": float(np.nanmean(ranks[upper])),
            "families": len(set(labels)),
            "family_variant_agreement": circuits.adjusted_rand(labels, variants)
            if len(set(variants)) > 1
            else None,
            "p_variant": statistics.label_permutation(overlap, variants, cfg["draws"], seed),
            "p_template": statistics.label_permutation(
                overlap, examples["template"].to_numpy(), cfg["draws"], seed + 1
            ),
        }
        for threshold in cfg["thresholds"]:
            is_in = circuits.shared(member, threshold)
            observed = circuits.reuse(member, threshold, k)

            def share(counts, n, threshold=threshold, k=k):
                sizes = (counts >= circuits.needed(threshold, n)).sum(axis=1)
                return 100.0 * np.minimum(sizes, k) / k

            null = share(random_counts, len(member))
            drawn = share(boot, len(member))
            other = share(mixed, len(member)) if mixed is not None else None
            chosen = [name for name, there in zip(names, is_in, strict=True) if there]
            rows.append(
                common
                | {
                    "threshold": float(threshold),
                    "circuit": circuits.circuit_id(chosen),
                    "circuit_size": int(is_in.sum()),
                    "reuse": observed,
                    "reuse_low": float(np.percentile(drawn, 2.5)),
                    "reuse_high": float(np.percentile(drawn, 97.5)),
                    "reuse_null": float(null.mean()),
                    "reuse_null_high": float(np.percentile(null, 95)),
                    "p_reuse": statistics.rank_p(observed, null),
                    "reuse_other": None if other is None else float(other.mean()),
                    "p_reuse_other": None if other is None else statistics.rank_p(observed, other),
                    "reuse_rarefied": float(share(rare, rare_n).mean()),
                }
            )
    return rows


def mixed_counts(member, others, draws, rng):
    """Counts when half of the example circuits, at random, are another task's.

    What stays shared then is what every task uses; reuse above it is the task's own.
    returns: [draw, component], or None if the model has no other task
    """
    pool = [rows for rows in others if rows.shape[1] == member.shape[1]]
    if not pool:
        return None
    pool = np.concatenate(pool)
    half = len(member) // 2
    counts = np.empty((draws, member.shape[1]), dtype=int)
    for draw_number in range(draws):
        own = rng.choice(len(member), len(member) - half, replace=False)
        other = rng.choice(len(pool), half, replace=half > len(pool))
        counts[draw_number] = member[own].sum(axis=0) + pool[other].sum(axis=0)
    return counts


def rarefied(member, size, draws, rng):
    """Counts over random subsets of `size` examples, so that tasks of different n compare.

    returns: [draw, component] and the size of the subsets (n itself if n is smaller)
    """
    size = min(size, len(member))
    order = rng.random((draws, len(member))).argsort(axis=1)[:, :size]
    return member[order].sum(axis=1), size
