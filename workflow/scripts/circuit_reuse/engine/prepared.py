"""Examples made ready for many circuits: clean runs, and what removed components are replaced by, made once."""

from typing import NamedTuple

from circuit_reuse.engine import ablation_values, batching, interventions, models


class Prepared(NamedTuple):
    """A batch with its clean run (interventions.Base) and what is put in for removed components."""

    batch: batching.Batch
    base: interventions.Base
    instead: interventions.Activations


def prepared(model, examples, reference, replacement, tokens, seed=0):
    """Yields Prepared, for all examples.

    examples:    rows of the examples table, numbered from 0
    reference:   those that means are taken over;  replacement: zero, mean, corrupt or resample
    tokens:      tokens of one run;  seed: of the donors of resample
    """
    models.check_ready(model)
    means = ablation_values.reference_mean(model, reference, tokens) if replacement == "mean" else {}
    donor = ablation_values.donors(examples, seed) if replacement == "resample" else None
    for batch in batching.batches(examples, tokens, model.device):
        if replacement == "corrupt":
            batch = batch.shortened(model)
        base, clean = interventions.base(model, batch.clean, batch.prefix)
        if replacement == "resample":
            other = batching.batch_of(examples, list(donor[batch.rows]), model.device)
            yield Prepared(batch, base, interventions.run(model, other.clean)[1])
        else:
            yield Prepared(
                batch, base, ablation_values.replacement_activations(model, batch, clean, replacement, means)
            )


def values(last, batch, sets, metric):
    """Metrics of a run of several sets of components, [set, example], as numpy; last: [set * example, vocabulary]."""
    found = models.metric_values(last, *batch.targets(sets), metric)
    return found.view(sets, -1).float().cpu().numpy()
