"""The stages that run circuits: on their own task, and on every other."""

import time
from pathlib import Path

import pandas as pd

from circuit_reuse import circuits, effects, fingerprint, models, sharing, tables, testing


def task_effects(input, output, params, wildcards, threads, log):
    """Run all shared circuits of a task and their controls; see run_effects.py."""
    cfg = params.cfg
    examples = tables.read_all(input.examples, tables.EXAMPLES)
    table = sharing.shared_circuits(tables.read(input.circuits, tables.CIRCUITS))
    chosen = cfg["ablation"]
    units = effects.units_of(table, chosen["directions"], chosen["keep_controls"])
    stage = Stage(input, params, threads, log)
    frame = stage.run(
        output.effects, units, examples, cfg["ablation"]["replacement"], cfg["accuracy"], wildcards
    )
    tables.write(output.effects, tables.EFFECTS, frame, cfg=cfg, model=stage.fingerprint)


def cross_effects(input, output, params, wildcards, threads, log):
    """Run the shared circuit of every task on every task; see cross_tasks.py."""
    cfg = params.cfg
    chosen = cfg["cross_task"]
    found = {}
    for task in cfg["tasks"]:
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
    stage = Stage(input, params, threads, log)
    frames, rows = [], []
    for target in cfg["tasks"]:
        mine = [path for path in input.examples if f"/{target}/examples/" in path]
        examples = tables.read_all(mine, tables.EXAMPLES)
        frame = stage.run(
            output.effects, effects.units_of(run, ["remove"]), examples, cfg["replacement"],
            cfg["accuracy"][target], wildcards,
        )  # fmt: skip
        frames.append(frame)
        outcomes = testing.Outcomes(frame)
        stream = (cfg["seed"], wildcards.model, wildcards.method, "cross", target)
        for source, (key, names, controls) in found.items():
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
                "jaccard": circuits.jaccard(names, found[target][1]),
            }
            if key != "empty" and controls:
                base |= testing.cross_row(outcomes, key, cfg, stream)
            rows.append(base)
    everything = pd.concat(frames, ignore_index=True)
    about = {"cfg": cfg, "model": stage.fingerprint}
    tables.write(output.effects, tables.EFFECTS, everything, **about)
    tables.write(output.table, tables.CROSS, rows, **about)


class Stage:
    """A loaded model (loaded when first needed) with what its rows are keyed by."""

    def __init__(self, input, params, threads, log):
        self.folder = fingerprint.folder_of(input.model)
        self.fingerprint = fingerprint.read_description(input.about)["fingerprint"]
        self.params, self.threads, self.log = params, threads, log
        self.model = None

    def loaded(self):
        """The model."""
        if self.model is None:
            compute, cfg = self.params.compute, self.params.cfg
            self.model = models.load(self.folder, compute["device"], cfg["dtype"], self.threads)
        return self.model

    def run(self, path, units, examples, replacement, accuracy, wildcards):
        """The effects of units on the held-out examples, old rows reused; logs how many."""
        cfg, valid = self.params.cfg, examples[examples["valid"]]
        tested = valid[valid["split"] == "held_out"]
        reference = valid[valid["split"] == "train"]
        seed = circuits.generator(cfg["seed"], wildcards.model, "resample").integers(2**31)
        space = fingerprint.shape(self.folder)
        context = effects.context_of(
            self.fingerprint, tested, reference if replacement == "mean" else reference[:0],
            [replacement, accuracy, cfg["dtype"], sorted(cfg["kinds"])], cfg["metric"],
            space.names, self.params.code, int(seed),
        )  # fmt: skip
        evaluator = None

        def evaluate(unit):
            nonlocal evaluator
            if evaluator is None:
                evaluator = effects.Evaluator(
                    self.loaded(), tested, reference, replacement, cfg["metric"],
                    space.of_kinds(cfg["kinds"]), accuracy, self.params.compute["batch_size"],
                    int(seed),
                )  # fmt: skip
            return evaluator(unit)

        began = time.monotonic()
        frame, kept, new = effects.update(earlier(path), units, context, evaluate)
        rows = sum(len(unit.sets) for unit in units) * len(tested)
        self.log.info(
            "%d units of circuits and controls reused, %d evaluated; %d rows in %.1f s",
            kept, new, rows, time.monotonic() - began,
        )  # fmt: skip
        return frame


def earlier(path):
    """The effects of an earlier run, or None if there is none that can be read."""
    if not Path(path).is_file():
        return None
    try:
        return tables.read(path, tables.EFFECTS)
    except (ValueError, OSError):
        return None
