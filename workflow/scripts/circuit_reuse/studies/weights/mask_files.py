"""Masks in files, and the sweep's results as one JSON; no torch."""

from circuit_reuse.data import tables
from circuit_reuse.studies.weights import schemas, weight_sets


class MaskFileError(ValueError):
    """A mask that cannot be used."""


def chosen(path, fingerprint, names):
    """The mask of a file that is marked as chosen: (bool [node], its hash).

    path:   a masks table;  names: all nodes of the model, in order
    raises: MaskFileError if it was made for other weights, for other nodes, or was changed since
    """
    frame = read_table(path, fingerprint)
    frame = frame[frame["chosen"]]
    if list(frame["node"]) != list(names):
        raise MaskFileError(
            f"{path} has {len(frame)} nodes, from {first(frame['node'])}; the model has {len(names)}, "
            f"from {first(names)}: it is a mask of another model"
        )
    active = frame["active"].to_numpy(bool)
    kept = [name for name, on in zip(names, active, strict=True) if on]
    found, reported = weight_sets.mask_hash(fingerprint, kept), frame["mask"].iloc[0]
    if found != reported:
        raise MaskFileError(f"{path}: its nodes have the hash {found}, but it says {reported}: it was changed")
    return active, reported


def first(names):
    """The first of some names in words."""
    return next(iter(names), "none")


def read_table(path, fingerprint):
    """A masks table of the model with a fingerprint; see `chosen`."""
    try:
        frame = tables.read(path, schemas.MASKS)
    except (ValueError, OSError) as problem:
        raise MaskFileError(f"{path} is no masks table (masks.parquet of an earlier run): {problem}") from None
    made_for = tables.provenance(path).get("model")
    if made_for != fingerprint:
        raise MaskFileError(
            f"{path} was made for the model with fingerprint {made_for}, not {fingerprint}: a mask "
            "holds for the very weights that it was learned on"
        )
    return frame


def read_mask(path, fingerprint, names, task):
    """The active nodes of a user's mask, bool [node]; raises MaskFileError as `chosen` does."""
    active, _ = chosen(path, fingerprint, names)
    if not active.any():
        raise MaskFileError(f"{path}: no node is active, so there is no circuit for {task}")
    return active


def results(sweep, circuit, matched):
    """weight_ablation_sweep_results in the keys of the study, and what the study lacks.

    sweep: rows of the sweep table;  circuit: row of the circuits table
    matched: the control that stands as random_size_matched: quantile or window
    """
    by_trial = sweep.groupby(["condition", "share", "n_removed", "trial"], as_index=False)["loss"].mean()

    def curve(condition):
        rows = by_trial[by_trial["condition"] == condition]
        found = {}
        for count, group in rows.groupby("n_removed"):
            losses = group["loss"].to_numpy(float)
            found[str(int(count))] = {"mean": float(losses.mean()), "std": float(losses.std())}
        return found

    def at_the_end(condition):
        rows = by_trial[by_trial["condition"] == condition]
        return float(rows[rows["share"] == rows["share"].max()]["loss"].mean())

    clean = by_trial[(by_trial["condition"] == "circuit") & (by_trial["share"] == 0)]["loss"]
    named = {
        "random_all_results": "non_circuit",
        "random_circuit_results": "circuit",
        "random_size_matched_results": matched,
        "layer_matched_results": "layer",
        "window_matched_results": "window",
        "quantile_matched_results": "quantile",
        "circuit_by_importance_results": "circuit_importance",
        "outside_by_importance_results": "outside_importance",
    }
    there = set(by_trial["condition"])
    trials = int(by_trial.loc[by_trial["condition"] == "circuit", "trial"].nunique())
    return {
        "baselines": {
            "clean_loss": float(clean.mean()),
            "non_circuit_weights_ablated_loss": at_the_end("all_non_circuit"),
            "circuit_weights_ablated_loss": at_the_end("circuit"),
        },
        **{key: curve(condition) for key, condition in named.items() if condition in there},
        "metadata": {
            "circuit_weight_count": int(circuit["n_weights"]),
            "total_weight_count": int(circuit["n_weights_total"]),
            "num_trials": trials,
            "num_examples": int(sweep["example"].nunique()),
            "circuit_weight_mean": float(circuit["size_mean"]),
            "circuit_weight_std": float(circuit["size_std"]),
            "mask": circuit["mask"],
            "random_size_matched": matched,
        },
    }
