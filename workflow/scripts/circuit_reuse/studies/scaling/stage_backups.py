"""The stage that removes every other head once the heroes are gone."""

from circuit_reuse.data import tables
from circuit_reuse.engine import ablation, effects, models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.scaling import backups, schemas, usable


def scan(job):
    """What each head does without the heroes, on the first held-out examples, beside what it does alone there."""
    cfg = job.cfg
    table = usable.usable(job.input.examples, cfg["min_valid"], job.wildcards.task)
    tested, reference = usable.held_out(table, cfg["examples"]), table[table["split"] == "train"]
    tested = ablation.replaceable(tested, reference, cfg["replacement"], job.log)
    gone = backups.gone(tables.read(job.input.sets, schemas.HERO_SETS), cfg["heroes"])
    if not gone:
        job.log.warning("no heads to remove first: the train split has no heroes")
        job.write(job.output.runs, schemas.BACKUP_RUNS, [])
        return
    model = models.of_job(job)
    heads = [name for name in model.space.of_kinds(["head"]) if name not in gone]
    seed = circuits.seed(cfg["seed"], job.wildcards.model, job.wildcards.task, "backups")
    evaluate = effects.Evaluator(
        model,
        tested,
        reference,
        cfg["replacement"],
        cfg["metric"],
        heads,
        cfg["accuracy"],
        job.compute["batch_tokens"],
        seed,
    )
    sets = [(None, gone), *((n, [*gone, name]) for n, name in enumerate(heads))]
    rows = evaluate(effects.Intervention("heroes", "remove", sets))
    without = rows[rows["control"].isna()].set_index("example")["metric"]
    rows = rows[rows["control"].notna()].reset_index(drop=True)
    rows["component"] = [heads[int(n)] for n in rows["control"]]
    rows["delta_given"] = rows["metric"] - rows["example"].map(without)
    alone = tables.read(job.input.scan, schemas.SCAN)
    alone = alone[alone["replacement"] == cfg["replacement"]].rename(columns={"delta": "delta_alone"})
    alone = alone.assign(component=alone["component"].astype(str))[["example", "component", "delta_alone"]]
    rows = rows.merge(alone, on=["example", "component"], validate="one_to_one")
    job.write(job.output.runs, schemas.BACKUP_RUNS, rows.assign(n_heroes=len(gone)))
    job.log.info("%d heads without %s", len(heads), ", ".join(gone))
