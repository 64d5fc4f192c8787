"""The stage that asks of units of other sizes what the study asks of components: are they shared, and does removing what is shared hurt?

Edges and components at positions are finer than components, single neurons of MLPs much finer, whole attention blocks coarser.  The
circuits of score thresholds hold components, but as many as have a share of an example's scores instead of K.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from circuit_reuse.data import components, jobs, tables
from circuit_reuse.data.examples import enough
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import ablation, fine_scores, models, neurons, places
from circuit_reuse.stats import circuits, statistics
from circuit_reuse.studies.reuse import overlap, removal, schemas


class UnitRule(NamedTuple):
    """Which circuits: K units of a level, or all components with a share of an example's scores."""

    level: str
    top_k: float | None
    score_threshold: float | None


def share(job):
    """Reuse of the train examples' circuits of one level of units, what they share, and what removing it does.

    cfg: level, top_k (0 for none), score_thresholds (of components), seed, metric, steps, min_valid, thresholds, draws; where anything
         is removed also kinds, replacement, bootstrap, random_sets
    """
    cfg, level, tokens = job.cfg, job.cfg["level"], job.compute["batch_tokens"]
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    model, rows, shared, removed = models.of_job(job), [], [], None
    enough(examples.to_dict("records"), "train", cfg["min_valid"], job.wildcards.task)
    train = jobs.used(examples, "train").reset_index(drop=True)
    if problem := impossible(model, level):
        job.log.warning("no circuits of %ss: %s", level, problem)
    else:
        if "replacement" in cfg:
            try:
                held_out = ablation.replaceable(jobs.used(examples, "held_out"), train, cfg["replacement"], job.log)
                removed = removal.Removal(model, train, held_out, cfg, tokens)
            except LeftOut as problem:
                job.log.warning("nothing is removed: %s", problem)
        scores = fine_scores.UnitScores(model, train, cfg["metric"], cfg["steps"], tokens)
        values, names, total = selected(getattr(scores, f"{level}s")(), level, cfg)
        job.log.info("%d units: %ss of %d examples", len(names), level, len(train))
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, "fine", level)
        for asked in asked_for(cfg):
            found = reuse_of(values, names, asked, train["cluster"], cfg, stream, removed, total)
            rows += found[0]
            shared += found[1]
    job.write(job.output.reuse, schemas.FINE_GRAINED, rows)
    job.write(job.output.shared, schemas.FINE_GRAINED_SHARED, shared)


def asked_for(cfg):
    """Every rule for circuits of the level; cfg: level, top_k, score_thresholds."""
    found = [UnitRule(cfg["level"], cfg["top_k"], None)] if cfg["top_k"] else []
    return found + [UnitRule(cfg["level"], None, value) for value in cfg["score_thresholds"]]


def impossible(model, level):
    """Why a model has no circuits of a level; empty if it has."""
    if level == "edge":
        return places.edges_problem(model)
    if level == "neuron" and not neurons.known(model):
        return "its MLPs are made of experts, which have no neurons of their own"
    return ""


def selected(found, level, cfg):
    """(Scores, names, sum of |scores| [example] or None) without what circuits may not hold: of components the kinds that are not in
    circuits.kinds, of components at positions the input, whose score is about all that the corruption does.

    The sum is over all heads and MLPs, so that a share of it means the same whatever circuits hold.
    """
    values, names = found
    if level == "position":
        keep = [place for place, (name, _) in enumerate(names) if name != "input"]
        return values[:, keep], [names[place] for place in keep], None
    if level != "component":
        return values, names, None
    kinds = [components.kind(name) for name in names]
    total = np.abs(values[:, [kind in ("head", "mlp") for kind in kinds]]).sum(axis=1)
    keep = [place for place, kind in enumerate(kinds) if kind in cfg["kinds"]]
    return values[:, keep], [names[place] for place in keep], total


def reuse_of(values, names, asked, clusters, cfg, stream, removed=None, total=None):
    """Rows of the fine_grained and of the fine_grained_shared table of one kind of circuit.

    values:  [example, unit];  names: of the units, as the scores of the level give them
    removed: removal.Removal, or None to leave out what removing does
    total:   [example], what a score threshold is a share of; the sum of |values| without it
    """
    if asked.score_threshold is None:
        k = components.resolve_k(min(asked.top_k, len(names)), len(names))
        member = circuits.top_k(values, k)
    else:
        member = circuits.by_share(values, asked.score_threshold, total)
        k = max(1, round(float(member.sum(axis=1).mean())))
    containing, sizes = overlap.counted(member, clusters)
    kinds = [kind_of(asked.level, name) for name in names]
    null = circuits.random_counts(containing, kinds, cfg["draws"], circuits.generator(*stream))
    about = {
        "level": asked.level,
        "score_threshold": asked.score_threshold,
        "k": k,
        "size_least": int(member.sum(axis=1).min()),
        "size_most": int(member.sum(axis=1).max()),
        "n_units": len(names),
        "n_examples": len(member),
        "n_clusters": len(sizes),
    }
    rows, drawn = [], {}
    for threshold in cfg["thresholds"]:
        observed = circuits.reuse(member, threshold, k)
        sizes_null = (null >= circuits.needed(threshold, len(member))).sum(axis=1).clip(max=k) / k
        chosen = circuits.shared_names(member, names, threshold)
        row = {"threshold": float(threshold), "n_shared": len(chosen), "shared_set": set_id(chosen)}
        row |= {"reuse": observed, "reuse_null": float(sizes_null.mean())}
        row |= {"p_value": statistics.rank_p(observed, sizes_null)}
        # Edges are tested by the faithfulness curves.
        if removed and asked.level != "edge" and chosen and row["shared_set"] not in drawn:
            # The same set has the same random sets, whichever rule chose it.
            draw = circuits.generator(*stream, "removed", row["shared_set"])
            random = removal.matched_sets(asked.level, chosen, names, cfg["random_sets"], draw)
            drawn[row["shared_set"]] = chosen, random
        rows.append(about | row)
    if drawn:
        effects = removal.columns_of(removed, asked.level, drawn, cfg, circuits.seed(*stream, "effect"))
        rows = [row | effects.get(row["shared_set"], {}) for row in rows]
    counts = member.sum(axis=0)
    least = circuits.needed(min(cfg["thresholds"]), len(member))
    shared = [
        {
            "level": asked.level,
            "score_threshold": asked.score_threshold,
            **dict(zip(("component", "place"), named(asked.level, names[unit]), strict=True)),
            "n_containing": int(counts[unit]),
            "frequency": float(counts[unit] / len(member)),
            "mean_score": float(values[:, unit].mean()),
        }
        for unit in sorted((counts >= least).nonzero()[0], key=lambda unit: (-counts[unit], unit))
    ]
    return rows, shared


def set_id(units):
    """An id of a set of units; None for none."""
    words = sorted(unit if isinstance(unit, str) else " ".join(map(str, unit)) for unit in units)
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16] if words else None


def named(level, unit):
    """The component of a unit, and its place: the reader of an edge, a role, the number of a neuron; empty for others."""
    if level == "neuron":
        return f"m{unit[0]}", str(unit[1])
    return unit if level in ("edge", "position") else (unit, "")


def kind_of(level, unit):
    """Units that are exchanged at random: edges between the same kinds, components of one kind at any position."""
    if level == "neuron":
        return "neuron"
    if level == "block":
        return "attention" if removal.is_block(unit) else "mlp"
    if level == "component":
        return components.kind(unit)
    component, place = unit
    if level == "position":
        return components.kind(component)
    reader = "logits" if place == "logits" else place.rpartition(".")[2] if "." in place else "mlp"
    return f"{components.kind(component)} to {reader}"
