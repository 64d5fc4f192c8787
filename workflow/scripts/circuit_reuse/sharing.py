"""The circuits of one task, and how far they are shared, against what chance would share.

Builds the tables circuits, inclusion, similarity, families and reuse from score matrices.
"""

import numpy as np
import pandas as pd

from circuit_reuse import circuits, components, statistics


def matrix(scores, examples=None):
    """Scores as an array [example, component] with its example numbers and names.

    scores:   a DataFrame of the scores table; components in the order of the computation
    examples: keep these examples only
    """
    if examples is not None:
        scores = scores[scores["example"].isin(examples)]
    wide = scores.pivot(index="example", columns="component", values="score")
    names = circuits.sorted_names(map(str, wide.columns))
    return wide[names].to_numpy(float), wide.index.to_numpy(), names


def select(values, names, kinds):
    """The columns of the kinds of components (head, mlp) that circuits may hold."""
    keep = [place for place, name in enumerate(names) if components.kind(name) in kinds]
    return values[:, keep], [names[place] for place in keep]


def task_circuits(scores, names, numbers, cfg, stream):
    """The circuits table of one task: example circuits, shared circuits and controls.

    scores:  [example, component], train split, removable components only
    cfg:     top_k, thresholds, controls {count, same_layers, pool_too_small}
    stream:  names the random streams (model, task, method, seed)
    returns: a list of rows
    raises:  PoolTooSmall where a control is impossible and cfg does not say to skip it
    """
    kinds = sorted({components.kind(name) for name in names})
    rows, drawn = [], {}
    for top_k in cfg["top_k"]:
        k = circuits.resolve_k(top_k, len(names))
        member = circuits.top_k(scores, k)
        base = {"top_k": float(top_k), "k": k}
        for number, row in zip(numbers, member, strict=True):
            chosen = [name for name, is_in in zip(names, row, strict=True) if is_in]
            here = base | {"threshold": None}
            rows.append(here | row_of("example", chosen, example=int(number)))
        for threshold in cfg["thresholds"]:
            is_in = circuits.shared(member, threshold)
            chosen = [name for name, there in zip(names, is_in, strict=True) if there]
            here = base | {"threshold": float(threshold)}
            key = circuits.circuit_id(chosen)
            if key not in drawn:
                drawn[key] = draw(chosen, names, kinds, cfg["controls"], (*stream, key), top_k, threshold)  # fmt: skip
            found, problem = drawn[key]
            rows.append(here | row_of("shared", chosen, problem=problem))
            for number, control in enumerate(found):
                rows.append(here | row_of("control", control, control=number, of=key))
    return rows


def draw(chosen, names, kinds, cfg, stream, top_k, threshold):
    """The controls of a circuit and the reason if there are none."""
    try:
        found = circuits.controls(
            chosen, names, kinds, cfg["count"], "/".join(map(str, stream)), cfg["same_layers"]
        )
        return found, None
    except circuits.PoolTooSmall as problem:
        if cfg["pool_too_small"] == "skip":
            return [], str(problem)
        raise circuits.PoolTooSmall(
            f"no matched control for top_k {top_k}, threshold {threshold}: {problem}. Lower "
            "circuits.top_k, raise circuits.thresholds, restrict circuits.kinds, or set "
            "circuits.controls.pool_too_small: skip to go on without a test there"
        ) from None


def row_of(kind, chosen, example=None, control=None, problem=None, of=None):
    """A row of the circuits table; `of` is the id of the circuit that a control is for."""
    return {
        "kind": kind,
        "example": example,
        "control": control,
        "circuit": of or circuits.circuit_id(chosen),
        "components": list(chosen),
        "problem": problem,
    }


def shared_circuits(table):
    """{id: (names, controls)} of the different shared circuits that are not empty."""
    result = {}
    shared = table[(table["kind"] == "shared") & (table["circuit"] != "empty")]
    controls = table[table["kind"] == "control"]
    for circuit, rows in shared.groupby("circuit", sort=True):
        mine = controls[controls["circuit"] == circuit]
        mine = mine.drop_duplicates("control").sort_values("control")
        result[circuit] = (list(rows["components"].iloc[0]), [list(n) for n in mine["components"]])
    return result


def inclusion(scores, names, cfg):
    """The inclusion table: how many example circuits hold each component."""
    rows = []
    for top_k in cfg["top_k"]:
        k = circuits.resolve_k(top_k, len(names))
        member = circuits.top_k(scores, k)
        for place, name in enumerate(names):
            rows.append(
                {
                    "top_k": float(top_k),
                    "k": k,
                    "component": name,
                    "count": int(member[:, place].sum()),
                    "frequency": float(member[:, place].mean()),
                    "mean_score": float(scores[:, place].mean()),
                }
            )
    return rows


def similarity(scores, numbers, cfg):
    """The similarity table: every two examples, their circuits and their rankings."""
    ranks = circuits.rank_correlations(scores)
    first, second = np.triu_indices(len(numbers), 1)
    parts = []
    for top_k in cfg["top_k"]:
        member = circuits.top_k(scores, circuits.resolve_k(top_k, scores.shape[1]))
        overlap = circuits.pairwise_jaccard(member)
        parts.append(
            pd.DataFrame(
                {
                    "top_k": float(top_k),
                    "first": numbers[first],
                    "second": numbers[second],
                    "jaccard": overlap[first, second],
                    "rank_correlation": ranks[first, second],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def families(scores, examples, cfg):
    """The families table: clusters of example circuits beside the labels of the examples."""
    rows = []
    for top_k in cfg["top_k"]:
        member = circuits.top_k(scores, circuits.resolve_k(top_k, scores.shape[1]))
        labels, order = circuits.families(1 - circuits.pairwise_jaccard(member))
        place = np.empty(len(order), dtype=int)
        place[order] = np.arange(len(order))
        for row, example in enumerate(examples.itertuples()):
            rows.append(
                {
                    "top_k": float(top_k),
                    "example": int(example.example),
                    "family": int(labels[row]),
                    "place": int(place[row]),
                    "variant": example.variant,
                    "template": example.template,
                }
            )
    return rows


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
