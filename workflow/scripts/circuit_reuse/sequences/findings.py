"""The page of findings of the sequence study: what its numbers say, and what they do not."""

import numpy as np


def text(found, cfg):
    """The page, in Markdown; found: the tables by name."""
    return "\n\n".join(
        [
            setting(found, cfg),
            "## The circuits\n\n" + circuits(found["circuits"], cfg),
            "## Does the order decide?\n\n" + stability(found["stability"], cfg),
            "## Are they better than random circuits, and whose are they?\n\n" + crossing(found["cross"], cfg),
            "## What they share\n\n" + overlap(found["overlap"], found["cross"], cfg),
            "## What matters\n\n" + importance(found["importance"], cfg),
            "## Edges\n\n" + edges(found["edges"], found["cuts"], cfg),
            "## What heads do\n\n" + functions(found["functions"], cfg),
            "## How long a sequence must be\n\n" + lengths(found["lengths"], cfg),
            "## What this page cannot say\n\n" + LIMITS,
        ]
    ) + "\n"  # fmt: skip


LIMITS = (
    "A pruned circuit is one of many: its components are those that this order kept, and the "
    "inclusion frequencies, not the list, say what is needed. Scores are ratios of mean metrics, so a "
    "circuit can reach 100 per cent while it fails on some examples; accuracy and KL stand beside them "
    "in cross_task.csv. The overlap of two circuits is compared with drawing components at random; "
    "components of early layers are in most circuits of any task, so the circuits of foreign tasks "
    "are the fairer comparison. A circuit that scores as much on a foreign task is not the "
    "task's own, however far it is above random circuits of its make. Effects "
    "are those of mean replacement under these prompts: another replacement is another question."
)


def title(task, cfg):
    """The name of a task in words."""
    return cfg["titles"].get(task, task)


def number(value, digits=1):
    """A number as text, a dash where there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def primary(circuits, cfg):
    """The rows of the chosen strategy and threshold."""
    return circuits[
        (circuits["threshold"] == cfg["threshold"]) & (circuits["strategy"] == cfg["strategy"])
        & circuits["order"].isna() & circuits["draw"].isna()
    ]  # fmt: skip


def setting(found, cfg):
    """What was run."""
    n = found["cross"].groupby(["model", "data"])["n"].first()
    return (
        "# Findings of the sequence study\n\n"
        f"Circuits of {', '.join(title(task, cfg) for task in cfg['tasks'])} in {', '.join(cfg['models'])}, pruned by "
        f"{cfg['strategy'].replace('_', ' ')} to {cfg['threshold']:g} points{' on either side' if cfg['two_sided'] else ' below'} "
        f"of the full model's score on the train split; every score below is on {n.min()} to {n.max()} held-out examples."
    )


def circuits(table, cfg):
    """Size and score of the chosen circuits."""
    lines = [
        "| model | task | heads | MLPs | train % | held-out % | empty circuit % |",
        "|---|---|---|---|---|---|---|",
    ]
    outside = []
    for row in primary(table, cfg).to_dict("records"):
        lines.append(
            f"| {row['model']} | {title(row['task'], cfg)} | {row['heads']} | {row['mlps']} | {number(row['score_train'])} | "
            f"{number(row['score'])} [{number(row['low'])}, {number(row['high'])}] | {number(row['empty'])} |"
        )
        off = 100 - row["score"]
        if (abs(off) if cfg["two_sided"] else off) >= cfg["threshold"]:
            outside.append(f"{title(row['task'], cfg)} in {row['model']} ({number(row['score'])})")
    if outside:
        lines += ["", "Outside the limit on held-out examples, though within it on those they were pruned on: " + "; ".join(outside) + "."]  # fmt: skip
    return "\n".join(lines)


def stability(table, cfg):
    """How far orders and draws agree."""
    lines = []
    for row in table[table["threshold"] == cfg["threshold"]].to_dict("records"):
        if row["over"] == "strategies" or row["n"] < 2:
            continue
        what = "random orders" if row["over"] == "orders" else "draws of the examples"
        lines.append(
            f"* {title(row['task'], cfg)}, {row['model']}: {row['n']} {what} give {row['different']} different circuits of "
            f"{row['smallest']} to {row['largest']} components, mean Jaccard index {number(row['mean_jaccard'], 2)}; "
            f"{row['in_all']} components are in all, {row['in_any']} in any"
        )
    return "\n".join(lines) or "One order only: nothing can be said."


def crossing(cross, cfg):
    """Own and foreign scores of the circuits of tasks."""
    lines = []
    tasks = cross[cross["kind"] == "task"]
    for (model, circuit), part in tasks.groupby(["model", "circuit"], sort=False):
        own = part[part["data"] == circuit]
        if own.empty or circuit not in cfg["tasks"]:
            continue
        own = own.iloc[0]
        others = ", ".join(
            f"{title(row['data'], cfg)} {number(row['percent'], 0)}"
            for row in part[part["data"] != circuit].to_dict("records")
        )
        rank = (
            f"random circuits of its make {number(own['random_mean'])} [{number(own['random_low'])}, {number(own['random_high'])}], "
            f"q = {own['q_rank']:.2g}" if own.get("n_random") else "no random circuit of its make"
        )  # fmt: skip
        lines.append(f"* {title(circuit, cfg)}, {model}: {number(own['percent'])} per cent on its own data ({rank}); on other data, per cent: {others or 'none'}")  # fmt: skip
    known = cross["p_rank"].dropna() if "p_rank" in cross else []
    if len(known):
        least = 1 / (cross["n_random"].max() + 1)
        lines.append(f"* q is over {len(known)} circuits and data; with {int(cross['n_random'].max())} random circuits no p is below {least:.2g}")  # fmt: skip
    return "\n".join(lines)


def overlap(table, cross, cfg):
    """Overlap among the tasks, and with the foreign ones."""
    lines, every = [], table[table["kind"] == "all"]
    for row in every.to_dict("records"):
        if {row["first"], row["second"]} <= set(cfg["tasks"]):
            lines.append(
                f"* {title(row['first'], cfg)} and {title(row['second'], cfg)}, {row['model']}: {row['shared']} shared of "
                f"{row['n_first']} and {row['n_second']} (by chance {number(row['expected'])}), Jaccard index {number(row['jaccard'], 2)}, "
                f"q = {row['q_value']:.2g}: {row['common'] or 'none'}"
            )
    groups = {"among the tasks": [], "with foreign tasks": []}
    for row in every.to_dict("records"):
        ends = [row["first"], row["second"]]
        if set(ends) <= set(cfg["tasks"]):
            groups["among the tasks"].append(row["jaccard"])
        elif any(e in cfg["tasks"] for e in ends) and any(e in cfg["foreign"] for e in ends):
            groups["with foreign tasks"].append(row["jaccard"])
    if all(groups.values()):
        lines.append("* mean Jaccard index " + ", ".join(f"{name} {np.mean(values):.2f} ({len(values)} pairs)" for name, values in groups.items()))  # fmt: skip
    whole = cross[cross["kind"].isin(["union", "intersection"])]
    tasks = set(cfg["tasks"])
    for row in whole.to_dict("records"):
        parts = set(row["circuit"].replace(" | ", " & ").split(" & "))
        if parts == tasks and row["data"] in tasks and len(tasks) > 1:
            lines.append(f"* the {row['kind']} of all ({row['size']} components) scores {number(row['percent'])} [{number(row['low'])}, {number(row['high'])}] on {title(row['data'], cfg)}, {row['model']}")  # fmt: skip
    return "\n".join(lines) or "One task only."


def importance(table, cfg):
    """The most important components, and those that work against the task."""
    lines = []
    own = table if "circuit" not in table else table[table["circuit"].isna()]
    for (model, task), part in own[own["task"].isin(cfg["tasks"])].groupby(["model", "task"], sort=False):  # fmt: skip
        inside = part[part["in_circuit"]].sort_values("in_circuit_drop").head(4)
        most = ", ".join(f"{r['component']} {number(r['in_circuit_drop'])}" for r in inside.to_dict("records"))  # fmt: skip
        against = part[(part["from_full"] > 0) & (part["from_full_q"] <= cfg["alpha"])]
        against = against.sort_values("from_full", ascending=False).head(4)
        worst = ", ".join(f"{r['component']} {r['from_full']:+.1f}" for r in against.to_dict("records"))  # fmt: skip
        lines.append(
            f"* {title(task, cfg)}, {model}: taken out of the circuit, points: {most or 'empty'}; working against the task in "
            f"the full model (q <= {cfg['alpha']:g}): {worst or 'none'}"
        )
    return "\n".join(lines)


def edges(table, cuts, cfg):
    """The edge circuits, and whether attribution agrees."""
    from scipy import stats

    lines = []
    for (model, task), part in cuts.groupby(["model", "task"], sort=False):
        whole = part[part["rule"] == "all"].iloc[0]
        chosen = part[part["chosen"]].iloc[0]
        mine = table[(table["model"] == model) & (table["task"] == task)].dropna(subset=["attribution"])  # fmt: skip
        rho = stats.spearmanr(mine["effect"], mine["attribution"]).statistic if len(mine) > 2 else np.nan  # fmt: skip
        lines.append(
            f"* {title(task, cfg)}, {model}: {int(chosen['edges'])} of {int(whole['edges'])} edges keep {number(chosen['score'])} "
            f"[{number(chosen['low'])}, {number(chosen['high'])}] per cent, all edges {number(whole['score'])}; rank correlation of path "
            f"patching with edge attribution in the full model {number(rho, 2)}"
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
            told = ", ".join(f"{r['component']} next {100 * r[f'next_{task}']:.0f} %, copy {100 * r[f'copy_{task}']:.0f} %" for r in best)  # fmt: skip
            lines.append(f"* {title(task, cfg)}, {model}: {told}")
        count = part["motif"].value_counts()
        lines.append(f"* motifs in {model}: " + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in count.items()))  # fmt: skip
    return "\n".join(lines)


def lengths(table, cfg):
    """From which length on the answer is the model's first choice."""
    lines = []
    for (model, task), part in table[table["task"].isin(cfg["tasks"])].groupby(["model", "task"], sort=False):  # fmt: skip
        told = ", ".join(f"{int(r['length'])}: {r['probability']:.2f}" for r in part.to_dict("records"))  # fmt: skip
        lines.append(f"* {title(task, cfg)}, {model}: mean probability of the answer by elements shown: {told}")  # fmt: skip
    return "\n".join(lines) or "No built-in sequence."
