"""Circuits and their controls run on held-out examples; what was run before under the same key is kept."""

import time
from functools import cached_property

from circuit_reuse.data import tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import effects, models
from circuit_reuse.stats import circuits


class Stage:
    """A loaded model (loaded when first needed) with what its rows are keyed by."""

    def __init__(self, job):
        self.job, self.log = job, job.log

    @cached_property
    def model(self):
        """The model."""
        return models.of_job(self.job)

    def run(self, path, asked, examples, replacement, accuracy):
        """The effects of interventions on the held-out examples, old rows reused; logs how many."""
        cfg, used = self.job.cfg, examples[examples["used"]]
        reference = used[used["split"] == "train"]
        tested = replaceable(used[used["split"] == "held_out"], reference, replacement, self.log)
        seed = circuits.generator(cfg["seed"], self.job.wildcards.model, "resample").integers(2**31)
        space = self.job.space
        context = effects.context_of(
            self.job.model,
            tested,
            reference if replacement == "mean" else reference[:0],
            [replacement, accuracy, cfg["dtype"], sorted(cfg["kinds"])],
            cfg["metric"],
            space.names,
            self.job.params.rows_code,
            int(seed),
        )
        evaluator = None

        def evaluate(intervention):
            nonlocal evaluator
            if evaluator is None:
                evaluator = effects.Evaluator(
                    self.model,
                    tested,
                    reference,
                    replacement,
                    cfg["metric"],
                    space.of_kinds(cfg["kinds"]),
                    accuracy,
                    self.job.compute["batch_tokens"],
                    int(seed),
                )
            return evaluator(intervention)

        began = time.monotonic()
        frame, kept, new = effects.update(tables.earlier(path, tables.EFFECTS), asked, context, evaluate)
        # Rows that were kept may have been written when examples had other clusters.
        frame["cluster"] = frame["example"].map(
            dict(zip(tested["example"], tested["cluster"].astype(str), strict=True))
        )
        rows = sum(len(intervention.sets) for intervention in asked) * len(tested)
        self.log.info(
            "%d interventions of circuits and controls reused, %d evaluated; %d rows in %.1f s",
            kept,
            new,
            rows,
            time.monotonic() - began,
        )
        return frame[tables.EFFECTS.names]


def replaceable(tested, reference, replacement, log):
    """The examples for which a replacement exists: means and donors need an equal length.

    raises: LeftOut if there is none
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
