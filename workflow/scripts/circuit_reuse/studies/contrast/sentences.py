"""What the contrast study found in a few sentences, for the first page and the end of a run."""

from circuit_reuse.report.numbers import MOST, listed, number, span

# Columns that the sentences use, by table; a table without rows may lack some.
COLUMNS = {
    "lengths": "model set scoring condition n_components n_significant ratio by_construction",
    "tests": "model set scored_by circuit faithfulness faithfulness_random q_faithfulness",
    "replicate": "pair kind statistic value passes",
}


def sentences(found, cfg):
    """What differs, whether length alone would, and whether published circuits come out."""
    lengths = found["lengths"].dropna(subset=["n_significant", "n_components"])
    real = lengths[lengths["condition"] == "real"]
    for row in real.head(MOST).to_dict("records"):
        yield (
            f"{cfg['titles'].get(row['set'], row['set'])} in {row['model']}, scoring {row['scoring']}: {row['n_significant']:.0f} of {row['n_components']:.0f} components differ."
        )
    alone = lengths[
        lengths["condition"].isin(["right_truncated", "left_truncated"]) & ~lengths["by_construction"].astype(bool)
    ]
    fooled = alone[(alone["n_significant"] > 0) & (alone["ratio"] >= 1)]
    named = [f"{row.condition.replace('_', ' ')} by {row.scoring}" for row in fooled.itertuples()]
    if len(alone):
        yield (
            f"Texts and the same texts without an end or a beginning differ at least as much as the two sets do (median over components) in {len(fooled)} of "
            f"{len(alone)} comparisons in which they can differ: {listed(named) if named else 'none'}."
        )
    # Two rules may choose the same circuit.
    kept = found["tests"].dropna(subset=["q_faithfulness"]).drop_duplicates(["model", "set", "scored_by", "circuit"])
    parts = []
    for source, rows in kept.groupby("scored_by", sort=False):
        good = rows[(rows["q_faithfulness"] <= cfg["alpha"]) & (rows["faithfulness"] > rows["faithfulness_random"])]
        whose = {"file": "from files", cfg["attribution"]: f"by attribution ({source})"}.get(
            source, f"by differences ({source})"
        )
        parts.append(f"{len(good)} of {len(rows)} {whose}, which bring back {span(100 * rows['faithfulness'], ' %')}")
    if parts:
        yield f"Kept alone, these circuits under the budget do more of the task than size-matched random circuits of any layers: {'; '.join(parts)}."
    pairs = found["replicate"]
    for name, rows in pairs[pairs["kind"] == "given"].groupby("pair", sort=False):
        value = rows.set_index("statistic")["value"]
        judged = rows["passes"].dropna().astype(bool)
        yield (
            f"Circuits from files, comparison {name}: {value['n_shared']:.0f} of {value['n_components_first']:.0f} and {value['n_components_second']:.0f} components are shared "
            f"(Jaccard index {number(value['jaccard'])}, {number(value['jaccard_null'])} by chance); {int(judged.sum())} of the {len(judged)} criteria that could be judged are met."
        )
