"""The files of the reuse study under the names and in the columns of the published one."""

import json
from pathlib import Path

import numpy as np
import pandas as pd


def aggregated(table, titles, revisions):
    """The table that the reference study calls aggregated_by_task_model_k, in its columns.

    Everything is measured on held-out examples, which it calls val; its train columns, the
    same tests on the examples that the circuits were chosen on, stay empty on purpose.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ablated = table["accuracy"] - table["accuracy_circuit"].astype(float)
        control = table["accuracy"] - table["accuracy_control"].astype(float)
        ratio = (ablated / control).where(control != 0)
    return pd.DataFrame(
        {
            "model_name": table["model"],
            "hf_revision": table["model"].map(revisions),
            "task": table["task"],
            "method": table["method"],
            "num_examples": table["n_examples"] + table["n_examples_train"],
            "baseline_train_accuracy": None,
            "baseline_val_accuracy": table["accuracy"],
            "_metrics_path": table["model"] + "/" + table["task"] + "/metrics.json",
            "top_k": table["top_k"],
            "reuse_threshold": 100 * table["threshold"],
            "reuse_percent": 100 * table["reuse"],
            "shared_circuit_size": table["n_components"],
            "train_knockout_diff": None,
            "val_knockout_diff": ratio,
            "perm_train_p": None,
            "perm_train_obs": None,
            "perm_val_p": table["p_mcnemar"],
            "perm_val_obs": table["accuracy_control_0"] - table["accuracy_circuit"],
            "task_display": table["task"].map(titles),
            "model_display": table["model"],
            "method_display": table["method"],
        }
    )


def metrics(table, revision, cfg):
    """metrics.json of one model and task, in the shape of the reference study (version 3).

    table: its rows of the summary;  returns: a dict without any number that is not finite
    """
    by_k = {}
    for row in table.to_dict("records"):
        shared = {
            "threshold": 100 * row["threshold"],
            "shared_circuit": row["circuit"],
            "shared_circuit_size": row["n_components"],
            "reuse_percent": 100 * row["reuse"],
            "reuse_null_percent": 100 * row["reuse_null"],
            "val": {
                name: row[name]
                for name in (
                    "accuracy_circuit accuracy_control effect effect_low effect_high effect_control lift p_mcnemar "
                    "p_permutation p_value q_value faithfulness n_controls problem"
                ).split()
            },
        }
        k = by_k.setdefault(f"{row['top_k']:g}", {"k": row["k"], "thresholds": {}})
        k["thresholds"][f"{100 * row['threshold']:g}"] = shared
    first = table.iloc[0]
    return finite(
        {
            "version": 3,
            "model_name": first["model"],
            "hf_revision": revision,
            "task": first["task"],
            "method": first["method"],
            "num_examples": first["n_examples"] + first["n_examples_train"],
            "baseline_val_accuracy": first["accuracy"],
            "baseline_val_metric": first["metric"],
            "config": cfg,
            "by_k": by_k,
        }
    )


def finite(value):
    """Plain JSON values; what is missing or not finite becomes null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value


def write_json(path, value):
    """Strict JSON."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value, indent=1, allow_nan=False, sort_keys=True) + "\n")
