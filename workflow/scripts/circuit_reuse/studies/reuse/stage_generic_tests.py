"""The stage that compares what ordinary text loses without a circuit with what it loses without random sets."""

import numpy as np

from circuit_reuse.data import gather, tables
from circuit_reuse.stats import circuits, testing
from circuit_reuse.stats.sharing import matched, matched_of
from circuit_reuse.studies.reuse import schemas
from circuit_reuse.studies.reuse.generic import generic_row
from circuit_reuse.studies.reuse.shared_circuits import chosen, chosen_circuits


def test(job):
    """The generic table of a model, a row for every task with a shared circuit, and the sets that it is compared with."""
    cfg = job.cfg
    runs = tables.read(job.input.runs, schemas.GENERIC_RUNS)
    losses = {
        name: part.pivot(index="control", columns="text", values="loss").to_numpy()
        for name, part in runs.assign(control=runs["control"].fillna(-1)).groupby("circuit")
    }
    rows, sets = [], []
    paths = gather.one_by(job.input.effects, "task")
    for task, (key, names, _) in chosen_circuits(job.input.circuits, cfg["cross_task"]).items():
        if key == "empty":
            continue
        outcomes = testing.Outcomes(tables.read(paths[task], tables.EFFECTS))
        # The first random sets of those that were removed on the task.
        removed = np.concatenate([losses[key], losses.get(matched_of(key, task), losses[key][:0])])
        own = (outcomes.circuit(key, "remove", "metric") - outcomes.baseline("metric")).mean()
        effects = np.append(own, testing.random_effects(outcomes, matched(key)))[: len(removed)]
        seed = circuits.seed(cfg["seed"], job.wildcards.model, key, "ordinary text")
        at = chosen(cfg["cross_task"])
        row = generic_row(losses["intact"][0], removed, effects, cfg, seed)
        guessing = float(runs["loss_guessing"].iloc[0])
        rows.append({"task": task, **at, "circuit": key, "n_components": len(names), "loss_guessing": guessing, **row})
        change = (removed - losses["intact"][0]).mean(axis=1)
        sets += [
            {"task": task, "control": number - 1 if number else None, "loss_change": loss, "effect": effect}
            for number, (loss, effect) in enumerate(zip(change.tolist(), effects.tolist(), strict=True))
        ]
    job.write(job.output.generic, schemas.GENERIC, rows)
    job.write(job.output.sets, schemas.GENERIC_SETS, sets)
