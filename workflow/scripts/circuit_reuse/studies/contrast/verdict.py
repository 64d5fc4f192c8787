"""The comparisons in words: what passed, and what passing is worth."""

from circuit_reuse.report import pages
from circuit_reuse.report.numbers import number, p_text
from circuit_reuse.stats import statistics
from circuit_reuse.studies.contrast.pooling import by_construction

KINDS = {
    "given": "Comparisons that were asked for",
    "halves": "Circuits of two halves of the same texts",
    "control": "Circuits of texts without the difference",
    "scorings": "Circuits of two scorings on the same texts",
}
EXPLAINED = {
    "given": "Overlap with a circuit that the same scoring made says that the scoring is stable, not that the circuit is right: set it beside the controls.",
    "halves": "A scoring that measures something of the texts gives about the same circuit for either half of them.",
    "control": "Each compares the circuit of the real comparison with that of one in which nothing is left of the difference (unrelated, shuffled, right_truncated, left_truncated), or to which length was added (padded). A scoring that follows the difference finds another circuit in the former and the same in the last. What a scoring cannot see by construction is marked, and is no evidence: positions counted from the front do not see what comes after, norms do not see labels.",
    "scorings": "Different scorings on the same texts; the last is attribution, at equal cost.",
}
NAMES = {
    "jaccard": "Jaccard index",
    "beyond_chance": "overlap beyond chance",
    "p_overlap": "p of the overlap",
    "rank_biased_overlap": "rank-biased overlap",
    "rank_correlation": "rank correlation",
    "score_difference": "median difference of scores",
    "faithfulness_difference": "difference of faithfulness",
}
# Statistics that must be at most their threshold; the others at least.
AT_MOST = ("p_overlap", "score_difference", "faithfulness_difference")
LIMITS = (
    "p of the overlap is that of random circuits with as many heads and as many MLPs (hypergeometric), and the "
    "overlap beyond chance is measured against the same. Chance does not know that some components differ more in "
    "any texts: the controls do. p of the labels flips those of all pairs of a cluster at random, in both halves, and "
    "chooses circuits again; it says whether the difference that is asked for shapes the circuit, not whether the "
    "circuit does anything; with few clusters in each half it has little power. Bounds of the Jaccard index are over bootstrap draws of both sides, and lie lower than "
    "the index where scores lie close together; a file has none. Thresholds are set in the config before the run. "
    "Where a file has no scores or no order, what needs them is left out, and is neither passed nor failed: the "
    "verdict says how many criteria could be judged. Scores are compared within one scoring or between files only, "
    "faithfulness only where a circuit keeps at least a tenth."
)


def text(table, cfg):
    """The page, in Markdown.  table: rows of replicate.csv"""
    parts = ["# Comparisons of circuits", asked(cfg)]
    for kind, title in KINDS.items():
        mine = table[table["kind"] == kind]
        if mine.empty:
            continue
        parts += [f"## {title}", EXPLAINED[kind], listed(mine)]
        if kind == "given":
            parts.append("\n".join(f"- {sentence(name, rows)}" for name, rows in mine.groupby("pair", sort=False)))
    parts += ["## What scorings are worth", worth(table, cfg), "## What this page cannot say", LIMITS]
    return "\n\n".join(parts) + "\n"


def asked(cfg):
    """The thresholds."""
    reported = [
        f"{NAMES[name]} {'at most' if name in AT_MOST else 'at least'} {value:g}"
        for name, value in cfg["thresholds"].items()
        if value is not None
    ]
    return f"A comparison passes if every criterion that can be evaluated is met: {', '.join(reported)}."


def value(rows, name):
    """A statistic of one comparison, or None."""
    found = rows.loc[rows["statistic"] == name, "value"]
    return None if found.empty or found.isna().iloc[0] else float(found.iloc[0])


def passed(rows):
    """Whether all thresholds that apply are met; None if none applies."""
    known = rows["passes"].dropna()
    return None if known.empty else bool(known.astype(bool).all())


def judged(rows):
    """The verdict on one comparison with how many criteria it rests on."""
    known, asked = int(rows["passes"].notna().sum()), int(rows["threshold"].notna().sum())
    word = {True: "passes", False: "fails", None: "not judged"}[passed(rows)]
    return f"{word} ({known} of {asked} judged)" if known else word


def listed(table):
    """One line a comparison."""
    header = "comparison | components | shared | by chance | Jaccard | by chance | beyond chance | rank-biased overlap | rank correlation | verdict"
    lines = []
    for name, rows in table.groupby("pair", sort=False):
        sizes = f"{number(value(rows, 'n_components_first'), 0)}, {number(value(rows, 'n_components_second'), 0)}"
        cells = [
            name,
            sizes,
            number(value(rows, "n_shared"), 0),
            number(value(rows, "n_shared_null"), 1),
            number(value(rows, "jaccard")),
            number(value(rows, "jaccard_null")),
            *(number(value(rows, key), 2) for key in ("beyond_chance", "rank_biased_overlap", "rank_correlation")),
            judged(rows),
        ]
        lines.append(cells)
    return pages.table(header.split(" | "), lines)


def sentence(name, rows):
    """A comparison in words."""
    failed = rows[rows["passes"] == False]  # noqa: E712  (it is a column of True, False and None)
    reported = ", ".join(
        f"{NAMES[row.statistic]} {row.value:.3g} (asked: {row.threshold:g})" for row in failed.itertuples()
    )
    start = (
        f"**{name}**: {number(value(rows, 'n_shared'), 0)} of {number(value(rows, 'n_components_first'), 0)} components, "
        f"Jaccard index {number(value(rows, 'jaccard'))}, {number(value(rows, 'jaccard_null'))} by chance; "
        f"{number(value(rows, 'n_scored_in_both'), 0)} components have a score in both. {judged(rows).capitalize()}"
    )
    return f"{start}: {reported}." if reported else f"{start}."


def worth(table, cfg):
    """For each scoring, whether the difference that is asked for shapes its circuit."""
    lines = []
    controls, halves = (table[table["kind"] == kind] for kind in ("control", "halves"))
    pairs = list(halves.groupby("pair", sort=False))
    # One family over all models, sets and scorings.
    q_values = statistics.false_discovery([value(rows, "p_labels") for _, rows in pairs])
    for (name, rows), q in zip(pairs, q_values, strict=True):
        start = name.removesuffix(", two halves")
        scoring = start.rsplit(": ", 1)[1]
        own = value(rows, "jaccard")
        reported = (
            f"- **{start}**: two halves agree with a Jaccard index of {number(own)}; with labels at random they would with "
            f"{number(value(rows, 'jaccard_labels'))} ({p_text('q', q)}). "
        )
        reported += (
            "The difference shapes what is found."
            if q <= cfg["alpha"]
            else "This does not show that the agreement comes from the difference that is asked for."
        )
        same = []
        for pair, mine in controls[controls["pair"].str.startswith(f"{start}, ")].groupby("pair", sort=False):
            control = pair.removeprefix(f"{start}, ")
            found = value(mine, "jaccard")
            limit = cfg["thresholds"]["jaccard"]
            if control != "padded" and limit is not None and found is not None and found >= limit:
                same.append(
                    f"{control} ({number(found)}{', by construction' if by_construction(cfg['scorings'][scoring], control) else ''})"
                )
        if same:
            reported += f" The same circuit is found without the difference: {', '.join(same)}."
        lines.append(reported)
    return "\n".join(lines)
