"""The tables of the sequence study over all models and tasks."""

from pathlib import Path

import pandas as pd

from circuit_reuse.data import components, csv_tables, fingerprint, gather, tables
from circuit_reuse.stats import clusters, statistics, testing
from circuit_reuse.studies.sequences import findings, measures, schemas

RANDOM = ("previous_token", "duplicate_token", "induction")
ITEMS = ("same_type", "last_to_items")


def summarise(job):
    """Write every table of the study, and the findings."""
    cfg = job.cfg
    found = {name: csv_tables.lists_as_text(table) for name, table in all_tables(job.input, cfg).items()}
    job.write_csvs(found, schemas.CSVS)
    Path(job.output.details).write_text(findings.text(found, cfg), encoding="utf-8")
    job.log.info("%d tables", len(found))


def gather_measures(input, cfg):
    """Cross-task scores and importances, from the effects of each model and task."""
    named = gather.rows(input.circuits, schemas.NAMED)
    shapes = {model: fingerprint.space_of(about) for model, about in gather.described(input.about).items()}
    cross, importance = [], []
    for (model, task), path in gather.one_by(input.effects, "model", "task").items():
        mine = named[named["model"] == model]
        outcomes = testing.Outcomes(tables.read(path, tables.EFFECTS))
        stream = (cfg["seed"], model, task, "cross")
        cross += [{"model": model, **row} for row in measures.cross_rows(outcomes, mine, task, cfg, stream)]
        names = shapes[model].of_kinds()
        found = measures.importance_rows(outcomes, mine, names, task, cfg, stream)
        found += measures.file_drops(outcomes, mine, task, cfg, stream)
        importance += [{"model": model, **row} for row in found]
    return pd.DataFrame(cross), pd.DataFrame(importance)


def all_tables(input, cfg):
    """All tables by the names of the outputs."""
    pruned = gather.rows(input.pruned, schemas.PRUNED)
    cross, importance = gather_measures(input, cfg)
    inclusion = gather.rows(input.inclusion, schemas.INCLUSION)
    overlap, tasks = gather.rows(input.overlap, schemas.OVERLAP), pruned["task"].unique()
    # A family of every two circuits of tasks, heads and MLPs together.
    family = (overlap["kind"] == "all") & overlap["first"].isin(tasks) & overlap["second"].isin(tasks)
    for column in ("p_value", "p_layers"):
        overlap = statistics.with_q(overlap, column, where=family)
    importance = with_pruning(importance, inclusion, gather.rows(input.steps, schemas.STEPS), cfg)
    ov = gather.rows(input.ov, schemas.OV)
    motifs = pd.concat(
        [
            gather.rows(input.random_motifs, schemas.MOTIFS).assign(task="random tokens"),
            gather.rows(input.motifs, schemas.MOTIFS),
        ],
        ignore_index=True,
    )
    direct = gather.rows(input.direct, schemas.DIRECT)
    spectrum = gather.rows(input.spectrum, schemas.SPECTRUM)
    stability = [
        {"model": model, "task": task, **row}
        for (model, task), part in pruned.groupby(["model", "task"], sort=False)
        for row in measures.stability_rows(part)
    ]
    return {
        "cross": statistics.with_q(cross, "p_value", within=("asked_of",)),
        "overlap": overlap,
        "circuits": pruned,
        "stability": pd.DataFrame(stability),
        "inclusion": inclusion,
        "pareto_front": gather.rows(input.pareto_front, schemas.PARETO_FRONT),
        "importance": importance,
        "edges": gather.rows(input.edges, schemas.PATHS),
        "cuts": gather.rows(input.cuts, schemas.CUT),
        "functions": functions_csv(importance, ov, motifs, direct, spectrum, cfg),
        "ov": ov,
        "motifs": motifs,
        "lens": gather.rows(input.lens, schemas.LENS),
        "direct": direct,
        "neurons": gather.rows(input.neurons, schemas.NEURONS),
        "neuron_inputs": gather.rows(input.neuron_inputs, schemas.NEURON_INPUTS),
        "spectrum": spectrum,
        "lengths": lengths_csv(gather.rows(input.lengths, schemas.LENGTHS)),
    }


def with_pruning(importance, inclusion, steps, cfg):
    """Importances with q, how often pruning runs kept each component, and what its removal changed.

    score_change: mean change of the score when pruning runs took it out; positive if it worked against the task
    """
    for column in ("p_from_full", "p_in_circuit_drop", "p_against"):
        if column in importance:
            importance = statistics.with_q(importance, column, within=["model", "task"])
    keys = ["model", "task", "component"]
    chosen = inclusion[inclusion["threshold"] == cfg["threshold"]]
    wide = chosen.pivot_table(index=keys, columns="over", values="frequency")
    wide = wide.rename(columns=lambda over: f"frequency_{over}").reset_index()
    gone = gather.pick(steps, threshold=cfg["threshold"], action="remove")
    gone = gone.groupby(keys)["score_change"].mean().rename("score_change").reset_index()
    table = importance.merge(wide, on=keys, how="left") if len(wide) else importance
    return table.merge(gone, on=keys, how="left")


def functions_csv(importance, ov, motifs, direct, spectrum, cfg):
    """One row a head: importance, frequency and direct attribution per task, scores, motif."""
    own = importance if "circuit" not in importance else importance[importance["circuit"].isna()]
    heads = own[own["component"].str.contains("h")]
    table = heads[["model", "component"]].drop_duplicates().reset_index(drop=True)
    keys = ["model", "component"]

    def join(rows, column, name):
        nonlocal table
        for task, part in rows.groupby("task", sort=False):
            column_of = part[[*keys, column]].rename(columns={column: f"{name}_{task}"})
            table = table.merge(column_of, on=keys, how="left")

    for column in ("in_circuit", "in_circuit_drop", "from_full", "frequency_orders", "frequency_draws"):
        if column in heads:
            join(heads[heads["task"].isin(cfg["tasks"])], column, column)
    join(direct[direct["task"].isin(cfg["tasks"])], "attribution", "direct")
    for score in ("next", "copy", "previous"):
        mine = schemas.seen(ov)
        mine = mine[mine["kind"] == score]
        join(mine[mine["position"].isna()], "share", score)
        last = mine.groupby(["model", "task"])["position"].transform("max")
        join(mine[mine["position"] == last], "share", f"{score}_last")
    for motif in RANDOM:
        mine = gather.pick(motifs, motif=motif, task="random tokens")
        table = table.merge(above(mine, motif, keys), on=keys, how="left")
    for motif in ITEMS:
        mine = motifs[(motifs["motif"] == motif) & motifs["task"].isin(cfg["tasks"])]
        table = table.merge(above(mine, motif, keys), on=keys, how="left")
    spread = spectrum.groupby(keys)[["members", "members_null"]].mean().reset_index()
    table = table.merge(
        spread.rename(columns={"members": "spectrum_members", "members_null": "spectrum_members_null"}),
        on=keys,
        how="left",
    )
    place = table["component"].map(components.place)
    table.insert(2, "layer", [layer for layer, _ in place])
    table.insert(3, "head", [head for _, head in place])
    values = table[[f"{name}_above" for name in (*RANDOM, *ITEMS)]].astype(float).fillna(0)
    best, size = values.idxmax(axis=1).str.removesuffix("_above"), values.max(axis=1)
    table.insert(4, "motif", best.where(size >= cfg["motif"], "none"))
    return table


def above(rows, motif, keys):
    """Attention on a motif, and how far it is above even attention: 0 even, 1 all."""
    means = rows.groupby(keys)[["attention", "attention_null"]].mean().reset_index()
    more = (means["attention"] - means["attention_null"]) / (1 - means["attention_null"])
    return means[keys].assign(**{motif: means["attention"], f"{motif}_above": more})


def lengths_csv(rows):
    """Behaviour by length: mean probability with its t interval, quartiles of the rank."""
    keys = ["model", "task", "length"]
    mean = clusters.means_by(rows, "probability", keys)
    table = (
        rows.groupby(keys, sort=False)
        .agg(
            rank=("rank", "median"),
            rank_quartile_1=("rank", lambda r: r.quantile(0.25)),
            rank_quartile_3=("rank", lambda r: r.quantile(0.75)),
            top1=("rank", lambda r: (r == 1).mean()),
            logit_difference=("logit_difference", "mean"),
        )
        .reset_index()
    )
    mean = mean.rename(columns={name: f"probability_{name}" for name in ("low", "high")} | {"mean": "probability"})
    mean["probability_low"] = mean["probability_low"].clip(lower=0)
    mean["probability_high"] = mean["probability_high"].clip(upper=1)
    return mean.drop(columns="standard_error").merge(table, on=keys)
