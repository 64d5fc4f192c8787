"""The head scan: what replacing each head alone does, example by example."""

import time

import pandas as pd

from circuit_reuse.data import tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import ablation, effects, models
from circuit_reuse.engine.output_norms import output_norms
from circuit_reuse.stats import circuits
from circuit_reuse.studies.scaling import schemas, usable


def scan(model, table, reference, cfg, tokens, stream, log):
    """The scan table: every head replaced alone, by every replacement, on every example.

    table:     valid examples of this shard;  reference: those that means are taken over
    cfg:       replacements, metric, accuracy
    returns:   a DataFrame; a mean or donor that does not exist leaves its rows out
    """
    heads = model.space.of_kinds(["head"])
    intact = effects.Intervention(None, "none", [(None, [])])
    alone = effects.Intervention("heads", "remove", [(n, [name]) for n, name in enumerate(heads)])
    norms = output_norms(model, table, tokens)
    parts = []
    for replacement in cfg["replacements"]:
        began = time.monotonic()
        try:
            tested = ablation.replaceable(table, reference, replacement, log)
        except ValueError as problem:
            log.info("%s: no row, so null in what follows: %s", replacement, problem)
            continue
        seed = circuits.seed(*stream, replacement)
        evaluate = effects.Evaluator(
            model, tested, reference, replacement, cfg["metric"], heads, cfg["accuracy"], tokens, seed
        )
        base = evaluate(intact).set_index("example")
        rows = evaluate(alone)
        rows["component"] = [heads[n] for n in rows["control"]]
        rows["base"] = rows["example"].map(base["metric"])
        rows["base_correct"] = rows["example"].map(base["correct"])
        rows["delta"] = rows["metric"] - rows["base"]
        parts.append(rows)
        log.info("%s: %d rows in %.1f s", replacement, len(rows), time.monotonic() - began)
    if not parts:
        raise LeftOut(
            f"no head can be replaced by {' or '.join(cfg['replacements'])} on these examples; add "
            "corrupt to scaling.replacements"
        )
    found = pd.concat(parts, ignore_index=True).merge(norms, on=["example", "component"])
    about = table.set_index("example")
    return found.assign(**{name: found["example"].map(about[name].astype(str)) for name in ("split", "cluster")})


def scan_shard(job):
    """Scan the heads on one shard.

    Means are taken over the train examples of the first shard, so that more examples leave the
    shards that are there as they are.
    """
    cfg, model = job.cfg, models.of_job(job)
    first = usable.usable(job.input.reference, cfg["min_valid"], job.wildcards.task)
    mine = tables.read(job.input.examples, tables.EXAMPLES)
    mine = mine[mine["valid"]].reset_index(drop=True)
    began = time.monotonic()
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, job.wildcards.shard, "scan")
    reference = first[first["split"] == "train"]
    found = scan(model, mine, reference, cfg, job.compute["batch_tokens"], stream, job.log)
    rate = len(found) / max(time.monotonic() - began, 1e-9)
    job.log.info("%d runs of examples with a head replaced, %.0f per second", len(found), rate)
    job.write(job.output.scan, schemas.SCAN, found)
