"""The stages that measure the edges of a circuit, and cut those of little effect."""

import numpy as np
import pandas as pd

from circuit_reuse import edge_circuits, edge_means, jobs, models, places, tables
from circuit_reuse.sequences import graphs, keeping, paths, schemas, stages


def patch_edges(input, output, params, wildcards, threads, log):
    """The effect of every edge of a task's circuit; see patch_edges.py."""
    cfg, tokens = params.cfg, params.compute["batch_tokens"]
    model = models.of_job(input, params, threads)
    train, _ = jobs.splits(input.examples, cfg, wildcards.task)
    circuit = circuit_of(input.circuits, wildcards.task)
    # Means over the whole train split, effects over its first examples.
    chosen = train.head(cfg["examples"])
    keeper = keeping.Keeper(model, chosen, train, cfg["replacement"], cfg["metric"], tokens)
    pairs, found, _ = paths.effects(keeper, circuit, log)
    points = 100 * found / keeper.full.mean()
    table = pd.DataFrame(pairs, columns=["writer", "reader"])
    table["effect"] = points.mean(axis=1)
    table["standard_error"] = points.std(axis=1, ddof=1) / np.sqrt(points.shape[1])
    attributed = edge_means.mean_edges(model, chosen, cfg["metric"], cfg["steps"], tokens)
    table = table.merge(
        attributed[["writer", "reader", "score"]].rename(columns={"score": "attribution"}),
        on=["writer", "reader"],
        how="left",
    )
    table["kept"] = True
    jobs.write(output.paths, schemas.PATHS, table, cfg, input)


def circuit_of(path, task):
    """The circuit of a task among the named ones."""
    named = tables.read(path, schemas.NAMED)
    mine = named[(named["kind"] == "task") & (named["task"] == task)]
    return [str(name) for name in mine["components"].iloc[0]]


def cut_edges(input, output, params, wildcards, threads, log):
    """Edge circuits by several cuts, and what they score; see cut_edges.py."""
    cfg, tokens = params.cfg, params.compute["batch_tokens"]
    model = models.of_job(input, params, threads)
    train, held_out = jobs.splits(input.examples, cfg, wildcards.task)
    table = tables.read(input.paths, schemas.PATHS)
    sets, rows = [], []
    for rule, value, chosen in graphs.cuts(cfg):
        cut, kept = graphs.cut_at(table["effect"].to_numpy(), rule, value)
        on_way = graphs.connected(table, kept)
        sets.append(on_way)
        rows.append(
            {
                "rule": rule,
                "value": value,
                "cut": cut,
                "kept": int(kept.sum()),
                "edges": int(on_way.sum()),
                "nodes": len(graphs.nodes_of(table[on_way])),
                "chosen": chosen,
            }
        )
    masks = np.stack([mask_of(model, table[kept]) for kept in sets])
    stream = (cfg["seed"], wildcards.model, wildcards.task, "cut")
    for split, examples in (("train", train), ("held_out", held_out)):
        keeper = keeping.Keeper(model, examples, train, cfg["replacement"], cfg["metric"], tokens)
        values = run(keeper, masks)
        for place, row in enumerate(rows):
            score = stages.share(values[place], keeper.full)
            if split == "train":
                row["score_train"] = score
                continue
            bounds = stages.share_interval(values[place], keeper.full, cfg["bootstrap"], (*stream, place))
            row |= dict(zip(("score", "low", "high"), (score, *bounds), strict=True))
    chosen = next(place for place, row in enumerate(rows) if row["chosen"])
    if not sets[chosen].any():
        log.warning(
            "no edge of at least %.3g points lies on a way from the input to the logits: lower sequences.edges",
            rows[chosen]["cut"],
        )
    table["kept"] = sets[chosen]
    jobs.write(output.edges, schemas.PATHS, table, cfg, input)
    jobs.write(output.cuts, schemas.CUT, rows, cfg, input)


def mask_of(model, table):
    """Which edges are kept, [writer, reader], for edge_circuits.keep."""
    writers = {name: n for n, name in enumerate(model.space.names)}
    readers = {name: n for n, name in enumerate(places.reader_names(model.space))}
    mask = np.zeros((len(writers), len(readers)), dtype=bool)
    for writer, reader in zip(table["writer"], table["reader"], strict=True):
        mask[writers[writer], readers[reader]] = True
    return mask


def run(keeper, masks):
    """Metric of each edge circuit, [circuit, example]."""
    found = np.empty((len(masks), len(keeper.examples)))
    for batch, _, instead in keeper.prepared:
        for chosen, last in edge_circuits.scan(keeper.model, batch, instead, masks):
            found[np.ix_(chosen, batch.rows)] = keeper.values(last, batch, len(chosen))
    return found
