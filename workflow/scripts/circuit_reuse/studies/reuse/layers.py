"""Where in depth example circuits lie: heads and MLPs by layer."""

from circuit_reuse.data import components

KEYS = ("model", "task", "method")


def rows(inclusion):
    """Rows of layers.csv.

    inclusion: the inclusion table of all models and tasks, one of whose rows is how often example circuits hold a component
    returns:   [{..., top_k, k, layer, kind, n_components, mean_number, mean_number_null}]; the null takes K of all components at random
    """
    table = inclusion.assign(
        layer=[components.place(name)[0] for name in inclusion["component"]],
        kind=[components.kind(name) for name in inclusion["component"]],
    )
    found, keys = [], [key for key in KEYS if key in table]
    for about, mine in table.groupby([*keys, "top_k", "k"], sort=False):
        for (layer, kind), part in mine.groupby(["layer", "kind"]):
            row = dict(zip((*keys, "top_k", "k"), about, strict=True)) | {"layer": int(layer), "kind": kind}
            row |= {"n_components": len(part), "mean_number": float(part["frequency"].sum())}
            found.append(row | {"mean_number_null": float(row["k"] * len(part) / len(mine))})
    return found
