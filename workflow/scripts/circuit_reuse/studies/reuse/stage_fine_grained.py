"""The stage that asks of edges, and of components at positions, what the study asks of components: are they shared?"""

from circuit_reuse.data import components, tables
from circuit_reuse.data.examples import enough
from circuit_reuse.engine import fine_scores, models, places
from circuit_reuse.stats import circuits, statistics
from circuit_reuse.studies.reuse import overlap, schemas


def share(job):
    """Reuse of the train examples' circuits of edges and of components at positions, and what they share."""
    cfg, tokens = job.cfg, job.compute["batch_tokens"]
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    enough(examples.to_dict("records"), "train", cfg["min_valid"], job.wildcards.task)
    train = examples[examples["used"] & (examples["split"] == "train")].reset_index(drop=True)
    model, rows, shared = models.of_job(job), [], []
    for level, score in (("edge", fine_scores.of_edges), ("position", fine_scores.of_positions)):
        if not cfg["top_k"][level]:
            continue
        if level == "edge":
            try:
                places.check_edges(model)
            except ValueError as problem:
                job.log.warning("no circuits of edges: %s", problem)
                continue
        values, names = score(model, train, cfg["metric"], cfg["steps"], tokens)
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, "fine", level)
        found = reuse_of(values, names, level, train["cluster"], cfg, stream)
        rows += found[0]
        shared += found[1]
        job.log.info("%d units: %ss of %d examples", len(names), level, len(train))
    job.write(job.output.reuse, schemas.FINE_GRAINED, rows)
    job.write(job.output.shared, schemas.FINE_GRAINED_SHARED, shared)


def reuse_of(values, names, level, clusters, cfg, stream):
    """Rows of the fine_grained and of the fine_grained_shared table of one level.

    values: [example, unit];  names: [(component, place)] of the units
    """
    k = min(cfg["top_k"][level], len(names))
    member = circuits.top_k(values, k)
    containing, sizes = overlap.counted(member, clusters)
    kinds = [kind_of(level, *name) for name in names]
    null = circuits.random_counts(containing, kinds, cfg["draws"], circuits.generator(*stream))
    about = {"level": level, "k": k, "n_units": len(names), "n_examples": len(member), "n_clusters": len(sizes)}
    rows = []
    for threshold in cfg["thresholds"]:
        observed = circuits.reuse(member, threshold, k)
        sizes_null = (null >= circuits.needed(threshold, len(member))).sum(axis=1).clip(max=k) / k
        row = {"threshold": float(threshold), "n_shared": int(circuits.shared(member, threshold).sum())}
        row |= {"reuse": observed, "reuse_null": float(sizes_null.mean())}
        rows.append(about | row | {"p_value": statistics.rank_p(observed, sizes_null)})
    counts = member.sum(axis=0)
    least = circuits.needed(min(cfg["thresholds"]), len(member))
    shared = [
        {
            "level": level,
            "component": names[unit][0],
            "place": names[unit][1],
            "n_containing": int(counts[unit]),
            "frequency": float(counts[unit] / len(member)),
            "mean_score": float(values[:, unit].mean()),
        }
        for unit in sorted((counts >= least).nonzero()[0], key=lambda unit: (-counts[unit], unit))
    ]
    return rows, shared


def kind_of(level, component, place):
    """Units that are exchanged at random: edges between the same kinds, components of one kind at any position."""
    if level == "position":
        return components.kind(component)
    reader = "logits" if place == "logits" else place.rpartition(".")[2] if "." in place else "mlp"
    return f"{components.kind(component)} to {reader}"
