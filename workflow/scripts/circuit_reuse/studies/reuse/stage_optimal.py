"""The stage that removes the shared circuit, and random sets of its layers, by the constants that do least harm."""

import pandas as pd

from circuit_reuse.data import tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import interventions, models, optimal_ablation, progress
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import schemas
from circuit_reuse.studies.reuse.shared_circuits import chosen_circuits


def ablate(job):
    """Metric and divergence of each held-out example without each set, by learned constants and by means."""
    cfg, tokens = job.cfg, job.compute["batch_tokens"]
    key, names, _ = chosen_circuits([job.input.circuits], cfg["cross_task"])[job.wildcards.task]
    if key == "empty":
        raise LeftOut("no component is shared, so there is nothing to remove")
    drawn = sharing.random_sets(tables.read(job.input.circuits, schemas.CIRCUITS)).get(sharing.matched(key), [])
    sets = [(None, names), *enumerate(drawn[: cfg["random_sets"]])]
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    used = examples[examples["used"]]
    train, test = (used[used["split"] == split].reset_index(drop=True) for split in ("train", "held_out"))
    model = models.of_job(job)
    fitting, testing = (optimal_ablation.prepared(model, rows, tokens) for rows in (train, test))
    start = interventions.mean_outputs(model, [batch.clean for batch in fitting[0]])
    order = test.iloc[[row for batch in testing[0] for row in batch.rows]]
    about = {name: order[name].to_numpy() for name in ("example", "cluster")}
    parts = []
    for control, chosen in progress.bar(sets, desc="optimal ablation", unit="set"):
        settings = cfg["steps"], cfg["rate"]
        learned, best, first = optimal_ablation.learn(model, *fitting, chosen, start, *settings)
        metric, kl = optimal_ablation.outcomes(model, *testing, learned, cfg["metric"])
        means = optimal_ablation.Constants(chosen, start)
        metric_mean, kl_mean = optimal_ablation.outcomes(model, *testing, means, cfg["metric"])
        job.log.info(
            "%s: KL on train examples from %.4f to %.4f", "circuit" if control is None else control, first, best
        )
        rows = pd.DataFrame(about | {"metric": metric, "kl": kl, "metric_mean": metric_mean, "kl_mean": kl_mean})
        parts.append(rows.assign(control=control, clean_metric=order["clean_metric"].to_numpy(float)))
    frame = pd.concat(parts, ignore_index=True)
    frame["control"] = frame["control"].astype("Int32")
    frame["circuit"], frame["n_components"] = key, len(names)
    job.write(job.output.runs, schemas.OPTIMAL_RUNS, frame)
