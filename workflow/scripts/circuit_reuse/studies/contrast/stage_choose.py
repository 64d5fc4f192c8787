"""The stage that chooses circuits under budgets, from scores of differences and of attribution."""

import numpy as np
import pandas as pd

from circuit_reuse.data import circuit_files, components, jobs, tables
from circuit_reuse.stats import circuits, sharing
from circuit_reuse.studies.contrast import budget, schemas


def choose(job):
    """Circuits of every scoring, rule and budget, and how surely components are in them."""
    cfg = job.cfg
    space = job.space
    draws = tables.read(job.input.draws, schemas.DRAWS)
    table = tables.read(job.input.differences, schemas.DIFFERENCES)
    scores = {
        key: dict(zip(mine["component"].astype(str), mine["score"], strict=True))
        for key, mine in table.groupby(["condition", "scoring"], sort=False)
    }
    drawn = {
        (condition, source): np.stack(mine.set_index("component").loc[space.of_kinds(), "score_draws"]).T
        for (condition, source), mine in draws.groupby(["condition", "scored_by"], sort=False)
    }
    rules = {name: (scoring["rules"], scoring["mlp_threshold"]) for name, scoring in cfg["scorings"].items()}
    if job.input.scores:
        name, stream = cfg["attribution"], (cfg["seed"], job.wildcards.model, job.wildcards.set, "draws")
        scores["real", name], drawn["real", name] = attributed(job.input, cfg, space, stream)
        rules[name] = (["ratio", "knapsack"], None)
    rows, found = [], []
    for (condition, source), mine in scores.items():
        mine = {name: mine[name] for name in space.of_kinds() if np.isfinite(mine[name])}
        if not mine:
            continue
        for rule in rules[source][0]:
            budgets = cfg["budgets"] if condition == "real" else []
            for each in dict.fromkeys([cfg["budget"], *budgets]):
                chosen = budget.select(rule, mine, space, budget.resolve(each, space), rules[source][1])
                rows.append(row(chosen, condition, source, rule, each, cfg["budget"], space))
        # In controls, too: a list that is as sure without the difference is not sure of it.
        found += included(drawn[condition, source], mine, rows, condition, source, rules[source], cfg, space)
    for name, file in cfg["circuits"].items():
        read = circuit_files.read(file["file"], space, file.get("keep"))
        used = float(components.cost(read.nodes, space))
        rows.append(row(list(read.nodes), "real", "file", name, used, used, space))
    listed = [draws, *(frame_of(*key, scores, drawn, space) for key in scores if key[1] == cfg["attribution"])]
    job.write(job.output.scores, schemas.DRAWS, pd.concat(listed))
    job.write(job.output.circuits, schemas.CONTRAST_CIRCUITS, rows)
    frame = pd.DataFrame(found, columns=schemas.INCLUSION_DRAWS.names)
    frame["component"] = pd.Categorical(frame["component"], categories=space.names)
    job.write(job.output.inclusion, schemas.INCLUSION_DRAWS, frame)
    job.log.info("%d circuits", len(rows))


def attributed(input, cfg, space, stream):
    """Mean |score| of the train examples by component, and draws of it over their clusters, [draw, component]."""
    examples = tables.read(input.examples, tables.EXAMPLES)
    train = jobs.used(examples, "train")
    values, _, names = sharing.matrix(tables.read(input.scores, tables.SCORES), train["example"])
    sizes, rng = np.abs(values), circuits.generator(*stream)
    order = [names.index(name) for name in space.of_kinds()]
    codes, found = pd.factorize(train["cluster"])
    weights = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), size=cfg["draws"])[:, codes]
    drawn = (weights @ sizes / weights.sum(axis=1, keepdims=True))[:, order]
    return dict(zip(names, sizes.mean(axis=0), strict=True)), drawn


def frame_of(condition, source, scores, drawn, space):
    """Rows of the draws table for the scores of attribution."""
    names = space.of_kinds()
    found = pd.DataFrame(
        {
            "condition": condition,
            "scored_by": source,
            "component": pd.Categorical(names, categories=space.names),
            "score": [scores[condition, source][name] for name in names],
        }
    )
    lists = [column.astype(np.float32) for column in drawn[condition, source].T]
    return found.assign(score_draws=lists, score_null=[[] for _ in names])


def row(chosen, condition, source, rule, each, main, space):
    """A row of the circuits table."""
    return {
        "condition": condition,
        "scored_by": source,
        "rule": rule,
        "budget": float(each),
        "dimensions": int(each) if source == "file" else budget.resolve(each, space),
        "cost": components.cost(chosen, space),
        "main": each == main,
        "circuit": circuits.circuit_id([name for name in chosen if name != "input"]),
        "components": list(chosen),
    }


def included(drawn, scored, rows, condition, source, chosen_by, cfg, space):
    """Rows of the inclusion table: of every rule for the real texts, of the first for the others.

    drawn: [draw, component];  scored: {component: score}, those that can be chosen
    """
    names, at = ([name for name in space.of_kinds() if name in scored], budget.resolve(cfg["budget"], space))
    drawn = drawn[:, [name in scored for name in space.of_kinds()]]
    (rules, threshold), found = chosen_by, []
    for rule in rules if condition == "real" else rules[:1]:
        shares = budget.inclusion(drawn, names, rule, space, at, threshold)
        chosen = next(
            each["components"]
            for each in rows
            if each["main"] and (each["condition"], each["scored_by"], each["rule"]) == (condition, source, rule)
        )
        found += [
            {
                "condition": condition,
                "scored_by": source,
                "rule": rule,
                "component": name,
                "in_circuit": name in chosen,
                "frequency": share,
            }
            for name, share in zip(names, shares, strict=True)
        ]
    return found


def as_file(row, scores, space, about):
    """A circuit_files.Circuit of a row of the circuits table; scores: {component: score}."""
    inside = list(row["components"])
    known = {name: float(score) for name, score in scores.items() if np.isfinite(score)}
    return circuit_files.Circuit(
        nodes={name: known.get(name) for name in inside},
        outside={name: score for name, score in known.items() if name not in set(inside)},
        shape=space,
        stated={"budget": int(row["dimensions"])},
        about=about,
    )
