"""The page of findings of the sequence study: what its numbers say, and what they do not."""

import numpy as np

from circuit_reuse.data.gather import pick
from circuit_reuse.report import pages
from circuit_reuse.report.numbers import hundred, interval, number, p_text


def text(found, cfg):
    """The page, in Markdown; found: the tables by name."""
    return (
        "\n\n".join(
            [
                setting(found, cfg),
                "## The circuits\n\n" + circuits(found["circuits"], found["cross"], cfg),
                "## Does the order decide?\n\n" + stability(found["stability"], found, cfg),
                "## Are they better than random circuits, and whose are they?\n\n" + crossing(found["cross"], cfg),
                "## What they share\n\n" + overlap(found["overlap"], found["circuits"], found["cross"], cfg),
                "## What matters\n\n" + importance(found["importance"], cfg),
                "## Edges\n\n" + edges(found["edges"], found["cuts"], found["circuits"], cfg),
                "## What heads do\n\n" + functions(found["functions"], cfg),
                "## How long a sequence must be\n\n" + lengths(found["lengths"], cfg),
                "## What this page cannot say\n\n" + pages.bullets(LIMITS),
            ]
        )
        + "\n"
    )


LIMITS = (
    "A pruned circuit is one of many: its components are those that this order kept, and the "
    "inclusion frequencies, not the list, say what is needed. Scores are ratios of mean metrics, so a "
    "circuit can reach 100 per cent while it fails on some examples; accuracy and KL stand beside them "
    "in cross_task.csv. Circuits of any task fill the first layers and hold the MLPs, so an overlap "
    "means something only against components of the same layers and kinds. A circuit that scores as much on a control task is not the "
    "task's own, however far it is above size-matched random circuits, which are of any layers: its p may be that of the "
    "layers. Effects "
    "are those of mean replacement under these prompts: another replacement is another question."
)


def title(task, cfg):
    """The name of a task in words."""
    return cfg["titles"].get(task, task)


def primary(circuits, cfg):
    """The rows of the chosen strategy and threshold."""
    chosen = pick(circuits, threshold=cfg["threshold"], strategy=cfg["strategy"])
    return chosen[chosen["order"].isna() & chosen["draw"].isna()]


def setting(found, cfg):
    """What was run."""
    n = found["cross"].groupby(["model", "target"])["n_examples"].first()
    return (
        "# Findings of the sequence study\n\n"
        f"Circuits of {', '.join(title(task, cfg) for task in cfg['tasks'])} in {', '.join(cfg['models'])}, pruned by "
        f"{cfg['strategy'].replace('_', ' ')} to {100 * cfg['threshold']:g} points{' on either side' if cfg['two_sided'] else ' below'} "
        f"of the full model's score on the train split; every score below is on {n.min()} to {n.max()} held-out examples, unless it says train."
    )


def circuits(table, cross, cfg):
    """Size and score of the chosen circuits; the empty circuit and accuracy from the same examples."""
    header = "model | task | heads | MLPs | train % | held-out % | new sequences % (n) | empty circuit % | accuracy"
    rows, outside, easy = [], [], []
    own = cross[cross["circuit"] == cross["target"]].set_index(["model", "target"])
    chosen = primary(table, cfg)
    for row in chosen.to_dict("records"):
        there = own.loc[(row["model"], row["task"])]
        rows.append(
            [
                row["model"],
                title(row["task"], cfg),
                row["n_heads"],
                row["n_mlps"],
                hundred(row["score_train"]),
                interval(row, "score", hundred),
                f"{hundred(row['score_new'])} ({row['n_new']})",
                # By KL divergence the empty circuit is the 0 of the score; the cross-task table has scores of the metric.
                hundred(0) if row["scored_by"] == "kl" else hundred(there["score_empty"]),
                f"{there['accuracy_kept']:.2f}",
            ]
        )
        name = f"{title(row['task'], cfg)} in {row['model']}"
        off = 1 - row["score"]
        if (abs(off) if cfg["two_sided"] else off) >= cfg["threshold"]:
            outside.append(f"{name} ({hundred(row['score'])})")
        if barely(row, cfg):
            easy.append(f"{name} (train {hundred(row['score_train'])}, empty {hundred(row['score_empty_train'])})")
    parts = [pages.table(header.split(" | "), rows)]
    if outside:
        parts.append(
            f"Outside the limit on held-out examples, though within it on those they were pruned on: {'; '.join(outside)}."
        )
    if easy:
        parts.append(
            f"Not meaningfully above the empty circuit: on the train examples it is not even the threshold above the empty one, so it is left out of the overlaps below: {'; '.join(easy)}."
        )
    parts.append(
        "Held-out prompts have fillers, names and a template that train prompts do not have. Scores on sequences that begin where no train prompt's does are under `new sequences` (0: there are none). "
        + what_a_score_is(chosen)
        + " Accuracy says whether the answer is still the model's first choice."
    )
    return "\n\n".join(parts)


def what_a_score_is(chosen):
    """What the scores of the chosen circuits are shares of, in a sentence."""
    if set(chosen["scored_by"]) == {"kl"}:
        return (
            "A score is 1 less the KL divergence of the circuit from the intact model over that of the empty circuit, as pruning was asked to keep "
            "it; the scores below, on other data and of edges, are of the metric."
        )
    return "A score is a ratio of the mean metric (of the answer against other answers) in the circuit to that in the intact model."


def barely(row, cfg):
    """Whether a circuit scores no more than the threshold above the empty one."""
    return row["score_train"] - row["score_empty_train"] < cfg["threshold"]


def stability(table, found, cfg):
    """How far orders and draws agree, and whether the chosen circuits are theirs."""
    lines = chosen_among(found["circuits"], found["inclusion"], cfg)
    for row in table[table["threshold"] == cfg["threshold"]].to_dict("records"):
        if row["over"] == "strategies" or row["n_circuits"] < 2:
            continue
        what = "random orders" if row["over"] == "orders" else "draws of the examples"
        lines.append(
            f"* {title(row['task'], cfg)}, {row['model']}: {row['n_circuits']} {what} give {row['n_different']} different circuits of "
            f"{row['n_components_min']} to {row['n_components_max']} components, mean Jaccard index {number(row['mean_jaccard'], 2)}; "
            f"{row['n_in_all']} components are in all, {row['n_in_any']} in any"
        )
    return "\n".join(lines) or "One order only: nothing can be said."


def chosen_among(circuits, inclusion, cfg):
    """Of each chosen circuit, what most pruning runs do not keep, and whether a smaller one was found."""
    lines = []
    often = inclusion[inclusion["threshold"] == cfg["threshold"]]
    often = often.groupby(["model", "task", "component"])["frequency"].mean()
    for row in primary(circuits, cfg).to_dict("records"):
        if (row["model"], row["task"]) not in often.index:
            continue
        names, kept = row["components"].split(), often[row["model"], row["task"]]
        rare = [name for name in names if kept[name] < 0.5]
        missed = [name for name in kept.index if kept[name] >= 0.5 and name not in names]
        same = pick(circuits, model=row["model"], task=row["task"], threshold=cfg["threshold"])
        same = same[same["draw"].isna() & ~same["strategy"].isin(["frequent", "file"])]
        least = int((same["n_heads"] + same["n_mlps"]).min())
        lines.append(
            f"* {title(row['task'], cfg)}, {row['model']}: the circuit that is compared and drawn has {len(names)} components, the smallest "
            f"that met the limit {least}; fewer than half of the orders and draws keep {', '.join(rare) or 'none'} of it, at least half keep "
            f"{', '.join(missed) or 'nothing'} besides"
        )
    return lines


def crossing(cross, cfg):
    """Scores of the tasks' circuits on their own examples and on those of control tasks."""
    lines = []
    tasks = cross[cross["kind"] == "task"]
    for (model, circuit), part in tasks.groupby(["model", "circuit"], sort=False):
        own = part[part["target"] == circuit]
        if own.empty:
            continue
        own = own.iloc[0]
        others = ", ".join(
            f"{title(row['target'], cfg)} {number(100 * row['score'], 0)} (empty {number(100 * row['score_empty'], 0)})"
            for row in part[part["target"] != circuit].to_dict("records")
        )
        rank = (
            f"size-matched random circuits {interval(own, 'score_random', hundred)}, {p_text('q', own['q_value'])}"
            if own.get("n_random")
            else "no random circuit of its composition"
        )
        lines.append(
            f"* {title(circuit, cfg)}, {model}: {hundred(own['score'])} per cent on its own data ({rank}); on other data, per cent: {others or 'none'}"
        )
    known = cross.dropna(subset=["p_value"]) if "p_value" in cross else cross[:0]
    if len(known):
        own, most = int((known["asked_of"] == "own task").sum()), int(known["n_random"].max())
        lines.append(
            f"* q is over {own} circuits on their own task, and apart from these over {len(known) - own} on another task; with {most} "
            f"random circuits no p is below {1 / (most + 1):.2g}"
        )
    return "\n".join(lines)


def overlap(table, circuits, cross, cfg):
    """Overlap among the tasks, and with those of the control tasks, beside what layers alone would give."""
    lines, every = [], table[table["kind"] == "all"]
    easy = {(row["model"], row["task"]) for row in primary(circuits, cfg).to_dict("records") if barely(row, cfg)}
    groups = {"among the tasks": [], "with control tasks": []}
    for row in every.to_dict("records"):
        ends = [row["first"], row["second"]]
        if any((row["model"], end) in easy for end in ends):
            continue
        if set(ends) <= set(cfg["tasks"]):
            lines.append(
                f"* {title(ends[0], cfg)} and {title(ends[1], cfg)}, {row['model']}: {row['n_shared']} shared of "
                f"{row['n_first']} and {row['n_second']}, Jaccard index {number(row['jaccard'], 2)}; by chance {number(row['n_shared_null'])} for any "
                f"components ({p_text('q', row['q_value'])}), {number(row['n_shared_null_layers'])} for components of the same layers and kinds "
                f"({p_text('q', row['q_layers'])}): {row['components'] or 'none'}"
            )
            groups["among the tasks"].append((row["n_shared"], row["n_shared_null_layers"]))
        elif any(e in cfg["tasks"] for e in ends) and any(e in cfg["control_tasks"] for e in ends):
            groups["with control tasks"].append((row["n_shared"], row["n_shared_null_layers"]))
    reported = [
        f"{name} {sum(s for s, _ in pairs) / max(1e-9, sum(e for _, e in pairs)):.2f} ({len(pairs)} pairs)"
        for name, pairs in groups.items()
        if pairs
    ]
    among = every[every["first"].isin(cfg["tasks"]) & every["second"].isin(cfg["tasks"])]
    if len(among) and not (among["q_layers"] <= cfg["alpha"]).any():
        lines.append(
            f"* no two of these circuits are shown to share more than their layers and kinds would give by chance (q <= {cfg['alpha']:g})"
        )
    if reported:
        lines.append("* components shared over those expected from layers and kinds alone: " + ", ".join(reported))
    whole = cross[cross["kind"].isin(["union", "intersection"])]
    tasks = set(cfg["tasks"])
    for row in whole.to_dict("records"):
        parts = set(row["circuit"].replace(" | ", " & ").split(" & "))
        if parts == tasks and row["target"] in tasks and len(tasks) > 1:
            lines.append(
                f"* the {row['kind']} of all ({row['n_components']} components) scores {interval(row, 'score', hundred)} on {title(row['target'], cfg)}, {row['model']}"
            )
    return "\n".join(lines) or "One task only."


def importance(table, cfg):
    """The most important components, and those that work against the task."""
    lines = []
    own = table if "circuit" not in table else table[table["circuit"].isna()]
    for (model, task), part in own[own["task"].isin(cfg["tasks"])].groupby(["model", "task"], sort=False):
        inside = part[part["in_circuit"]].sort_values("in_circuit_drop").head(4)
        most = ", ".join(f"{r['component']} {hundred(r['in_circuit_drop'])}" for r in inside.to_dict("records"))
        against = part[(part["from_full"] > 0) & (part["q_against"] <= cfg["alpha"])]
        against = against.sort_values("from_full", ascending=False).head(4)
        worst = ", ".join(f"{r['component']} {100 * r['from_full']:+.1f}" for r in against.to_dict("records"))
        lines.append(
            f"* {title(task, cfg)}, {model}: taken out of the circuit, points: {most or 'empty'}; working against the task in "
            f"the full model (q <= {cfg['alpha']:g}): {worst or 'none'}"
        )
    return "\n".join(lines)


def edges(table, cuts, circuits, cfg):
    """The edge circuits, and whether attribution agrees."""
    from scipy import stats

    # The limit of pruning is one of its own score: nothing else is outside it.
    limited = "kl" not in set(primary(circuits, cfg)["scored_by"])
    lines = []
    for (model, task), part in cuts.groupby(["model", "task"], sort=False):
        whole = part[part["rule"] == "all"].iloc[0]
        chosen = part[part["chosen"]].iloc[0]
        mine = pick(table, model=model, task=task).dropna(subset=["attribution"])
        off = 1 - chosen["score"]
        beyond = (abs(off) if cfg["two_sided"] else off) >= cfg["threshold"]
        outside = " (outside the limit)" if limited and beyond else ""
        rho = stats.spearmanr(mine["score_change"], mine["attribution"]).statistic if len(mine) > 2 else np.nan
        lines.append(
            f"* {title(task, cfg)}, {model}: {int(chosen['n_edges'])} of {int(whole['n_edges'])} edges keep {interval(chosen, 'score', hundred)} "
            f"per cent{outside}, all edges {hundred(whole['score'])}; rank correlation of path "
            f"patching (train examples) with edge attribution in the full model {number(rho, 2)}"
        )
    return "\n".join(lines) or "No edges were asked for (sequences.edges.tasks)."


def functions(table, cfg):
    """The heads with the largest scores, and motifs."""
    lines = []
    for model, part in table.groupby("model", sort=False):
        for task in cfg["tasks"]:
            if f"next_{task}" not in part:
                continue
            best = part.sort_values(f"next_{task}", ascending=False).head(3).to_dict("records")
            reported = ", ".join(
                f"{r['component']} next {100 * r[f'next_{task}']:.0f} %, copy {100 * r[f'copy_{task}']:.0f} %, previous {100 * r[f'previous_{task}']:.0f} %"
                for r in best
            )
            lines.append(f"* {title(task, cfg)}, {model}: {reported}")
        count = part["motif"].value_counts()
        lines.append(f"* motifs in {model}: " + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in count.items()))
    return "\n".join(lines)


def lengths(table, cfg):
    """Probability of the answer, and how often it is the first choice, by length."""
    lines = []
    for (model, task), part in table[table["task"].isin(cfg["tasks"])].groupby(["model", "task"], sort=False):
        reported = ", ".join(
            f"{int(r['length'])}: {r['probability']:.2f} ({100 * r['top1']:.0f} %)" for r in part.to_dict("records")
        )
        lines.append(
            f"* {title(task, cfg)}, {model}: mean probability of the answer (share of prompts in which it is the first choice) by elements shown: {reported}"
        )
    return "\n".join(lines) or "No built-in sequence."
