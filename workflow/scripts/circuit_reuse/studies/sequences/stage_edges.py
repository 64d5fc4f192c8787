"""The stages that measure the edges of a circuit, and cut those of little effect."""

import numpy as np
import pandas as pd

from circuit_reuse.data import jobs, tables
from circuit_reuse.engine import edge_circuits, edge_means, effects, models, places, progress
from circuit_reuse.stats.clusters import standard_error
from circuit_reuse.studies.sequences import acdc, evaluator, graphs, path_patching, schemas, shares, stage_names


def patch_edges(job):
    """The effect of every edge of a task's circuit."""
    cfg, tokens = job.cfg, job.compute["batch_tokens"]
    train, _ = jobs.splits(job.input.examples, cfg, job.wildcards.task)
    table = tables.read(job.input.pruned, schemas.PRUNED)
    circuit = [str(name) for name in stage_names.of_task(table, job.wildcards.task, cfg)[0]["components"]]
    # Means over the whole train split, effects over its first examples.
    chosen = train.head(cfg["examples"])
    context = context_of(job, chosen, train, circuit)
    if (known := earlier(job.output.paths, context)) is not None:
        job.log.info("the circuit and all that its edges depend on are as before: %d edges are kept", len(known))
        job.write(job.output.paths, schemas.PATHS, known, context=context)
        return
    model = models.of_job(job)
    evaluate = evaluator.CircuitEvaluator(model, chosen, train, cfg["replacement"], cfg["metric"], tokens)
    # The nodes may have been scored by something else.
    shares.check_task(evaluate.full, job.wildcards.task, job.wildcards.model)
    pairs, found, _ = path_patching.effects(evaluate, circuit, job.log)
    changes = found / evaluate.full.mean()
    table = pd.DataFrame(pairs, columns=["writer", "reader"])
    table["score_change"] = changes.mean(axis=1)
    table["score_change_standard_error"] = standard_error(changes.T, evaluate.examples["cluster"])
    attributed = edge_means.mean_edges(model, chosen, cfg["metric"], cfg["steps"], tokens)
    table = table.merge(
        attributed[["writer", "reader", "score"]].rename(columns={"score": "attribution"}),
        on=["writer", "reader"],
        how="left",
    )
    table["kept"] = True
    job.write(job.output.paths, schemas.PATHS, table, context=context)


def context_of(job, chosen, train, circuit):
    """Hash of all that the effects of edges depend on."""
    cfg, code = job.cfg, job.params.rows_code
    # Standard errors are over clusters.
    clusters = [str(cluster) for cluster in chosen["cluster"]]
    settings = [cfg["replacement"], cfg["dtype"], cfg["steps"], circuit, clusters]
    return effects.context_of(job.model, chosen, train, settings, cfg["metric"], [], code, 0)


def earlier(path, context):
    """The table that an earlier run left, if it still holds; else None."""
    table = tables.earlier(path, schemas.PATHS)
    return table if table is not None and tables.provenance(path).get("context") == context else None


def cut_edges(job):
    """Edge circuits by several cuts, and what they score."""
    cfg, tokens = job.cfg, job.compute["batch_tokens"]
    model = models.of_job(job)
    train, held_out = jobs.splits(job.input.examples, cfg, job.wildcards.task)
    table = tables.read(job.input.paths, schemas.PATHS)
    sets, rows = [], []
    listed = graphs.cuts(cfg)
    pruned = prune(job, model, train, table, [value for rule, value, _ in listed if rule == "acdc"])
    for rule, value, chosen in listed:
        if rule == "acdc":
            cut, kept = None, pruned[value]
        else:
            cut, kept = graphs.cut_at(table["score_change"].to_numpy(), rule, value)
        on_way = graphs.connected(table, kept)
        sets.append(on_way)
        rows.append(
            {
                "rule": rule,
                "value": value,
                "cut": cut,
                "n_edges_kept": int(kept.sum()),
                "n_edges": int(on_way.sum()),
                "n_components": len(graphs.nodes_of(table[on_way])),
                "chosen": chosen,
            }
        )
    masks = np.stack([edge_circuits.mask_of(model, table[kept]) for kept in sets])
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.task)
    for split, examples in (("train", train), ("held_out", held_out)):
        evaluate = evaluator.CircuitEvaluator(model, examples, train, cfg["replacement"], cfg["metric"], tokens)
        if split == "train":
            shares.check_task(evaluate.full, job.wildcards.task, job.wildcards.model)
        values = run(evaluate, masks)
        for place, row in enumerate(rows):
            score = shares.share(values[place], evaluate.full)
            if split == "train":
                row["score_train"] = score
                continue
            # All edges are the node circuit, whose score has the same interval elsewhere.
            given = values[place], evaluate.full, cfg["bootstrap"]
            clusters = evaluate.examples["cluster"]
            if row["rule"] == "all":
                bounds = shares.score_interval(*given, graphs.nodes_of(table), stream, clusters)
            else:
                bounds = shares.share_interval(*given, (*stream, "edges", row["rule"], row["value"]), clusters)
            row |= {"n_examples": len(evaluate.full), "n_clusters": clusters.nunique()}
            row |= dict(zip(("score", "score_low", "score_high"), (score, *bounds), strict=True))
    chosen = next(place for place, row in enumerate(rows) if row["chosen"])
    if not sets[chosen].any():
        job.log.warning(
            "no edge that is kept by %s %g lies on a way from the input to the logits: lower sequences.edges.value",
            rows[chosen]["rule"],
            rows[chosen]["value"],
        )
    table["kept"] = sets[chosen]
    job.write(job.output.edges, schemas.PATHS, table)
    job.write(job.output.cuts, schemas.CUT, rows)


def prune(job, model, train, table, limits):
    """The edges that ACDC leaves of a circuit's, {limit: [edge] bool}."""
    if not limits:
        return {}
    cfg, tokens = job.cfg, job.compute["batch_tokens"]
    chosen = train.head(cfg["examples"])
    evaluate = evaluator.CircuitEvaluator(model, chosen, train, cfg["replacement"], cfg["metric"], tokens)
    shares.check_task(evaluate.full, job.wildcards.task, job.wildcards.model)
    order = acdc.removal_order(model.space.names, places.reader_names(model.space), table)

    def score_of(sets):
        values = run(evaluate, np.stack([edge_circuits.mask_of(model, table[kept]) for kept in sets]))
        return np.array([shares.share(each, evaluate.full) for each in values])

    found = {}
    for limit in limits:
        with progress.bar(total=len(order), desc=f"ACDC at {limit:g}", unit="edge") as bar:
            found[limit] = acdc.kept_edges(score_of, order, limit, step=bar.update)
        job.log.info("ACDC at %g: %d of %d edges are left", limit, found[limit].sum(), len(order))
    return found


def run(evaluate, masks):
    """Metric of each edge circuit, [circuit, example]."""
    found = np.empty((len(masks), len(evaluate.examples)))
    for number, (batch, _, instead) in enumerate(evaluate.prepared):
        for chosen, last in edge_circuits.scan(evaluate.model, batch, instead, masks):
            found[np.ix_(chosen, batch.rows)] = evaluate.values(last, number, len(chosen))
    return found
