"""The page of findings of the weight study: what its numbers say, and what they do not."""

import numpy as np

from circuit_reuse.weights.measures import READINGS

NAMES = {
    "non_circuit": "as many weights outside it, at random",
    "quantile": "as many of equal size in the same matrices",
    "window": "as many of about its mean size",
    "layer": "as many of the same layers",
    "random_circuit": "the weights of random masks",
}


def text(found, cfg):
    """The page, in Markdown; found: the tables by name."""
    parts = [
        setting(found, cfg),
        "## Which reading do the numbers support?\n\n" + readings(found, cfg),
        "## The circuits\n\n" + circuits(found, cfg),
        "## The sweep\n\n" + sweep(found, cfg),
        "## The nodes\n\n" + nodes(found, cfg),
    ]
    if len(cfg["models"]) > 1:
        parts.append("## Models side by side\n\n" + models(found, cfg))
    return "\n\n".join([*parts, "## What this page cannot say\n\n" + LIMITS]) + "\n"


LIMITS = (
    "A mask is one of many that reach the target: another seed keeps other nodes, and which of them are "
    "kept says less than that so few suffice. Weights of embeddings, unembedding, norms and biases are in "
    "no circuit. Removing a weight means setting it to zero in the unpruned model, where the nodes "
    "outside the circuit run on and can make up for it; a circuit that suffices need not be necessary. "
    "`p_circuit` asks whether this circuit's weights matter more than those of random masks of the same "
    "make, each against controls of its own; `p_trials` only whether two curves differ, which is so "
    "for many random masks too. Intervals are over examples, spreads over draws of weights. That a "
    "difference was not shown is no proof that there is none."
)


def number(value, digits=2):
    """A number as text, a dash where there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def p_text(value):
    """A p or q as text."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def table(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def pairs(found, cfg):
    """Model and task of every circuit, in order."""
    return [(model, task) for model in cfg["models"] for task in cfg["tasks"]]


def of(frame, model, task):
    """The rows of a model and task."""
    return frame[(frame["model"] == model) & (frame["task"] == task)]


def setting(found, cfg):
    """What was run."""
    row = found["circuits"].iloc[0]
    points = found["sweep"]
    n, trials = points["n"].min(), points[points["condition"] == "circuit"]["trials"].max()
    return (
        "# Findings of the weight study\n\n"
        f"For {', '.join(cfg['titles'][task] for task in cfg['tasks'])} in {', '.join(cfg['models'])} a mask over single "
        f"channels was learned on the train split, masked nodes replaced by {'their means' if row['replacement'] == 'mean' else 'zero'}. "
        "A weight belongs to the circuit if it is not zero and joins two nodes that the mask keeps. Weights were then removed "
        f"from the unpruned model: {trials} random orders each, loss ({row['loss_kind'].replace('_', ' ')}, nats) on {n} held-out "
        "examples. The area of a curve is the mean loss over all shares removed."
    )  # fmt: skip


def readings(found, cfg):
    """The readings, each with the numbers that it rests on."""
    lines = []
    for model, task in pairs(found, cfg):
        row = of(found["readings"], model, task).iloc[0]
        tests = of(found["tests"], model, task).set_index("control")
        any_, size = tests.loc["non_circuit"], tests.loc[cfg["matched"]]
        lines.append(
            f"- **{model}, {cfg['titles'][task]}: {row['in_words']}.** Removing the circuit's weights adds "
            f"{number(any_['difference'])} nats [{number(any_['low'])}, {number(any_['high'])}] more than removing "
            f"{NAMES['non_circuit']} (q = {p_text(any_['q_circuit'])}), and {number(size['difference'])} "
            f"[{number(size['low'])}, {number(size['high'])}] more than {NAMES[cfg['matched']]} (q = {p_text(size['q_circuit'])}); "
            f"these in turn cost {number(row['size_difference'])} [{number(row['size_low'])}, {number(row['size_high'])}] "
            "more than weights of any size."
        )  # fmt: skip
    seen = {*found["readings"]["reading"], "unclear"}
    others = [text for key, text in READINGS.items() if key not in seen]
    return (
        "\n".join(lines)
        + "\n\nNot supported here: "
        + ("; ".join(others) or "none")
        + f". A difference counts as shown with q <= {cfg['tests']['alpha']:g} (rank among random masks, "
        "Benjamini-Hochberg over all models, tasks and controls) and an interval above 0."
    )


def circuits(found, cfg):
    """The masks."""
    rows = []
    for model, task in pairs(found, cfg):
        row = of(found["circuits"], model, task).query("chosen").iloc[0]
        rows.append([
            model, cfg["titles"][task], f"{row['nodes']:,} of {row['nodes_total']:,}",
            f"{row['weights']:,} of {row['weights_total']:,} ({row['weights'] / row['weights_total']:.1%})",
            number(row["loss"]), number(row["loss_held_out"]), number(row["loss_full_held_out"], 3),
            number(row["accuracy_held_out"]),
        ])  # fmt: skip
    header = ["model", "task", "nodes", "weights that are not zero", "loss chosen on", "loss held out",
              "full model", "accuracy held out"]  # fmt: skip
    text = table(header, rows)
    worse = [
        f"{row['model']}, {cfg['titles'][row['task']]}"
        for _, row in found["circuits"].query("chosen").iterrows()
        if row["loss_held_out"] > 2 * row["target"]
    ]
    if worse:
        text += (
            f"\n\nOn held-out prompts these masks lose far more than the target that they met on train prompts: {'; '.join(worse)}. "
            "They rest on channels for what the train prompts have in them (names, members), so what follows is about a circuit of those prompts."
        )  # fmt: skip
    return text


def sweep(found, cfg):
    """Losses at the ends of the curves, and the tests."""
    rows = []
    for _, row in found["tests"].iterrows():
        p = "-" if np.isnan(row["p_trials"]) else p_text(row["p_trials"])
        rows.append([
            row["model"], cfg["titles"][row["task"]], NAMES[row["control"]], number(row["loss_circuit"]),
            number(row["loss_control"]),
            f"{number(row['difference'])} [{number(row['low'])}, {number(row['high'])}]",
            number(row["random_difference"]) if row["control"] != "random_circuit" else "-",
            p, p_text(row["p_circuit"]), p_text(row["q_circuit"]),
        ])  # fmt: skip
    header = ["model", "task", "control", "loss, circuit gone", "loss, control gone", "difference of areas",
              "the same, random masks", "p_trials", "p_circuit", "q"]  # fmt: skip
    text = table(header, rows)
    matches = found["matches"]
    far = matches[(matches["control"] == cfg["matched"]) & (matches["from_matrix"] < 1)]
    for _, row in far.iterrows():
        text += (
            f"\n\nIn {row['model']}, {cfg['titles'][row['task']]}, {1 - row['from_matrix']:.2%} of the matched weights come from outside the "
            f"matrix of their counterpart, for want of weights of that size (distance of the sizes: {row['distance']:.3f})."
        )  # fmt: skip
    return text


def nodes(found, cfg):
    """Necessity and sufficiency."""
    rows = [
        [
            row["model"], cfg["titles"][row["task"]],
            "all but the circuit replaced" if row["direction"] == "sufficiency" else "the circuit replaced",
            f"{number(row['loss_added'])} [{number(row['low'])}, {number(row['high'])}]",
            number(row["accuracy"]), number(row["random_loss"]), p_text(row["q_rank"]),
        ]
        for _, row in found["node_tests"].iterrows()
    ]  # fmt: skip
    header = ["model", "task", "run", "loss added", "accuracy", "loss, random masks", "q (rank)"]
    text = table(header, rows)
    whole = found["fvu"][found["fvu"]["layer"].isna()]
    told = ", ".join(f"{row['model']}, {cfg['titles'][row['task']]}: {number(row['fvu'])}" for _, row in whole.iterrows())  # fmt: skip
    return text + f"\n\nVariance of the active nodes that the pruned run does not explain: {told}."


def models(found, cfg):
    """The central comparison: how small circuits are, and how much hangs on each weight."""
    rows = []
    for task in cfg["tasks"]:
        for model in cfg["models"]:
            row = of(found["circuits"], model, task).query("chosen").iloc[0]
            test = of(found["tests"], model, task).set_index("control").loc[cfg["matched"]]
            half = of(found["sweep"], model, task).query("condition == 'circuit'")
            half = half[half["loss"] > half["loss"].max() / 2]
            rows.append([
                cfg["titles"][task], model, f"{row['nodes']:,}", f"{row['weights']:,}",
                f"{half['share'].min():.0%}" if len(half) else "-", number(test["area_circuit"]),
                number(test["area_control"]),
            ])  # fmt: skip
    header = ["task", "model", "nodes", "weights", "share removed at half of the whole loss",
              "area, circuit", "area, weights of equal size"]  # fmt: skip
    return table(header, rows) + (
        "\n\nNo test compares models: each is one trained network, and another seed is another network."
    )
