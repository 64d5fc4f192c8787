"""What the sequence study found in a few sentences, for the first page and the end of a run."""

import numpy as np

from circuit_reuse.report.numbers import MOST, hundred, interval, more, span
from circuit_reuse.studies.sequences.findings import barely, primary

# Columns that the sentences use, by table; a table without rows may lack some.
COLUMNS = {
    "circuits": "model task strategy threshold order draw scored_by n_heads n_mlps score score_low score_high score_train score_empty_train",
    "overlap": "model first second kind n_shared n_shared_null_layers q_layers",
    "cross_task": "model circuit kind target q_value accuracy_kept",
}

# What a score is a share of, by `scored_by`.
KEPT = {"kl": "of the intact model's prediction (by KL divergence)"}


def sentences(found, cfg):
    """Pruned circuits, and whether they hold for other data and other tasks."""
    chosen = primary(found["circuits"], cfg)
    chosen = chosen[chosen["task"].isin(cfg["tasks"])].dropna(subset=["n_heads", "n_mlps", "score"])
    crossed = found["cross_task"]
    own = crossed[(crossed["circuit"] == crossed["target"])].set_index(["model", "target"])["accuracy_kept"].to_dict()
    several = chosen["model"].nunique() > 1
    for row in chosen.head(MOST).to_dict("records"):
        title = cfg["titles"].get(row["task"], row["task"])
        right = own.get((row["model"], row["task"]))
        accuracy = "" if right is None or np.isnan(right) else f", and answer {100 * right:.0f} % of them right"
        yield (
            f"{title}{' in ' + row['model'] if several else ''}: {row['n_heads']:.0f} heads and {row['n_mlps']:.0f} MLPs keep "
            f"{interval(row, 'score', hundred, ' %')} {KEPT.get(row['scored_by'], 'of the metric')} on held-out examples{accuracy}."
        )
    yield more(chosen)
    shared = found["overlap"]
    pairs = shared[(shared["kind"] == "all") & shared["first"].isin(cfg["tasks"]) & shared["second"].isin(cfg["tasks"])]
    # As in the page of findings: a circuit that is hardly better than the empty one says nothing by its overlap.
    easy = chosen[barely(chosen, cfg)]
    easy = set(zip(easy["model"], easy["task"], strict=True))
    kept = [not easy & {(row.model, row.first), (row.model, row.second)} for row in pairs.itertuples()]
    pairs = pairs[np.array(kept, dtype=bool)]
    beyond = pairs[pairs["q_layers"] <= cfg["alpha"]]
    if len(pairs):
        yield (
            f"Circuits of different tasks share {span(pairs['n_shared'])} components (circuits with as many nodes in each layer {span(pairs['n_shared_null_layers'])}, by chance); "
            f"shown to be more than these in {len(beyond)} of {len(pairs)} pairs."
        )
    crossed = found["cross_task"]
    crossed = crossed[
        (crossed["kind"] == "task") & crossed["circuit"].isin(cfg["tasks"]) & (crossed["circuit"] != crossed["target"])
    ]
    crossed = crossed.dropna(subset=["q_value"])
    parts = []
    for name, tasks in (
        ("of another sequence task", cfg["tasks"]),
        ("of a task that is no sequence", cfg["control_tasks"]),
    ):
        mine = crossed[crossed["target"].isin(tasks)]
        if len(mine):
            parts.append(f"{name} in {int((mine['q_value'] <= cfg['alpha']).sum())} of {len(mine)} cases")
    better = "scores nearer to the intact model" if cfg["two_sided"] else "keeps more of the metric"
    yield (
        f"Kept alone, a circuit {better} than size-matched random circuits of any layers on the prompts {', '.join(parts)}."
        if parts
        else ""
    )
