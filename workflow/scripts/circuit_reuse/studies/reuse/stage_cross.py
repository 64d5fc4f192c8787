"""The stage that removes the shared circuit of each task on every task."""

import pandas as pd

from circuit_reuse.data import gather, tables
from circuit_reuse.engine import ablation, effects
from circuit_reuse.stats import circuits, sharing, testing
from circuit_reuse.studies.reuse import schemas


def cross_effects(job):
    """Run the shared circuit of every task on every task."""
    cfg = job.cfg
    chosen = cfg["cross_task"]
    paths, found = gather.one_by(job.input.circuits, "task"), {}
    # What was left out is not among the inputs.
    tasks = [task for task in cfg["tasks"] if task in paths]
    for task in tasks:
        table = tables.read(paths[task], schemas.CIRCUITS)
        row = table[
            (table["kind"] == "shared")
            & (table["top_k"] == chosen["top_k"])
            & (table["threshold"] == chosen["threshold"])
        ].iloc[0]
        circuit = sharing.shared_circuits(table).get(row["circuit"])
        names, controls = circuit if circuit else ([], [])
        found[task] = (row["circuit"], names, controls[: chosen["controls"]])
    run = {key: (names, controls) for key, names, controls in found.values() if key != "empty"}
    stage = ablation.Stage(job)
    frames, rows, pairs = [], [], gather.by(job.input.examples, "task")
    for target in tasks:
        examples = tables.read_all(pairs[target], tables.EXAMPLES)
        frame = stage.run(
            job.output.effects,
            effects.interventions_of(run, ["remove"]),
            examples,
            cfg["replacement"],
            cfg["accuracy"][target],
        )
        frames.append(frame)
        outcomes = testing.Outcomes(frame)
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.method, "cross", target)
        for source, (key, names, _) in found.items():
            base = {
                "source": source,
                "target": target,
                "top_k": float(chosen["top_k"]),
                "threshold": float(chosen["threshold"]),
                "circuit": key,
                "circuit_size": len(names),
                "n_examples": len(outcomes.examples),
                "n_controls": 0,
                "accuracy": float(outcomes.baseline("correct").mean()),
                "jaccard": circuits.jaccard(names, found[target][1]) if names or found[target][1] else None,
            }
            if key != "empty":
                base |= testing.cross_row(outcomes, key, cfg, stream)
            rows.append(base)
    everything = pd.concat(frames, ignore_index=True)
    job.write(job.output.effects, tables.EFFECTS, everything)
    job.write(job.output.table, schemas.CROSS, rows)
