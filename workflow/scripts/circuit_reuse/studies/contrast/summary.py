"""The tables of the contrast study over all models and sets."""

from pathlib import Path

import pandas as pd

from circuit_reuse.data import fingerprint, gather, tables
from circuit_reuse.stats import statistics
from circuit_reuse.stats.testing import Outcomes
from circuit_reuse.studies.contrast import findings, measures, schemas


def summarise(job):
    """Write every table of the study and its findings."""
    cfg = job.cfg
    found = all_tables(job.input, cfg)
    job.write_csvs(found, schemas.CSVS)
    Path(job.output.details).write_text(findings.text(found, cfg), encoding="utf-8")
    job.log.info("%d tables", len(found))


def all_tables(input, cfg):
    """All tables by name."""
    differences = gather.rows(input.differences, schemas.DIFFERENCES)
    chosen = gather.rows(input.circuits, schemas.CONTRAST_CIRCUITS)
    inclusion = gather.rows(input.inclusion, schemas.INCLUSION_DRAWS)
    effects = gather.one_by(input.effects, "model", "set")
    examples, alone = (gather.one_by(paths, "model", "task") for paths in (input.examples, input.single))
    spaces = {model: fingerprint.space_of(about) for model, about in gather.described(input.about).items()}
    behaviour, budget_sweep, single = [], [], []
    for (model, name), mine in chosen.groupby(["model", "set"], sort=False):
        if (model, name) not in effects:
            continue
        outcomes = Outcomes(tables.read(effects[model, name], tables.EFFECTS))
        stream = (cfg["seed"], model, name, "contrast")
        about = {"model": model, "set": name}
        behaviour += [about | row for row in measures.tested(outcomes, mine, spaces[model], cfg, stream)]
        budget_sweep += [about | row for row in measures.budget_sweep(outcomes, mine, cfg, stream)]
        task = cfg["behaviours"][name]
        scores = tables.read(alone[model, task], tables.SCORES)
        rows = measures.singles(scores, tables.read(examples[model, task], tables.EXAMPLES), cfg, stream)
        single += [about | row for row in rows]
    tested = pd.DataFrame(behaviour, columns=["model", "set", *measures.TESTED])
    # Circuits by difference, by attribution and from files are questions apart.  Rules often choose the same circuit: it is tested once.
    origin = tested["scored_by"].where(tested["scored_by"].isin([cfg["attribution"], "file"]), "difference")
    tested = tested.assign(origin=origin)
    for name in ("p_faithfulness", "p_effect_share"):
        tested = statistics.with_q(tested, name, within=["origin"], once=("model", "set", "circuit", "origin"))
    tested = tested.drop(columns="origin")
    single = pd.DataFrame(single, columns=["model", "set", *measures.SINGLE])
    for name in ("p_effect", "p_absent"):
        single = statistics.with_q(single, name, within=("model", "set"))
    return {
        "differences": differences,
        "circuits": chosen,
        "inclusion": inclusion,
        "tests": tested,
        "budget_sweep": pd.DataFrame(budget_sweep, columns=["model", "set", *measures.BUDGET_SWEEP]),
        "components": measures.joined(differences, single, cfg),
        "lengths": measures.lengths(differences, chosen, cfg),
    }
