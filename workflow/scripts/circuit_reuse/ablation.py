"""The stage that runs circuits and their controls on held-out examples."""

import time
from pathlib import Path

from circuit_reuse import circuits, effects, fingerprint, models, sharing, tables
from circuit_reuse.left_out import LeftOut


def task_effects(input, output, params, wildcards, threads, log):
    """Run all shared circuits of a task and their controls; see run_effects.py."""
    cfg = params.cfg
    examples = tables.read_all(input.examples, tables.EXAMPLES)
    table = tables.read(input.circuits, tables.CIRCUITS)
    chosen = cfg["ablation"]
    units = effects.units_of(
        sharing.shared_circuits(table), chosen["directions"], chosen["keep_controls"], sharing.random_sets(table)
    )
    stage = Stage(input, params, threads, log)
    frame = stage.run(output.effects, units, examples, cfg["ablation"]["replacement"], cfg["accuracy"], wildcards)
    tables.write(output.effects, tables.EFFECTS, frame, cfg=cfg, model=stage.fingerprint)


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
        cfg, used = self.params.cfg, examples[examples["used"]]
        reference = used[used["split"] == "train"]
        tested = replaceable(used[used["split"] == "held_out"], reference, replacement, self.log)
        seed = circuits.generator(cfg["seed"], wildcards.model, "resample").integers(2**31)
        space = fingerprint.shape(self.folder)
        context = effects.context_of(
            self.fingerprint,
            tested,
            reference if replacement == "mean" else reference[:0],
            [replacement, accuracy, cfg["dtype"], sorted(cfg["kinds"])],
            cfg["metric"],
            space.names,
            self.params.rows_code,
            int(seed),
        )
        evaluator = None

        def evaluate(unit):
            nonlocal evaluator
            if evaluator is None:
                evaluator = effects.Evaluator(
                    self.loaded(),
                    tested,
                    reference,
                    replacement,
                    cfg["metric"],
                    space.of_kinds(cfg["kinds"]),
                    accuracy,
                    self.params.compute["batch_tokens"],
                    int(seed),
                )
            return evaluator(unit)

        began = time.monotonic()
        frame, kept, new = effects.update(earlier(path), units, context, evaluate)
        rows = sum(len(unit.sets) for unit in units) * len(tested)
        self.log.info(
            "%d units of circuits and controls reused, %d evaluated; %d rows in %.1f s",
            kept,
            new,
            rows,
            time.monotonic() - began,
        )
        return frame[tables.EFFECTS.names]


def replaceable(tested, reference, replacement, log):
    """The examples for which a replacement exists: means and donors need an equal length.

    raises: ValueError if there is none
    """
    lengths = tested["length"]
    if replacement == "mean":
        tested = tested[lengths.isin(set(reference["length"]))]
    elif replacement == "resample":
        tested = tested[lengths.map(lengths.value_counts()) > 1]
    if len(tested) < len(lengths):
        log.info(
            "%d of %d held-out examples have no counterpart of their length and are left out",
            len(lengths) - len(tested),
            len(lengths),
        )
    if tested.empty:
        raise LeftOut(
            f"no held-out example can be tested with replacement {replacement!r}: none has the "
            "length of another; use more examples or ablation.replacement: corrupt"
        )
    return tested


def earlier(path):
    """The effects of an earlier run, or None if there is none that can be read."""
    if not Path(path).is_file():
        return None
    try:
        return tables.read(path, tables.EFFECTS)
    except (ValueError, OSError):
        return None
