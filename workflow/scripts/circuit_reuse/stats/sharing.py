"""The circuits of one task: builds the tables circuits, inclusion, similarity and clusters."""

import numpy as np
import pandas as pd

from circuit_reuse.data import components
from circuit_reuse.stats import circuits, example_similarity


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
    cfg:     top_k, thresholds, halves, controls {count, random_sets, same_layers, pool_too_small}
    stream:  names the random streams (model, task, method, seed)
    returns: a list of rows
    raises:  PoolTooSmall where a control is impossible and cfg does not say to skip it
    """
    kinds = sorted({components.kind(name) for name in names})
    rows, drawn, compositions, layered = [], {}, {}, {}
    for top_k in cfg["top_k"]:
        k = components.resolve_k(top_k, len(names))
        member = circuits.top_k(scores, k)
        base = {"top_k": float(top_k), "k": k}
        for number, row in zip(numbers, member, strict=True):
            chosen = [name for name, is_in in zip(names, row, strict=True) if is_in]
            here = base | {"threshold": None}
            rows.append(here | row_of("example", chosen, example=int(number)))
        for threshold in cfg["thresholds"]:
            chosen = circuits.shared_names(member, names, threshold)
            here = base | {"threshold": float(threshold)}
            key = circuits.circuit_id(chosen)
            if key not in drawn:
                drawn[key] = draw(chosen, names, kinds, cfg["controls"], (*stream, key), top_k, threshold)
            found, problem = drawn[key]
            rows.append(here | row_of("shared", chosen, problem=problem))
            for number, control in enumerate(found):
                rows.append(here | row_of("control", control, control=number, of=key))
            rows += [
                here | row
                for row in half_circuits(member, names, threshold, cfg["halves"], (*stream, top_k, threshold))
            ]
            if chosen:
                compositions.setdefault(composition_name(chosen), (here, circuits.composition_of(chosen)))
                layered.setdefault(key, (here, chosen))
    count, name = cfg["controls"]["random_sets"], "/".join(map(str, stream))
    for composition, (here, counts) in compositions.items():
        for number, chosen in enumerate(circuits.random_sets(counts, names, count, name)):
            rows.append(here | row_of("random", chosen, control=number, of=composition))
    for key, (here, circuit) in layered.items():
        for number, chosen in enumerate(circuits.layer_matched_sets(circuit, names, count, name)):
            rows.append(here | row_of("random", chosen, control=number, of=matched(key)))
    return rows


def half_circuits(member, names, threshold, draws, stream):
    """What random halves of the examples share: rows of the kind `half`, two of each draw, numbered 2 d and 2 d + 1.

    member: [example, component], example circuits;  draws: how often the examples are split
    """
    for draw, pair in enumerate(circuits.random_halves(len(member), draws, *stream)):
        for side, rows in enumerate(pair):
            chosen = circuits.shared_names(member[rows], names, threshold)
            yield row_of("half", chosen, control=2 * draw + side)


def matched(key, match="layer"):
    """What the random sets that match a circuit are called, in the circuits and in the effects table.

    key: id of the circuit;  match: layer (as many heads and MLPs in each layer) or norm (in each stratum of output norm)
    """
    return f"{match}-matched {key}"


def matched_of(key, task):
    """What the random sets of a task that match a circuit are called where several tasks meet: each draws its own."""
    return f"{matched(key)} of {task}"


def composition_name(names):
    """The composition of a circuit as text, such as "3 head 1 mlp"."""
    return " ".join(f"{number} {kind}" for kind, number in circuits.composition_of(names).items())


def random_sets(table):
    """{composition, or name by `matched`: sets} of the random sets in a circuits table."""
    rows = table[table["kind"] == "random"].sort_values("control")
    return {name: list(map(list, part["components"])) for name, part in rows.groupby("circuit")}


def draw(chosen, names, kinds, cfg, stream, top_k, threshold):
    """The controls of a circuit and the reason if there are none."""
    try:
        found = circuits.controls(chosen, names, kinds, cfg["count"], "/".join(map(str, stream)), cfg["same_layers"])
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
        k = components.resolve_k(top_k, len(names))
        member = circuits.top_k(scores, k)
        for place, name in enumerate(names):
            rows.append(
                {
                    "top_k": float(top_k),
                    "k": k,
                    "component": name,
                    "n_containing": int(member[:, place].sum()),
                    "frequency": float(member[:, place].mean()),
                    "mean_score": float(scores[:, place].mean()),
                }
            )
    return rows


def similarity(scores, numbers, cfg):
    """The similarity table: every two examples, their circuits and their rankings."""
    ranks = example_similarity.rank_correlations(scores)
    first, second = np.triu_indices(len(numbers), 1)
    parts = []
    for top_k in cfg["top_k"]:
        member = circuits.top_k(scores, components.resolve_k(top_k, scores.shape[1]))
        overlap = example_similarity.pairwise_jaccard(member)
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


def clusters(scores, examples, cfg):
    """The clusters table: clusters of example circuits beside the labels of the examples."""
    rows = []
    for top_k in cfg["top_k"]:
        member = circuits.top_k(scores, components.resolve_k(top_k, scores.shape[1]))
        labels, order = example_similarity.clusters(1 - example_similarity.pairwise_jaccard(member))
        place = np.empty(len(order), dtype=int)
        place[order] = np.arange(len(order))
        for row, example in enumerate(examples.itertuples()):
            rows.append(
                {
                    "top_k": float(top_k),
                    "example": int(example.example),
                    "cluster": int(labels[row]),
                    "place": int(place[row]),
                    "variant": example.variant,
                    "template": example.template,
                }
            )
    return rows
