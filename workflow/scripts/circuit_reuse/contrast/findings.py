"""The page of findings of the contrast study: what its numbers say, and what they do not."""

import numpy as np

from circuit_reuse.contrast.measures import READINGS

LIMITS = (
    "A difference in activation is a correlation: what a component does is asked of the interventions, on the "
    "task's own answer, held-out examples only. Where texts differ in a word, every component that reads it "
    "differs: q says that a difference is there, the score how large, neither what it is for. q holds for the units "
    "that are flipped, pairs or clusters of pairs that share words (both numbers stand in the table), and says "
    "nothing of other templates or models; whatever goes along with the labels is in the difference. A component that "
    "does nothing alone may act together with others. Intervals are drawn from the same units, and lie wide "
    "where a difference is small: bounds below 0 do not contradict q. Scores of the published recipe have no zero: "
    "two texts that have nothing to do with what is asked differ, too. Positions counted from the front are compared "
    "as they are counted, not by what stands there, and cannot see what comes after them: that shortened and padded "
    "texts change nothing there is so by construction, that beheaded ones do is not. The input is in every circuit "
    "and never replaced, so necessity is that of the heads and MLPs. In units of spread an MLP counts as much as a head "
    "and costs more, so that ratio and knapsack prefer heads. Random circuits of equal make are at most as "
    "many as there are, and p is never below one over their number and one."
)


def text(found, cfg):
    """The page, in Markdown; found: the tables by name."""
    return (
        "\n\n".join(
            [
                setting(found, cfg),
                "## Does length look like a difference?\n\n" + lengths(found, cfg),
                "## What differs\n\n" + differing(found, cfg),
                "## Does what differs do anything?\n\n" + singles(found, cfg),
                "## What circuits under the budget do\n\n" + circuits(found, cfg),
                "## How sure is the list?\n\n" + inclusion(found),
                "## What this page cannot say\n\n" + LIMITS,
            ]
        )
        + "\n"
    )


def number(value, digits=2):
    """A number as text, a dash where there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def percent(value):
    """A share as per cent."""
    return "-" if value is None or not np.isfinite(value) else f"{100 * value:.0f} %"


def between(row, key):
    """A share with its interval."""
    return f"{percent(row[key])} ({percent(row[f'{key}_low'])} to {percent(row[f'{key}_high'])})"


def setting(found, cfg):
    """What was done."""
    recipes = "; ".join(
        f"`{name}`: {recipe['score'].replace('_', ' ')}, positions {recipe['positions']}, scale {recipe['scale']}, circuits by {' and '.join(recipe['rules'])}"
        for name, recipe in ((name, cfg["recipes"][name]) for name in cfg["recipe_names"])
    )
    pairs = found["differences"].query("condition == 'real'")["pairs"]
    return (
        "# Findings: contrast\n\n"
        f"Two sets of texts ({', '.join(cfg['titles'][name] for name in cfg['sets'])}) in {', '.join(cfg['models'])}, "
        f"{int(pairs.min())} to {int(pairs.max())} train pairs. Recipes: {recipes}. Circuits have a write budget of {cfg['budget']:g} "
        f"({'dimensions' if cfg['budget'] >= 1 else 'of all dimensions'}) and are tested on held-out examples; what is removed is "
        f"replaced by {cfg['replacement']}."
    )


def lengths(found, cfg):
    """The controls beside the real comparison, and a sentence a recipe."""
    table, lines = (
        found["lengths"],
        [
            "| model | texts | recipe | comparison | pairs | clusters | significant | first | mean score | median share of the real score | Jaccard of the circuits |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ],
    )
    for row in table.to_dict("records"):
        cells = [
            row["model"],
            row["set"],
            row["recipe"],
            row["condition"] + (" (by construction)" if row["given"] else ""),
            str(row["pairs"]),
            str(row["clusters"]),
            f"{row['significant']} of {row['components']}",
            row["top"] if isinstance(row["top"], str) else "-",
            number(row["mean_score"], 3),
            number(row["ratio"]),
            number(row["jaccard"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    told = []
    for (model, name, recipe), mine in table.groupby(["model", "set", "recipe"], sort=False):
        row, title = mine.set_index("condition"), f"- `{recipe}` ({name}, {model}): "
        for condition, words in (("shortened", "without its end"), ("beheaded", "without its beginning")):
            if condition not in row.index or row.loc[condition, "pairs"] == 0:
                continue
            short = row.loc[condition]
            if short["given"]:
                told.append(f"{title}a text {words} is the same to it, by construction.")
            elif short["significant"] == 0:
                told.append(f"{title}no difference is shown between a text and itself {words}.")
            else:
                told.append(
                    f"{title}between a text and **itself** {words} (up to {cfg['longest']} tokens), {short['significant']} of "
                    f"{short['components']} components differ, {number(short['ratio'])} times as much as between the two sets "
                    f"(median); most does {short['top']}. None of it has to do with what is asked."
                )
        if "padded" in row.index and row.loc["padded", "pairs"]:
            padded = row.loc["padded"]
            told.append(
                f"{title}where the second texts are padded, scores are {number(padded['ratio'])} times the real ones (median), with a "
                f"rank correlation of {number(padded['correlation'])}{', by construction' if padded['given'] else ''}."
            )
    return "\n".join(lines) + "\n\n" + "\n".join(told)


def differing(found, cfg):
    """First components of each recipe."""
    lines = ["| model | texts | recipe | significant | largest scores |", "|---|---|---|---|---|"]
    real = found["differences"].query("condition == 'real'")
    for (model, name, recipe), mine in real.groupby(["model", "set", "recipe"], sort=False):
        top = mine.sort_values("score", ascending=False).head(4)
        told = ", ".join(
            f"{row.component} {number(row.score)} ({number(row.low)} to {number(row.high)})" for row in top.itertuples()
        )
        count = int((mine["q_value"] < cfg["tests"]["alpha"]).sum())
        lines.append(f"| {model} | {name} | {recipe} | {count} of {len(mine)} | {told} |")
    return "\n".join(lines) + (
        "\n\nSignificant is that the sets' mean activations differ at a recipe's positions; it does not test the "
        "recipe's own score, so recipes that compare the same positions of the same texts, or texts of equal length, agree in it."
    )


def singles(found, cfg):
    """How many components differ and do something, and which differ most and do nothing."""
    table = found["components"].dropna(subset=["reading"])
    if table.empty:
        return "No task with an answer belongs to these texts, so nothing is known of what components do."
    lines = [
        "| model | texts | recipe | " + " | ".join(READINGS.values()) + " |",
        "|---|---|---|" + "---|" * len(READINGS),
    ]
    told = []
    for (model, name, recipe), mine in table.groupby(["model", "set", "recipe"], sort=False):
        mine = mine[mine["component"] != "input"]
        counts = mine["reading"].value_counts()
        lines.append(
            f"| {model} | {name} | {recipe} | " + " | ".join(str(counts.get(key, 0)) for key in READINGS) + " |"
        )
        ranked = mine.sort_values("score", ascending=False)
        upper = ranked.head(len(ranked) // 2)
        idle = upper[upper["reading"] == "idle"]["component"].head(6)
        correlation = mine["score"].rank().corr(mine["size"].rank())
        sentence = f"- `{recipe}` ({name}, {model}): rank correlation of score and size of the own effect {number(correlation)}."
        if len(idle):
            sentence += (
                f" Among the upper half by score, {', '.join(idle)} {'does' if len(idle) == 1 else 'do'} nothing alone: active, and of no use "
                f"that corrupting one at a time shows (on average less than {percent(cfg['margin'])} of the whole effect, either way)."
            )
        told.append(sentence)
    return "\n".join(lines) + "\n\n" + "\n".join(told)


def circuits(found, cfg):
    """The tested circuits, and the comparison with attribution at equal cost."""
    table = found["tests"]
    if table.empty:
        return "No task with an answer belongs to these texts, so circuits were not tested."
    lines = [
        "| model | texts | scored by | chosen by | heads | MLPs | cost | keeps | random ones | q | removes | random ones | q |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    # Rules of one recipe often choose the same circuit.
    rules = table.groupby(["model", "set", "source", "circuit"])["rule"].agg(", ".join)
    table = table.drop_duplicates(["model", "set", "source", "circuit"])
    table = table.assign(rule=[rules[tuple(row)] for row in table[["model", "set", "source", "circuit"]].to_numpy()])
    for row in table.to_dict("records"):
        cells = [
            row["model"],
            row["set"],
            row["source"],
            row["rule"],
            str(row["heads"]),
            str(row["mlps"]),
            f"{row['cost']} of {row['dimensions']}",
            between(row, "keep"),
            percent(row["keep_random"]),
            number(row["q_keep"], 3),
            between(row, "remove"),
            percent(row["remove_random"]),
            number(row["q_remove"], 3),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    told = [
        "Shares are of the effect of corrupting everything: a circuit alone *keeps* so much of the metric, and removing it takes so much away. "
        "Random circuits have as many heads and as many MLPs."
    ]
    for row in table.dropna(subset=["against"]).to_dict("records"):
        low, high = row["against_low"], row["against_high"]
        verdict = "less" if high < 0 else "more" if low > 0 else "not shown to keep more or less"
        verb = f"keeps {verdict}" if verdict in ("less", "more") else f"is {verdict}"
        told.append(
            f"- {row['source']}, {row['rule']} ({row['set']}, {row['model']}) {verb} than the circuit of {cfg['attribution']} within the same budget "
            f"(difference {percent(row['against'])}, {percent(low)} to {percent(high)})."
        )
    return "\n".join(lines) + "\n\n" + "\n".join([*told, *at_budgets(found, cfg)])


def at_budgets(found, cfg):
    """What circuits keep at every budget: the one that is tested is one of many."""
    lines = []
    table = found["frontier"][found["frontier"]["source"] != "random"]
    for (model, name, source, rule), mine in table.groupby(["model", "set", "source", "rule"], sort=False):
        first = cfg["recipes"].get(source, {"rules": ["knapsack"]})["rules"][0]
        if rule == first:
            mine = mine.sort_values("dimensions")
            told = ", ".join(
                f"{percent(keep)} at {min(budget, 1):.2g}"
                for keep, budget in zip(mine["keep"], mine["budget"], strict=True)
            )
            lines.append(f"- By budget, {source}, {rule} ({name}, {model}) keeps {told}.")
    return lines


def inclusion(found):
    """How many members are in nearly every draw, also where there is no difference to find."""
    table = found["inclusion"]
    lines = [
        "| model | texts | scored by | chosen by | in the circuit | of these in 95 % of draws | outside, but in 5 % of draws or more | without the difference: in the circuit, of these in 95 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for names, mine in table[table["condition"] == "real"].groupby(["model", "set", "source", "rule"], sort=False):
        inside, outside = mine[mine["selected"]], mine[~mine["selected"]]
        model, name, source, rule = names
        others = table[
            (table["model"] == model)
            & (table["set"] == name)
            & (table["source"] == source)
            & (table["rule"] == rule)
            & table["condition"].isin(["unrelated", "shuffled"])
            & table["selected"]
        ]
        without = ", ".join(
            f"{condition} {len(rows)}, {int((rows['probability'] >= 0.95).sum())}"
            for condition, rows in others.groupby("condition", sort=False)
        )
        cells = [
            *names,
            str(len(inside)),
            str(int((inside["probability"] >= 0.95).sum())),
            str(int((outside["probability"] >= 0.05).sum())),
            without or "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\nA list that is as sure without the difference is not sure of it."
