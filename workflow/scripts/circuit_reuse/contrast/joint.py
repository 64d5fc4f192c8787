"""The tables of the contrast study over all models and sets."""

from pathlib import Path

import pandas as pd

from circuit_reuse import circuit_files, fingerprint, pages, statistics, tables
from circuit_reuse.contrast import findings, gather, measures, schemas, select_stage
from circuit_reuse.testing import Outcomes


def summarise(input, output, params, wildcards, threads, log):
    """Write every table of the study, its circuits and its findings; see summarise_contrast.py."""
    cfg = params.cfg
    found = all_tables(input, cfg)
    for name, table in found.items():
        table.to_csv(getattr(output, name), index=False)
    text = findings.text(found, cfg)
    Path(output.findings).write_text(text)
    Path(output.page).write_text(pages.page(text))
    export(input, output.circuit_files, found, cfg)
    log.info("%d tables, %d circuit files", len(found), len(output.circuit_files))


def all_tables(input, cfg):
    """All tables by name."""
    differences = gather.of_sets(input.differences, schemas.DIFFERENCES)
    chosen = gather.of_sets(input.circuits, schemas.CONTRAST_CIRCUITS)
    inclusion = gather.of_sets(input.inclusion, schemas.INCLUSION_DRAWS)
    effects, examples = gather.by_set(input.effects), gather.by_examples(input.examples)
    spaces = {Path(path).parts[-2]: gather.space_of(path) for path in input.about}
    behaviour, frontier, single = [], [], []
    for (model, name), mine in chosen.groupby(["model", "set"], sort=False):
        if (model, name) not in effects:
            continue
        outcomes = Outcomes(tables.read(effects[model, name], tables.EFFECTS))
        stream = (cfg["seed"], model, name, "contrast")
        about = {"model": model, "set": name}
        behaviour += [about | row for row in measures.tested(outcomes, mine, spaces[model], cfg, stream)]
        frontier += [about | row for row in measures.frontier(outcomes, mine, cfg, stream)]
        task = cfg["behaviours"][name]
        scores = next(path for path in input.single if Path(path).parts[-5:-3] == (model, task))
        rows = measures.singles(
            tables.read(scores, tables.SCORES), tables.read(examples[model, task], tables.EXAMPLES), cfg, stream
        )
        single += [about | row for row in rows]
    tested = pd.DataFrame(behaviour, columns=["model", "set", *measures.TESTED])
    # Rules often choose the same circuit: it is tested once.
    once = ~tested.duplicated(["model", "set", "circuit"])
    keys = pd.MultiIndex.from_frame(tested[["model", "set", "circuit"]])
    for side in ("keep", "remove"):
        q = statistics.false_discovery(tested.loc[once, f"p_{side}"].astype(float))
        tested[f"q_{side}"] = pd.Series(q, keys[once]).reindex(keys).to_numpy()
    single = pd.DataFrame(single, columns=["model", "set", *measures.SINGLE])
    single["q_effect"] = single.groupby(["model", "set"])["p_effect"].transform(
        lambda column: statistics.false_discovery(column.astype(float))
    )
    return {
        "differences": differences,
        "circuits": listed(chosen),
        "inclusion": inclusion,
        "tests": tested,
        "frontier": pd.DataFrame(frontier, columns=["model", "set", *measures.FRONTIER]),
        "components": measures.joined(differences, single, cfg),
        "lengths": measures.lengths(differences, chosen, cfg),
    }


def listed(chosen):
    """The circuits as rows of text."""
    return chosen.assign(components=[" ".join(names) for names in chosen["components"]])


def export(input, paths, found, cfg):
    """Write the tested circuits of every model and set as files, with the scores they come from."""
    # Circuits of an earlier config are none of this run.
    for path in Path(paths[0]).parent.glob("*.json") if paths else []:
        if path not in set(map(Path, paths)):
            path.unlink()
    about = {Path(path).parts[-2]: fingerprint.read_description(path) for path in input.about}
    drawn = gather.of_sets(input.scores, schemas.DRAWS)
    scores = {
        key: dict(zip(mine["component"], mine["score"], strict=True))
        for key, mine in drawn[drawn["condition"] == "real"].groupby(["model", "set", "source"])
    }
    rows = found["circuits"]
    rows = rows[(rows["condition"] == "real") & rows["main"] & (rows["source"] != "file")]
    for row in rows.to_dict("records"):
        key, model = (row["model"], row["set"], row["source"]), about[row["model"]]
        space = gather.space_of(next(path for path in input.about if Path(path).parts[-2] == row["model"]))
        made = select_stage.as_file(
            row | {"components": row["components"].split()},
            scores.get(key, {}),
            space,
            {
                "model": row["model"],
                "task": cfg["behaviours"].get(row["set"], row["set"]),
                "parallel": model["parallel"],
                "method": f"{row['source']}, {row['rule']}",
                "provenance": {"fingerprint": model["fingerprint"], "recipe": cfg["recipes"].get(row["source"])},
            },
        )
        for path in paths:
            stem = f"{row['model']}.{row['set']}.{row['source']}.{row['rule']}"
            form = next(f for f in circuit_files.FORMATS[::-1] if path.endswith(circuit_files.ENDINGS[f]))
            if Path(path).name == stem + circuit_files.ENDINGS[form]:
                circuit_files.write(path, made, form)
