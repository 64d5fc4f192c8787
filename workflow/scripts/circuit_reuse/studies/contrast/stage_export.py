"""The stage that writes the tested circuits of every model and set as files, in the formats of other tools."""

from pathlib import Path

from circuit_reuse.data import circuit_files, fingerprint, gather
from circuit_reuse.studies.contrast import schemas, stage_choose


def export(job):
    """Circuit files with the scores that they come from; circuits of an earlier config are removed."""
    cfg, paths = job.cfg, job.output.circuit_files
    for path in Path(paths[0]).parent.glob("*.json") if paths else []:
        if path not in set(map(Path, paths)):
            path.unlink()
    about = gather.described(job.input.about)
    drawn = gather.rows(job.input.scores, schemas.DRAWS)
    scores = {
        key: dict(zip(mine["component"], mine["score"], strict=True))
        for key, mine in drawn[drawn["condition"] == "real"].groupby(["model", "set", "scored_by"])
    }
    rows = gather.rows(job.input.circuits, schemas.CONTRAST_CIRCUITS)
    rows = rows[(rows["condition"] == "real") & rows["main"] & (rows["scored_by"] != "file")]
    for row in rows.to_dict("records"):
        key, model = (row["model"], row["set"], row["scored_by"]), about[row["model"]]
        made = stage_choose.as_file(
            row | {"components": list(row["components"])},
            scores.get(key, {}),
            fingerprint.space_of(model),
            {
                "model": row["model"],
                "task": cfg["behaviours"].get(row["set"], row["set"]),
                "parallel": model["parallel"],
                "method": f"{row['scored_by']}, {row['rule']}",
                "provenance": {"fingerprint": model["fingerprint"], "scoring": cfg["scorings"].get(row["scored_by"])},
            },
        )
        stem = f"{row['model']}.{row['set']}.{row['scored_by']}.{row['rule']}"
        for form, ending in circuit_files.ENDINGS.items():
            for path in paths:
                if Path(path).name == stem + ending:
                    circuit_files.write(path, made, form)
    job.log.info("%d circuit files", len(paths))
