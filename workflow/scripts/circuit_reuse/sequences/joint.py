"""The tables of the sequence study over all models and tasks."""

from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse import components, fingerprint, jobs, pages, statistics, tables
from circuit_reuse.sequences import findings, measures, schemas

RANDOM = ("previous_token", "duplicate_token", "induction")
ITEMS = ("same_type", "last_to_items")


def summarise(input, output, params, wildcards, threads, log):
    """Write every table of the study, and the findings; see summarise_sequences.py."""
    cfg = params.cfg
    found = gather(input, cfg)
    for name, table in found.items():
        table.to_csv(getattr(output, name), index=False)
    text = findings.text(found, cfg)
    Path(output.findings).write_text(text)
    Path(output.page).write_text(pages.page(text))
    log.info("%d tables", len(found))


def gather_measures(input, cfg):
    """Cross-task scores and importances, from the effects of each model and task."""
    named = jobs.frames(input.circuits, schemas.NAMED, 1)
    shapes = {Path(path).parts[-2]: fingerprint.read_description(path) for path in input.about}
    cross, importance = [], []
    for path in map(Path, input.effects):
        model, task = path.parts[-4], path.parts[-2]
        mine = named[named["model"] == model]
        effects = tables.read(path, tables.EFFECTS)
        stream = (cfg["seed"], model, task, "cross")
        cross += [{"model": model, **row} for row in measures.cross_rows(effects, mine, task, cfg, stream)]
        names = components.Space(shapes[model]["layers"], shapes[model]["heads"], 0, 0).of_kinds()
        found = measures.importance_rows(effects, mine, names, task, cfg, stream)
        found += measures.file_drops(effects, mine, task, cfg, stream)
        importance += [{"model": model, **row} for row in found]
    return pd.DataFrame(cross), pd.DataFrame(importance)


def adjusted(table, columns):
    """With Benjamini-Hochberg q beside each p, over the whole table."""
    for column in columns:
        if column in table:
            q = statistics.false_discovery(table[column].astype(float))
            renamed = f"q_{column[2:]}" if column.startswith("p_") else f"{column[:-1]}q"
            table[renamed] = q
    return table


def with_q(overlap, tasks):
    """Benjamini-Hochberg over every two circuits of tasks, heads and MLPs together."""
    family = (overlap["kind"] == "all") & overlap["first"].isin(tasks) & overlap["second"].isin(tasks)
    for column in ("p_value", "p_layers"):
        q = statistics.false_discovery(overlap[column].where(family).astype(float))
        overlap[f"q_{column[2:]}"] = q
    return overlap


def lists(table):
    """Lists of names as text, so that a CSV holds them."""
    for column in table.columns:
        if len(table) and isinstance(table[column].iloc[0], (list, np.ndarray)):
            table[column] = [" ".join(map(str, names)) for names in table[column]]
    return table


def gather(input, cfg):
    """All tables by the names of the outputs."""
    pruned = jobs.frames(input.pruned, schemas.PRUNED, 2)
    cross, importance = gather_measures(input, cfg)
    inclusion = jobs.frames(input.inclusion, schemas.INCLUSION, 2)
    overlap = with_q(jobs.frames(input.overlap, schemas.OVERLAP, 1), pruned["task"].unique())
    importance = with_pruning(importance, inclusion, jobs.frames(input.steps, schemas.STEPS, 2), cfg)
    ov = jobs.frames(input.ov, schemas.OV, 2)
    motifs = pd.concat(
        [
            jobs.frames(input.random_motifs, schemas.MOTIFS, 1).assign(task="random tokens"),
            jobs.frames(input.motifs, schemas.MOTIFS, 2),
        ],
        ignore_index=True,
    )
    direct = jobs.frames(input.direct, schemas.DIRECT, 2)
    spectrum = jobs.frames(input.spectrum, schemas.SPECTRUM, 1)
    stability = [
        {"model": model, "task": task, **row}
        for (model, task), part in pruned.groupby(["model", "task"], sort=False)
        for row in measures.stability_rows(part)
    ]
    return {
        "cross": adjusted(cross, ["p_rank"]),
        "overlap": lists(overlap),
        "circuits": lists(pruned),
        "stability": pd.DataFrame(stability),
        "inclusion": inclusion,
        "frontier": lists(jobs.frames(input.frontier, schemas.FRONTIER, 2)),
        "importance": importance,
        "edges": jobs.frames(input.edges, schemas.PATHS, 2),
        "cuts": jobs.frames(input.cuts, schemas.CUT, 2),
        "functions": functions_csv(importance, ov, motifs, direct, spectrum, cfg),
        "ov": ov,
        "motifs": motifs,
        "lens": jobs.frames(input.lens, schemas.LENS, 2),
        "direct": direct,
        "neurons": lists(jobs.frames(input.neurons, schemas.NEURONS, 2)),
        "spectrum": lists(spectrum),
        "lengths": lengths_csv(jobs.frames(input.lengths, schemas.LENGTHS, 1)),
    }


def with_pruning(importance, inclusion, steps, cfg):
    """Importances with q, how often walks kept each component, and what its removal changed.

    removal: mean change of the score when walks took it out; positive if it worked against the task
    """
    importance = adjusted(importance, ["from_full_p", "in_circuit_drop_p"])
    keys = ["model", "task", "component"]
    chosen = inclusion[inclusion["threshold"] == cfg["threshold"]]
    wide = chosen.pivot_table(index=keys, columns="over", values="frequency")
    wide = wide.rename(columns=lambda over: f"frequency_{over}").reset_index()
    gone = steps[(steps["threshold"] == cfg["threshold"]) & (steps["action"] == "remove")]
    gone = gone.groupby(keys)["change"].mean().rename("removal").reset_index()
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
        mine = mine[mine["score"] == score]
        join(mine[mine["position"].isna()], "share", score)
        last = mine.groupby(["model", "task"])["position"].transform("max")
        join(mine[mine["position"] == last], "share", f"{score}_last")
    for motif in RANDOM:
        mine = motifs[(motifs["motif"] == motif) & (motifs["task"] == "random tokens")]
        table = table.merge(above(mine, motif, keys), on=keys, how="left")
    for motif in ITEMS:
        mine = motifs[(motifs["motif"] == motif) & motifs["task"].isin(cfg["tasks"])]
        table = table.merge(above(mine, motif, keys), on=keys, how="left")
    spread = spectrum.groupby(keys)[["members", "chance"]].mean().reset_index()
    table = table.merge(
        spread.rename(columns={"members": "spectrum_members", "chance": "spectrum_chance"}), on=keys, how="left"
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
    means = rows.groupby(keys)[["attention", "chance"]].mean().reset_index()
    more = (means["attention"] - means["chance"]) / (1 - means["chance"])
    return means[keys].assign(**{motif: means["attention"], f"{motif}_above": more})


def lengths_csv(rows):
    """Behaviour by length: mean probability with its t interval, quartiles of the rank."""
    from scipy import stats

    grouped = rows.groupby(["model", "task", "length"], sort=False)
    table = grouped.agg(
        n=("rank", "size"),
        probability=("probability", "mean"),
        se=("probability", "sem"),
        rank=("rank", "median"),
        rank_low=("rank", lambda r: r.quantile(0.25)),
        rank_high=("rank", lambda r: r.quantile(0.75)),
        top1=("rank", lambda r: (r == 1).mean()),
        difference=("difference", "mean"),
    ).reset_index()
    half = stats.t.ppf(0.975, (table["n"] - 1).clip(lower=1)) * table["se"].fillna(0)
    table["probability_low"] = (table["probability"] - half).clip(lower=0)
    table["probability_high"] = (table["probability"] + half).clip(upper=1)
    return table.drop(columns="se")
