"""The page of findings of the contrast study: what its numbers say, and what they do not."""

import pandas as pd

from circuit_reuse.data.gather import pick
from circuit_reuse.report import pages
from circuit_reuse.report.numbers import number, percent, small
from circuit_reuse.studies.contrast.measures import INTERPRETATIONS

LIMITS = (
    "A difference in activation is a correlation: what a component does is asked of the interventions, on the "
    "task's own answer, held-out examples only. Where texts differ in a word, every component that reads it "
    "differs: q says that a difference is there, the score how large, neither what it is for. q holds for the units "
    "that are flipped, pairs or clusters of pairs that share words (both numbers stand in the table), and says "
    "nothing of other templates or models; whatever goes along with the labels is in the difference. A component that "
    "does nothing alone may act together with others. Intervals are drawn from the same units, and lie wide "
    "where a difference is small: bounds below 0 do not contradict q. Scores of the published scoring have no zero: "
    "two texts that have nothing to do with what is asked differ, too. Positions counted from the front are compared "
    "as they are counted, not by what stands there, and cannot see what comes after them: that right_truncated and padded "
    "texts change nothing there is so by construction, that left_truncated ones do is not. The input is in every circuit "
    "and never replaced, so necessity is that of the heads and MLPs. In units of spread an MLP counts as much as a head "
    "and costs more, so that ratio and knapsack prefer heads. Random circuits of equal composition are at most as "
    "many as there are, and p is never below one over their number and one. They are of any layers: where a few layers "
    "matter to every circuit, a small p may be that of the layers."
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
                "## What this page cannot say\n\n" + pages.bullets(LIMITS),
            ]
        )
        + "\n"
    )


def between(row, key):
    """A share with its interval."""
    return f"{percent(row[key])} ({percent(row[f'{key}_low'])} to {percent(row[f'{key}_high'])})"


def setting(found, cfg):
    """What was done."""
    scorings = "; ".join(
        f"`{name}`: {scoring['score'].replace('_', ' ')}, positions {scoring['positions']}, scale {scoring['scale']}, circuits by {' and '.join(scoring['rules'])}"
        for name, scoring in ((name, cfg["scorings"][name]) for name in cfg["scoring_names"])
    )
    pairs = found["differences"].query("condition == 'real'")["n_pairs"]
    return (
        "# Findings: contrast\n\n"
        f"Two sets of texts ({', '.join(cfg['titles'][name] for name in cfg['sets'])}) in {', '.join(cfg['models'])}, "
        f"{int(pairs.min())} to {int(pairs.max())} train pairs. Scoring configurations: {scorings}. Circuits have a write budget of {cfg['budget']:g} "
        f"({'dimensions' if cfg['budget'] >= 1 else 'of all dimensions'}) and are tested on held-out examples; what is removed is "
        f"replaced by {cfg['replacement']}."
    )


def lengths(found, cfg):
    """The controls beside the real comparison, and a sentence a scoring."""
    table = found["lengths"]
    header = "model | texts | scoring | comparison | pairs | clusters | significant | first | mean score | median share of the real score | Jaccard of the circuits"
    rows = [
        [
            row["model"],
            row["set"],
            row["scoring"],
            row["condition"] + (" (by construction)" if row["by_construction"] else ""),
            row["n_pairs"],
            row["n_clusters"],
            of_components(row["n_significant"], row["n_components"], row["n_clusters"]),
            row["top_component"] if isinstance(row["top_component"], str) else "-",
            number(row["mean_score"], 3),
            number(row["ratio"]),
            number(row["jaccard"]),
        ]
        for row in table.to_dict("records")
    ]
    reported = []
    for (model, name, scoring), mine in table.groupby(["model", "set", "scoring"], sort=False):
        row, title = mine.set_index("condition"), f"- `{scoring}` ({name}, {model}): "
        for condition, words in (("right_truncated", "without its end"), ("left_truncated", "without its beginning")):
            if condition not in row.index or row.loc[condition, "n_pairs"] == 0:
                continue
            short = row.loc[condition]
            if short["by_construction"]:
                reported.append(f"{title}a text {words} is the same to it, by construction.")
            elif pd.isna(short["n_significant"]):
                reported.append(
                    f"{title}between a text and itself {words} nothing is tested, as there are too few clusters."
                )
            elif short["n_significant"] == 0:
                reported.append(f"{title}no difference is shown between a text and itself {words}.")
            else:
                reported.append(
                    f"{title}between a text and **itself** {words} (up to {cfg['longest']} tokens), {short['n_significant']:.0f} of "
                    f"{short['n_components']} components differ, most at {short['top_component']}; over all components the difference is "
                    f"{number(short['ratio'])} times that between the two sets (median). This is an effect of what was cut, not of the sets."
                )
        if "padded" in row.index and row.loc["padded", "n_pairs"]:
            padded = row.loc["padded"]
            reported.append(
                f"{title}where the second texts are padded, scores are {number(padded['ratio'])} times the real ones (median), with a "
                f"rank correlation of {number(padded['correlation'])}{', by construction' if padded['by_construction'] else ''}."
            )
    return pages.table(header.split(" | "), rows) + "\n\n" + "\n".join(reported)


def of_components(significant, components, clusters):
    """How many components of how many are significant; or, where there is no p, why."""
    return f"not tested, {clusters:.0f} clusters" if pd.isna(significant) else f"{significant:.0f} of {components}"


def differing(found, cfg):
    """First components of each scoring."""
    rows = []
    real = found["differences"].query("condition == 'real'")
    for (model, name, scoring), mine in real.groupby(["model", "set", "scoring"], sort=False):
        top = mine.sort_values("score", ascending=False).head(4)
        reported = ", ".join(
            f"{row.component}{'*' if row.q_value <= cfg['tests']['alpha'] else ''} {number(row.score)}"
            + ("" if pd.isna(row.score_low) else f" ({number(row.score_low)} to {number(row.score_high)})")
            for row in top.itertuples()
        )
        count = (mine["q_value"] <= cfg["tests"]["alpha"]).sum() if mine["q_value"].notna().any() else None
        significant = of_components(count, len(mine), mine["n_clusters"].max())
        rows.append([model, name, scoring, significant, reported])
    return pages.table(["model", "texts", "scoring", "significant (*)", "largest scores"], rows) + (
        "\n\n\"Significant\" means that the sets' mean activations differ at a scoring's positions; it does not test the "
        "scoring's own score, so scorings that compare the same positions of the same texts, or texts of equal length, agree in it."
    )


def singles(found, cfg):
    """How many components differ and do something, and which differ most and do nothing."""
    table = found["components"].dropna(subset=["interpretation"])
    if table.empty:
        return "No task with an answer belongs to these texts, so nothing is known of what components do."
    rows, reported = [], []
    for (model, name, scoring), mine in table.groupby(["model", "set", "scoring"], sort=False):
        mine = mine[mine["component"] != "input"]
        counts = mine["interpretation"].value_counts()
        rows.append([model, name, scoring, *(counts.get(key, 0) for key in INTERPRETATIONS)])
        ranked = mine.sort_values("score", ascending=False)
        upper = ranked.head(len(ranked) // 2)
        idle = upper[upper["interpretation"] == "idle"]["component"].head(6)
        correlation = mine["score"].rank().corr(mine["effect_share_absolute"].rank())
        sentence = f"- `{scoring}` ({name}, {model}): rank correlation of score and size of the own effect {number(correlation)}."
        if len(idle):
            sentence += (
                f" Among the upper half by score, {', '.join(idle)} {'does' if len(idle) == 1 else 'do'} nothing alone: active, and with no effect "
                f"when corrupted alone (on average less than {percent(cfg['margin'])} of the whole effect, either way)."
            )
        reported.append(sentence)
    return pages.table(["model", "texts", "scoring", *INTERPRETATIONS.values()], rows) + "\n\n" + "\n".join(reported)


def circuits(found, cfg):
    """The tested circuits, and the comparison with attribution at equal cost."""
    table = found["tests"]
    if table.empty:
        return "No task with an answer belongs to these texts, so circuits were not tested."
    header = "model | texts | scored by | chosen by | heads | MLPs | cost | keeps | random ones | q | removes | random ones | q"
    # Rules of one scoring often choose the same circuit.
    rules = table.groupby(["model", "set", "scored_by", "circuit"])["rule"].agg(", ".join)
    table = table.drop_duplicates(["model", "set", "scored_by", "circuit"])
    table = table.assign(rule=[rules[tuple(row)] for row in table[["model", "set", "scored_by", "circuit"]].to_numpy()])
    rows = [
        [
            row["model"],
            row["set"],
            row["scored_by"],
            row["rule"],
            row["n_heads"],
            row["n_mlps"],
            f"{row['cost']} of {row['dimensions']}",
            between(row, "faithfulness"),
            percent(row["faithfulness_random"]),
            small(row["q_faithfulness"]),
            between(row, "effect_share"),
            percent(row["effect_share_random"]),
            small(row["q_effect_share"]),
        ]
        for row in table.to_dict("records")
    ]
    reported = [
        "Shares are of the effect of corrupting everything: *keeps* is the share of the metric that a circuit alone keeps, the other the share that removing it loses. "
        "Random circuits have as many heads and as many MLPs."
    ]
    for row in table.dropna(subset=["faithfulness_lead"]).to_dict("records"):
        low, high = row["faithfulness_lead_low"], row["faithfulness_lead_high"]
        verdict = "less" if high < 0 else "more" if low > 0 else "not shown to keep more or less"
        verb = f"keeps {verdict}" if verdict in ("less", "more") else f"is {verdict}"
        reported.append(
            f"- {row['scored_by']}, {row['rule']} ({row['set']}, {row['model']}) {verb} than the circuit of {cfg['attribution']} within the same budget "
            f"(difference {percent(row['faithfulness_lead'])}, {percent(low)} to {percent(high)})."
        )
    return pages.table(header.split(" | "), rows) + "\n\n" + "\n".join([*reported, *at_budgets(found, cfg)])


def at_budgets(found, cfg):
    """What circuits keep at every budget: the one that is tested is one of many."""
    lines = []
    table = found["budget_sweep"][found["budget_sweep"]["scored_by"] != "random"]
    for (model, name, source, rule), mine in table.groupby(["model", "set", "scored_by", "rule"], sort=False):
        first = cfg["scorings"].get(source, {"rules": ["knapsack"]})["rules"][0]
        if rule == first:
            mine = mine.sort_values("dimensions")
            reported = ", ".join(f"{percent(row.faithfulness)} at {sized(row.budget)}" for row in mine.itertuples())
            lines.append(f"- By budget, {source}, {rule} ({name}, {model}) keeps {reported}.")
    return lines


def sized(budget):
    """A write budget in words: a share of all dimensions, or how many they are."""
    return f"{budget:.2g}" if budget < 1 else f"{budget:,.0f} dimensions"


def inclusion(found):
    """How many members are in nearly every draw, also where there is no difference to find."""
    table = found["inclusion"]
    header = "model | texts | scored by | chosen by | in the circuit | of these in 95 % of draws | outside, but in 5 % of draws or more | without the difference: in the circuit, of these in 95 %"
    lines = []
    for names, mine in table[table["condition"] == "real"].groupby(["model", "set", "scored_by", "rule"], sort=False):
        inside, outside = mine[mine["in_circuit"]], mine[~mine["in_circuit"]]
        model, name, source, rule = names
        others = pick(table, model=model, set=name, scored_by=source, rule=rule, in_circuit=True)
        others = others[others["condition"].isin(["unrelated", "shuffled"])]
        without = ", ".join(
            f"{condition} {len(rows)}, {int((rows['frequency'] >= 0.95).sum())}"
            for condition, rows in others.groupby("condition", sort=False)
        )
        lines.append(
            [
                *names,
                len(inside),
                (inside["frequency"] >= 0.95).sum(),
                (outside["frequency"] >= 0.05).sum(),
                without or "-",
            ]
        )
    return (
        pages.table(header.split(" | "), lines) + "\n\nA list that is as sure without the difference is not sure of it."
    )
