"""The tables of the weight study over all models and tasks."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse.data import gather
from circuit_reuse.stats import circuits, statistics
from circuit_reuse.studies.weights import findings, mask_files, measures, schemas

# Tables that only gain model and task: output name and schema.
PLAIN = {
    "circuits": schemas.WEIGHT_CIRCUITS,
    "pareto_front": schemas.PARETO_FRONT,
    "history": schemas.HISTORY,
    "edges": schemas.WEIGHT_EDGES,
    "matches": schemas.MATCHES,
    "sizes": schemas.SIZES,
    "fvu": schemas.FVU,
    "importance": schemas.NODE_IMPORTANCE,
    "node_random": schemas.NODE_RANDOM,
    "random": schemas.RANDOM_SWEEP,
}


# More weights of a circuit than so many are in the stage's table only: the CSV of a dense model would be gigabytes.
LISTED = 100_000


def summarise(job):
    """Write every table of the study, its JSON, and the findings."""
    cfg = job.cfg
    found = all_tables(job.input, cfg)
    found["edges"] = most_important(found["edges"], LISTED)
    job.write_csvs(found, schemas.CSVS)
    sweep = gather.rows(job.input.sweep, schemas.SWEEP)
    Path(job.output.results).write_text(json.dumps(as_json(sweep, found, cfg), indent=1) + "\n")
    found["edges"].to_json(job.output.edges_json, orient="records")
    Path(job.output.details).write_text(findings.text(found, cfg), encoding="utf-8")
    job.log.info("%d tables", len(found))


def most_important(edges, most):
    """Of each model's and task's circuit the weights of largest |importance|, at most so many, in their order."""
    size = edges["importance"].abs()
    rank = size.groupby([edges["model"], edges["task"]]).rank(method="first", ascending=False)
    return edges[rank <= most]


def all_tables(input, cfg):
    """All tables by name."""
    found = {name: gather.rows(getattr(input, name), schema) for name, schema in PLAIN.items()}
    sweep = gather.rows(input.sweep, schemas.SWEEP)
    runs = gather.rows(input.runs, schemas.NODE_RUNS)
    tests, interpretations = tested(sweep, found["random"], cfg)
    return found | {
        "sweep": curves(sweep, ["model", "task", "condition", "share", "n_removed"], cfg),
        "tests": tests,
        "interpretations": interpretations,
        "nodes": curves(runs, ["model", "task", "condition", "layer", "share", "n_removed"], cfg),
        "node_tests": node_tests(runs, found["node_random"], cfg),
        "composition": composition(found["edges"], gather.rows(input.masks, schemas.MASKS)),
    }


def curves(rows, keys, cfg):
    """Means of loss, metric and accuracy, spread over trials, interval over clusters of examples, by point."""
    kept = []
    for names, group in rows.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, names, strict=True))
        by_trial = group.groupby("trial")[["loss", "metric", "correct"]].mean()
        by_example = group.groupby("example")["loss"].mean().to_numpy(float)
        seed = circuits.seed(cfg["seed"], *names)
        clusters = measures.clusters_of(group)
        low, high = statistics.mean_interval(by_example, cfg["tests"]["bootstrap"], seed, clusters=clusters)
        kept.append(
            row
            | {
                "n_trials": len(by_trial),
                **measures.counts_of(group),
                "loss": by_trial["loss"].mean(),
                "loss_std": by_trial["loss"].std(ddof=0),
                "loss_min": by_trial["loss"].min(),
                "loss_low": low,
                "loss_high": high,
                "metric": by_trial["metric"].mean(),
                "metric_std": by_trial["metric"].std(ddof=0),
                "accuracy": by_trial["correct"].mean(),
                "accuracy_std": by_trial["correct"].std(ddof=0),
            }
        )
    return pd.DataFrame(kept)


def tested(sweep, random, cfg):
    """The tests with q over all of them, and the interpretation of each model and task."""
    rows, others, chosen = [], {}, cfg["tests"]
    for (model, task), mine in sweep.groupby(["model", "task"], sort=False):
        stream = (cfg["seed"], model, task, "weights")
        null = gather.pick(random, model=model, task=task)
        found = [measures.compare(mine, null, c, chosen, stream) for c in cfg["controls"]]
        found.append(measures.against_random(mine, null, chosen, stream))
        ends = gather.pick(null, share=1, condition="circuit")
        about = {"model": model, "task": task}
        rows += [about | row | {"n_weights_random": ends["n_removed"].mean()} for row in found]
        others[model, task] = {
            "size": measures.between(mine, cfg["matched"], "matrix", chosen, stream),
            "active": measures.beyond_active(mine, cfg["matched"], chosen, stream),
        }
    tests = pd.DataFrame(rows)
    # Each control is a question of its own.
    for p_value in ("p_less", "p_value"):
        tests = statistics.with_q(tests, p_value, within=["control"])
    sizes = [each["size"] for each in others.values()]
    q_values = statistics.false_discovery(np.array([each["p_trials"] for each in sizes], dtype=float))
    for each, q_value in zip(sizes, q_values, strict=True):
        each["q_trials"] = statistics.plain(q_value)
    interpretations = []
    for (model, task), mine in tests.groupby(["model", "task"], sort=False):
        named = {row["control"]: row for row in mine.to_dict("records")}
        beside = others[model, task]
        key = measures.interpretation(named, beside["size"], chosen["alpha"], cfg["matched"], cfg["margin"])
        interpretations.append(
            {"model": model, "task": task, "interpretation": key, "in_words": measures.INTERPRETATIONS[key]}
            | {f"{what}_{name}": v for what, row in beside.items() for name, v in row.items()}
        )
    return tests, pd.DataFrame(interpretations)


def node_tests(runs, random, cfg):
    """Necessity and sufficiency of the nodes, with their ranks among random masks."""
    rows = []
    for (model, task), mine in runs.groupby(["model", "task"], sort=False):
        others = gather.pick(random, model=model, task=task)
        clean = mine[mine["condition"] == "clean"].set_index("example")["loss"]
        for direction in ("sufficiency", "necessity"):
            group = mine[mine["condition"] == direction].set_index("example")
            added = (group["loss"] - clean).to_numpy(float)
            seed = circuits.seed(cfg["seed"], model, task, direction)
            clusters = group["cluster"].to_numpy(str)
            low, high = statistics.mean_interval(added, cfg["tests"]["bootstrap"], seed, clusters=clusters)
            loss = float(group["loss"].mean())
            null = others[direction].to_numpy(float)
            p = statistics.rank_p(loss, null, larger=direction == "necessity")
            rows.append(
                {
                    "model": model,
                    "task": task,
                    "direction": direction,
                    "n_examples": len(group),
                    "n_clusters": len(set(clusters)),
                    "loss": loss,
                    "loss_added": added.mean(),
                    "loss_added_low": low,
                    "loss_added_high": high,
                    "accuracy": group["correct"].mean(),
                    "loss_random": null.mean(),
                    "n_random": len(null),
                    "p_value": p,
                }
            )
    return statistics.with_q(pd.DataFrame(rows), "p_value", within=["direction"])


def composition(edges, masks):
    """Active nodes by layer and location, and weights by layer and matrix, of the chosen masks."""
    chosen = masks[masks["chosen"]]
    by_site = chosen.groupby(["model", "task", "layer", "location"], sort=False)["active"]
    nodes = by_site.agg(["sum", "size"]).reset_index()
    nodes = nodes.rename(columns={"location": "place", "sum": "n_active", "size": "n_total"})
    counted = edges.groupby(["model", "task", "layer", "matrix"], sort=False).size()
    weights = counted.rename("n_active").reset_index().rename(columns={"matrix": "place"})
    return pd.concat([nodes.assign(kind="nodes"), weights.assign(kind="weights", n_total=None)], ignore_index=True)


def as_json(sweep, found, cfg):
    """The results in the study's keys, for each model and task."""
    circuit = found["circuits"][found["circuits"]["chosen"]].set_index(["model", "task"])
    nested = {}
    for (model, task), mine in sweep.groupby(["model", "task"], sort=False):
        row = circuit.loc[(model, task)]
        nested.setdefault(model, {})[task] = mask_files.results(mine, row, cfg["matched"])
    return nested
