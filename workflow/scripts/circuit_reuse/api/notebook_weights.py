"""Weights of a masked circuit against weights outside it, for a notebook."""

from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse.api.boundary import METRIC, SEED, TOKENS, between, one_of, several, used_of
from circuit_reuse.config.checks import SETTINGS
from circuit_reuse.data import fingerprint
from circuit_reuse.engine import batching
from circuit_reuse.stats.circuits import generator
from circuit_reuse.studies.weights import mask_files, matrices, nodes, outcomes, sweep, tau_files, weight_sets

LOSSES = ("auto", "cross_entropy", "binary")


def node_mask(model, mask, folder=None):
    """Which nodes of a model a mask keeps, bool [node].

    mask:    a .safetensors file of tau (tau_files), a masks.parquet of this project, or {`layer0_attn_in`: tau or bool array}
    folder:  of the model, whose fingerprint a masks.parquet must have
    raises:  MaskFileError for a mask that does not fit the model
    """
    if isinstance(mask, dict):
        if wrong := [name for name in mask if not isinstance(name, str)]:
            raise mask_files.MaskFileError(f"mask has the key {wrong[0]!r}; keys must be text, such as layer0_attn_in")
        return tau_files.of_tensors(mask, nodes.sites(model))[1]
    if not isinstance(mask, str | PathLike):
        raise mask_files.MaskFileError(
            f"mask is of type {type(mask).__name__}; it must be a path, or a dict of tau or bool arrays by the names of locations"
        )
    path = Path(mask)
    if path.suffix == ".safetensors":
        return tau_files.of_file(path, nodes.sites(model))[1]
    if path.suffix != ".parquet" or folder is None:
        raise mask_files.MaskFileError(f"{path}: give a .safetensors file, or a masks.parquet with the model's folder")
    own = fingerprint.fingerprint(folder)
    # A model of the same shape has nodes of the same names.
    other = model.folder is not None and model.folder.is_dir() and model.folder != Path(folder).resolve()
    if other and fingerprint.fingerprint(model.folder) != own:
        raise mask_files.MaskFileError(
            f"folder is {folder}, but the model was loaded from {model.folder}: give that folder"
        )
    return mask_files.chosen(path, own, nodes.names(model))[0]


def checked_mask(active, total):
    """A mask as an array; total: nodes of the model.

    raises: ValueError if it is not bool: numbers would be taken as places, or all as true
    """
    found = np.asarray(active.detach().cpu() if hasattr(active, "detach") else active)
    if found.dtype != bool:
        raise ValueError(
            f"active is of type {found.dtype}; it must be bool: of tau, `tau >= 0` says which nodes are active, as `node_mask` does"
        )
    if found.shape != (total,):
        raise ValueError(
            f"active has the shape {list(found.shape)}; it must be [{total}], an entry for each node of the model"
        )
    return found


def weight_sweep(
    model,
    examples,
    active,
    controls=("non_circuit", "matrix", "quantile"),
    points=11,
    trials=10,
    loss="auto",
    accuracy="top1",
    seed=0,
):
    """Set a growing share of a circuit's weights to zero in the intact model, and as many weights of each control.

    examples: as from `examples`; the held-out ones are used
    active:   bool [node], as from `node_mask`: a circuit's weights join two active nodes
    controls: of weights outside the circuit: non_circuit (any), matrix and layer (as many of each), quantile, touching and window (of the
              same sizes); where a matrix has too few weights its layer, then the model, then the nearest sizes are used
    points:   shares from 0 to 1;  trials: random orders of the weights
    loss:     cross_entropy, binary (answer against distractor), or auto: what the accuracy of the task asks for
    returns:  a DataFrame: condition (circuit, or a control), trial, share, n_removed, loss (nats) and accuracy, means over the examples
    raises:   ValueError for a wrong name or number, a mask that is not bool or of another length, or where the whole model has too few weights
    """
    one_of("loss", loss, LOSSES)
    one_of("accuracy", accuracy, SETTINGS["accuracy"])
    controls = several("controls", controls, weight_sets.CONTROLS)
    points = between("points", points, 2, 101, whole=True)
    trials, seed = between("trials", trials, 1, 1000, whole=True), between("seed", seed, *SEED, whole=True)
    active = checked_mask(active, nodes.total(model))
    held_out = used_of(examples, "held_out", model)
    batches = list(batching.batches(held_out, TOKENS, model.device))
    asked = outcomes.Asked(outcomes.loss_kind(accuracy, loss), METRIC, accuracy)
    weights = sweep.circuit(matrices.flat(model), matrices.matrices(model), active)
    if not len(weights.inside()):
        raise ValueError("the mask joins no two active nodes, so its circuit has no weights")
    shares = weight_sets.shares(points)
    plan, _, _ = sweep.planned(
        weights, controls, shares, trials, lambda *names: generator(seed, "api", *names), 10, True
    )
    found = sweep.Sweeper(model, weights.values, batches, asked, TOKENS)([numbers for *_, numbers in plan])
    return pd.DataFrame(
        [
            {
                "condition": condition,
                "trial": trial,
                "share": float(share),
                "n_removed": weight_sets.count(numbers),
                "loss": float(lost),
                "accuracy": float(right),
            }
            for (condition, trial, share, numbers), lost, right in zip(
                plan, found.loss.mean(1), found.correct.mean(1), strict=True
            )
        ]
    )
