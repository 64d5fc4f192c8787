"""Weights of a masked circuit against weights outside it, for a notebook."""

from pathlib import Path

import pandas as pd

from circuit_reuse.api.boundary import METRIC, TOKENS, between, one_of, used_of
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
        return tau_files.of_tensors(mask, nodes.sites(model))[1]
    path = Path(mask)
    if path.suffix == ".safetensors":
        return tau_files.of_file(path, nodes.sites(model))[1]
    if path.suffix != ".parquet" or folder is None:
        raise mask_files.MaskFileError(f"{path}: give a .safetensors file, or a masks.parquet with the model's folder")
    return mask_files.chosen(path, fingerprint.fingerprint(folder), nodes.names(model))[0]


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
              same sizes)
    points:   shares from 0 to 1;  trials: random orders of the weights
    loss:     cross_entropy, binary (answer against distractor), or auto: what the accuracy of the task asks for
    returns:  a DataFrame: condition (circuit, or a control), trial, share, n_removed, loss (nats) and accuracy, means over the examples
    raises:   ValueError for a wrong name or number, or where a control has too few weights
    """
    one_of("loss", loss, LOSSES)
    one_of("accuracy", accuracy, SETTINGS["accuracy"])
    for control in controls:
        one_of("controls", control, weight_sets.CONTROLS)
    between("points", points, 2, 101)
    between("trials", trials, 1, 1000)
    if len(active) != nodes.total(model):
        raise ValueError(f"active has {len(active)} entries, and the model has {nodes.total(model)} nodes")
    held_out = used_of(examples, "held_out").reset_index(drop=True)
    batches = list(batching.batches(held_out, TOKENS, model.device))
    asked = outcomes.Asked(outcomes.loss_kind(accuracy, loss), METRIC, accuracy)
    weights = sweep.circuit(matrices.flat(model), matrices.matrices(model), active)
    if not len(weights.inside()):
        raise ValueError("the mask joins no two active nodes, so its circuit has no weights")
    shares = weight_sets.shares(points)
    plan, _, _ = sweep.planned(
        weights, list(controls), shares, trials, lambda *names: generator(seed, "api", *names), 10, True
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
