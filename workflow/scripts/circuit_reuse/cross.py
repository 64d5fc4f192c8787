"""The stage that removes the shared circuit of each task on every task."""

import pandas as pd

from circuit_reuse import ablation, circuits, effects, left_out, sharing, tables, testing


def cross_effects(input, output, params, wildcards, threads, log):
    """Run the shared circuit of every task on every task; see cross_tasks.py."""
    cfg = params.cfg
    chosen = cfg["cross_task"]
    found, tasks = {}, left_out.only(cfg["tasks"], input.circuits, "/{}/circuits/".format)
    for task in tasks:
        path = next(path for path in input.circuits if f"/{task}/circuits/" in path)
        table = tables.read(path, tables.CIRCUITS)
        row = table[
            (table["kind"] == "shared")
            & (table["top_k"] == chosen["top_k"])
            & (table["threshold"] == chosen["threshold"])
        ].iloc[0]
        circuit = sharing.shared_circuits(table).get(row["circuit"])
        names, controls = circuit if circuit else ([], [])
        found[task] = (row["circuit"], names, controls[: chosen["controls"]])
    run = {key: (names, controls) for key, names, controls in found.values() if key != "empty"}
    stage = ablation.Stage(input, params, threads, log)
    frames, rows = [], []
    for target in tasks:
        mine = [path for path in input.examples if f"/{target}/examples/" in path]
        examples = tables.read_all(mine, tables.EXAMPLES)
        frame = stage.run(
            output.effects,
            effects.units_of(run, ["remove"]),
            examples,
            cfg["replacement"],
            cfg["accuracy"][target],
            wildcards,
        )
        frames.append(frame)
        outcomes = testing.Outcomes(frame)
        stream = (cfg["seed"], wildcards.model, wildcards.method, "cross", target)
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
    about = {"cfg": cfg, "model": stage.fingerprint}
    tables.write(output.effects, tables.EFFECTS, everything, **about)
    tables.write(output.table, tables.CROSS, rows, **about)
