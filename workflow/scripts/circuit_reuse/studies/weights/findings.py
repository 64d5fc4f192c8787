"""The page of findings of the weight study: what its numbers say, and what they do not."""

import numpy as np

from circuit_reuse.data.gather import pick
from circuit_reuse.report import pages
from circuit_reuse.report.numbers import interval, number, p_text, small
from circuit_reuse.studies.weights import sentences
from circuit_reuse.studies.weights.measures import INTERPRETATIONS

NAMES = {
    "non_circuit": "as many weights outside it, at random",
    "matrix": "as many of the same matrices",
    "quantile": "as many of equal size in the same matrices",
    "touching": "as many of equal size with one end in it",
    "window": "as many of about its mean size",
    "layer": "as many of the same layers",
    "random_circuit": "the weights of random masks",
}


def text(found, cfg):
    """The page, in Markdown; found: the tables by name."""
    parts = [
        setting(found, cfg),
        "## Which interpretation do the numbers support?\n\n" + interpretations(found, cfg),
        "## The circuits\n\n" + circuits(found, cfg),
        "## The sweep\n\n" + sweep(found, cfg),
        "## The nodes\n\n" + nodes(found, cfg),
    ]
    if len(cfg["models"]) > 1:
        parts.append("## Models side by side\n\n" + models(found, cfg))
    return "\n\n".join([*parts, "## What this page cannot say\n\n" + pages.bullets(LIMITS)]) + "\n"


LIMITS = (
    "A mask is one of many that reach the target: another seed keeps other nodes. Weights of embeddings, "
    "unembedding, norms and biases are in no circuit. Removing a weight means setting it to zero in the "
    "unpruned model, where the nodes outside the circuit run on and can make up for it. `p_value` asks "
    "whether this circuit's weights matter more than those of random masks with as many nodes at each site "
    "and a like number of weights, each against controls of its own; it does not ask whether the nodes "
    "are this task's, and masks of busy channels rank high in it, too: the comparison with the most "
    "active nodes says how much of the difference that can be. `p_trials` only asks whether two curves "
    "differ, which is so for many random masks. Intervals are over sequences (clusters of prompts that start alike), "
    "and not over masks or draws of weights. A loss above the logarithm of the vocabulary is one "
    "of confident errors. Models are single trained networks."
)


def pairs(found, cfg, table):
    """Model and task of every circuit that a table has rows of, in order: some may have been left out."""
    return [
        (model, task)
        for model in cfg["models"]
        for task in cfg["tasks"]
        if len(pick(found[table], model=model, task=task))
    ]


def setting(found, cfg):
    """What was run."""
    row = found["circuits"].iloc[0]
    points = found["sweep"]
    given = found["circuits"]["coefficient"].isna()
    origin = "learned on the train split"
    if given.any():
        origin = "taken from a file (what it was learned on is not known here)" + (
            "" if given.all() else f" or {origin}"
        )
    n, trials = points["n_examples"].min(), points[points["condition"] == "circuit"]["n_trials"].max()
    return (
        "# Findings of the weight study\n\n"
        f"For {', '.join(cfg['titles'][task] for task in cfg['tasks'])} in {', '.join(cfg['models'])} a mask over single "
        f"channels was {origin}, masked nodes replaced by {'their means' if row['replacement'] == 'mean' else 'zero'}. "
        "A weight belongs to the circuit if it is not zero and joins two nodes that the mask keeps. Weights were then removed "
        f"from the unpruned model: {trials} random orders each, loss ({row['loss_kind'].replace('_', ' ')}, nats) on {n} held-out "
        "examples. The area of a curve is the mean loss over all shares removed."
    )


def interpretations(found, cfg):
    """The interpretations, each with the numbers that it rests on."""
    lines = []
    for model, task in pairs(found, cfg, "interpretations"):
        row = pick(found["interpretations"], model=model, task=task).iloc[0]
        tests = pick(found["tests"], model=model, task=task).set_index("control")
        any_, size = tests.loc["non_circuit"], tests.loc[cfg["matched"]]
        q = sentences.asked(row["interpretation"])
        line = (
            f"- **{model}, {cfg['titles'][task]}: {row['in_words']}.** Over the sweep, removing the circuit's weights costs "
            f"{interval(any_, 'difference')} nats more than removing {NAMES['non_circuit']} ({p_text('q', any_[q])}), and "
            f"{interval(size, 'difference')} more than {NAMES[cfg['matched']]} ({p_text('q', size[q])}). Equal size in the same "
            f"matrices costs {interval(row, 'size_difference')} more than any size there ({p_text('q', row['size_q_trials'])}, over draws)."
        )
        if np.isfinite(row["active_difference"]):
            reported = (
                "more"
                if row["active_difference_low"] > 0
                else "less"
                if row["active_difference_high"] < 0
                else "not shown to be more"
            )
            line += (
                f" Beside the weights of as many of the most active nodes, each against its own equal ones, the circuit costs "
                f"{interval(row, 'active_difference')} nats: {reported}."
            )
        lines.append(line)
    seen, alpha = {*found["interpretations"]["interpretation"], "unclear"}, cfg["tests"]["alpha"]
    least = found["interpretations"]["size_p_trials_least"].min()
    # What no number could have shown is not one of those that are not supported.
    blind = "size" not in seen and least > alpha
    others = [text for key, text in INTERPRETATIONS.items() if key not in seen | ({"size"} if blind else set())]
    return (
        "\n".join(lines)
        + "\n\nNot supported here: "
        + ("; ".join(others) or "none")
        + (
            f". That {INTERPRETATIONS['size']} could not be shown: with so few orders of removal (weights.sweep.trials) no p is below {least:.2g}"
            if blind
            else ""
        )
        + f". A difference counts as shown with q <= {alpha:g} (rank among random masks, "
        "Benjamini-Hochberg over all models and tasks of a control; of equal size against any size, of the two sets of draws) and an interval above 0; none counts as shown "
        f"with an interval within {cfg['margin']:g} nats of 0."
    )


def circuits(found, cfg):
    """The masks."""
    rows = []
    for model, task in pairs(found, cfg, "circuits"):
        row = pick(found["circuits"], model=model, task=task).query("chosen").iloc[0]
        rows.append(
            [
                model,
                cfg["titles"][task],
                f"{row['n_nodes']:,} of {row['n_nodes_total']:,}",
                f"{row['n_weights']:,} of {row['n_weights_total']:,} ({row['n_weights'] / row['n_weights_total']:.1%})",
                number(row["loss"]),
                number(row["loss_held_out"]),
                number(row["loss_full_held_out"], 3),
                number(row["accuracy_held_out"]),
            ]
        )
    header = [
        "model",
        "task",
        "nodes",
        "weights that are not zero",
        "loss chosen on",
        "loss held out",
        "full model",
        "accuracy held out",
    ]
    text = pages.table(header, rows)
    for _, row in found["circuits"].query("chosen").iterrows():
        name = f"{row['model']}, {cfg['titles'][row['task']]}"
        coefficients = pick(found["circuits"], model=row["model"], task=row["task"])["coefficient"]
        if len(coefficients) > 1 and row["coefficient"] == coefficients.max():
            text += f"\n\n{name}: the highest coefficient gave the smallest mask; a higher one may give a smaller one still."
        if row["loss_held_out"] > 2 * row["loss_target"]:
            text += (
                f"\n\n{name}: on held-out prompts the mask loses far more ({number(row['loss_held_out'])}) than the target that it met "
                f"on train prompts ({number(row['loss_target'])}). It rests on channels for what the train prompts have in them, so what "
                "follows is about a circuit of those prompts."
            )
        elif row["loss_held_out"] > row["loss_target"]:
            text += f"\n\n{name}: on held-out prompts the mask misses its target of {number(row['loss_target'])} by a little."
    return text


def sweep(found, cfg):
    """Losses at the ends of the curves, the tests, and what speaks against the circuit."""
    rows = []
    for _, row in found["tests"].iterrows():
        rows.append(
            [
                row["model"],
                cfg["titles"][row["task"]],
                NAMES[row["control"]],
                number(row["loss_circuit"]),
                number(row["loss_control"]),
                interval(row, "difference"),
                number(row["ranked"]),
                number(row["ranked_random"]),
                small(row["p_trials"]),
                small(row["p_value"]),
                small(row["q_value"]),
            ]
        )
    header = [
        "model",
        "task",
        "control",
        "loss, circuit gone",
        "loss, control gone",
        "difference of areas",
        "difference that is ranked",
        "the same, random masks",
        "p_trials",
        "p_value",
        "q",
    ]
    text = pages.table(header, rows)
    text += (
        "\n\nThe ranked difference is on fewer points and orders than the difference of areas, those of the random masks, and with as many weights removed; "
        "for random_circuit it is the area itself."
    )
    least = 1 / (found["tests"]["n_random"].min() + 1)
    if (found["tests"]["p_value"] <= least + 1e-9).any():
        text += f" A p_value of {least:.3f} is the smallest that so many random masks can give."
    return text + "".join(beside(found, cfg, model, task) for model, task in pairs(found, cfg, "tests"))


def beside(found, cfg, model, task):
    """What the sweep says beyond the tests, for one circuit."""
    name = f"{model}, {cfg['titles'][task]}"
    curves = pick(found["sweep"], model=model, task=task)
    ends = curves[curves["share"] == 1].set_index("condition")
    rest, clean = ends.loc["all_non_circuit"], curves[curves["share"] == 0].iloc[0]
    nothing, enough = ends.loc["all_weights"], 0.9 * clean["accuracy"]
    alone = "its weights alone do not do the task"
    if rest["accuracy"] >= enough:
        alone = "its weights alone do the task"
        if nothing["accuracy"] >= enough:
            alone = "what embeddings and norms do on their own is enough, so nothing follows for its weights"
    text = (
        f"\n\n{name}: with all weights but the circuit's removed the loss is {number(rest['loss'])} and the accuracy "
        f"{number(rest['accuracy'])} (full model {number(clean['loss'], 3)} and {number(clean['accuracy'])}; with all weights "
        f"removed {number(nothing['loss'])} and {number(nothing['accuracy'])}): {alone}."
    )
    # What removing them adds to the loss of the intact model.
    own, other = (ends.loc[f"{which}_importance", "loss"] - clean["loss"] for which in ("circuit", "outside"))
    first = curves[curves["share"] > 0].groupby("condition")["loss"].first() - clean["loss"]
    text += (
        f" As many weights outside it, most important first, add {number(other)} nats (the circuit {number(own)}); the first "
        f"{curves[curves['share'] > 0]['share'].min():.0%} of them {number(first['outside_importance'])} "
        f"(of the circuit {number(first['circuit_importance'])}): "
        + ("important weights lie outside it, too." if other > own / 2 else "few important weights lie outside it.")
    )
    test, circuit = (
        pick(found["tests"], model=model, task=task).iloc[0],
        pick(found["circuits"], model=model, task=task).query("chosen").iloc[0],
    )
    ratio = test["n_weights_random"] / circuit["n_weights"]
    if abs(ratio - 1) > 0.02:
        text += (
            f" Random masks have {test['n_weights_random']:,.0f} weights on average, the circuit {circuit['n_weights']:,}: "
            + (
                "its nodes are joined more than those of random masks, and against these as many of its weights are removed as they have."
                if ratio < 1
                else "fewer, and all of its weights stand against more of theirs."
            )
        )
    match = pick(found["matches"], model=model, task=task).set_index("control").loc[cfg["matched"]]
    if match["from_matrix"] < 1:
        text += (
            f" {1 - match['from_matrix']:.2%} of the matched weights come from outside the matrix of their counterpart, where no "
            f"weight of about that size was left (distance of the sizes {match['distance']:.3f}, in the worst matrix {match['worst_distance']:.3f})."
        )
    return text


def nodes(found, cfg):
    """Necessity and sufficiency."""
    rows = [
        [
            row["model"],
            cfg["titles"][row["task"]],
            "all but the circuit replaced" if row["direction"] == "sufficiency" else "the circuit replaced",
            interval(row, "loss_added"),
            number(row["accuracy"]),
            number(row["loss_random"]),
            small(row["q_value"]),
        ]
        for _, row in found["node_tests"].iterrows()
    ]
    header = ["model", "task", "run", "loss added", "accuracy", "loss, random masks", "q (rank)"]
    text = pages.table(header, rows)
    for model, task in pairs(found, cfg, "node_tests"):
        rows = pick(found["node_tests"], model=model, task=task).set_index("direction")
        if not rows.loc["necessity", "q_value"] <= cfg["tests"]["alpha"]:
            text += (
                f"\n\n{model}, {cfg['titles'][task]}: replacing the circuit's nodes is not shown to cost more than replacing random ones "
                "of the same sites."
            )
        fvu = pick(found["fvu"], model=model, task=task)
        fvu = fvu[fvu["location"].isna() & fvu["layer"].notna()]
        reported = ", ".join(f"{number(row['fvu'])} ({number(row['fvu_last'])})" for _, row in fvu.iterrows())
        text += (
            f"\n\n{model}, {cfg['titles'][task]}: variance of the active nodes that the pruned run does not explain, by layer, over all "
            f"positions (at the last): {reported}. Above 1 is worse than predicting the mean."
        )
    return text


def models(found, cfg):
    """The central comparison: how small circuits are, and how much depends on each weight."""
    rows = []
    there = pairs(found, cfg, "tests")
    for task in cfg["tasks"]:
        for model in (model for model, of_task in there if of_task == task):
            row = pick(found["circuits"], model=model, task=task).query("chosen").iloc[0]
            test = pick(found["tests"], model=model, task=task).set_index("control").loc[cfg["matched"]]
            half = pick(found["sweep"], model=model, task=task).query("condition == 'circuit'")
            half = half[half["loss"] > half["loss"].max() / 2]
            rows.append(
                [
                    cfg["titles"][task],
                    model,
                    f"{row['n_nodes']:,}",
                    f"{row['n_weights']:,}",
                    f"{half['share'].min():.0%}" if len(half) else "-",
                    number(test["area_circuit"]),
                    number(test["area_control"]),
                ]
            )
    header = [
        "task",
        "model",
        "nodes",
        "weights",
        "share removed at half of the whole loss",
        "area, circuit",
        "area, weights of equal size",
    ]
    return pages.table(header, rows) + (
        "\n\nNo test compares models: each is one trained network, and another seed is another network."
    )
