"""What the scaling study found in a few sentences, for the first page and the end of a run."""

from circuit_reuse.report.numbers import listed, span
from circuit_reuse.studies.scaling.findings import trend_everywhere

# Columns that the sentences use, by table; a table without rows may lack some.
COLUMNS = {
    "models": "model replacement correlation corrected correlation_within_layers q_correlation q_within_layers",
    "head_category_summary": "n_shared n_uncertain",
    "hero_vs_random": "effect matching q_value difference",
    "fits": "family measure replacement slope q_value",
}
# What random heads are matched for.
MATCHED = {"plain": "of any layer", "layer": "of the same layers", "norm": "of like output norm"}


def sentences(found, cfg):
    """Heads of both tasks, and what changes with size."""
    models = found["models"][found["models"]["replacement"] == cfg["replacement"]]
    classes = found["head_category_summary"].dropna(subset=["n_shared", "n_uncertain"])
    counts = [name for name in classes if name.startswith("n_")]
    tasks = " and ".join(cfg["titles"].values())
    both = classes["n_shared"].sum()
    if not len(models):
        return
    yield (
        f"Of {int(classes[counts].to_numpy().sum())} heads in {len(classes)} models, {int(both)} are strong in both tasks ({tasks}), "
        f"{int(classes['n_uncertain'].sum())} are uncertain."
    )
    joined = models[models["q_correlation"] <= cfg["alpha"]]
    inside = models[models["q_within_layers"] <= cfg["alpha"]]
    up, down = (int((joined["correlation"] * sign > 0).sum()) for sign in (1, -1))
    positive, negative = (int((inside["correlation_within_layers"] * sign > 0).sum()) for sign in (1, -1))
    yield (
        f"Effects of heads on the two tasks go together in {up} of {len(models)} models"
        + (f" and against each other in {down}" if down else "")
        + f" (q <= {cfg['alpha']:g}; correlation corrected for noise {span(models['corrected'])}); within layers the correlation is positive in {positive} and negative in {negative}."
    )
    heroes = found["hero_vs_random"]
    tested = heroes.dropna(subset=["q_value"])
    if len(tested):
        # Each matching is a null of its own.
        parts = []
        for matching, part in tested.groupby("matching", sort=False):
            beyond = part[(part["q_value"] <= cfg["alpha"]) & (part["difference"] < 0) & (part["effect"] < 0)]
            parts.append(f"{MATCHED.get(matching, matching)} in {len(beyond)} of {len(part)} tested comparisons")
        yield f"Removing hero heads costs more than removing as many random heads {', '.join(parts)}."
    fits = found["fits"]
    if not len(fits.dropna(subset=["q_value", "slope"])):
        yield "There are too few sizes of a family to ask what changes with size."
        return
    # As in the page of findings: a trend that depends on how heads are replaced is none.
    grown = [
        f"{measure} ({family})"
        for (family, measure), part in fits.groupby(["family", "measure"], sort=False)
        if trend_everywhere(part, cfg["alpha"])
    ]
    yield (
        f"With size change, under every replacement: {listed(grown)}."
        if grown
        else "No measure is shown to change with the size of the model under every replacement."
    )
