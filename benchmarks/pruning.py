"""Pruning on the largest embedded model: candidates per second, against the loop one would write down."""

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measure import paired
from shapes import PROJECT

from workflow import PARTS, timed

sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))

from circuit_reuse.data import examples
from circuit_reuse.engine import batching, interventions, models
from circuit_reuse.prompts import rows as sources
from circuit_reuse.prompts.tasks import TASKS
from circuit_reuse.studies.sequences import evaluator, pruning

MODEL, METRIC, COUNT = "tiny-gpt2-large", "logit_difference", 64
CFG = {
    "thresholds": [0.2],
    "two_sided": True,
    "strategies": ["backward_first"],
    "strategy": "backward_first",
    "random_orders": 0,
    "draws": 0,
}


def train_examples(task):
    """The train split of a task under the model's tokenizer."""
    spec = TASKS[task]
    about = {"family": spec.family, "options": spec.options}
    rows = sources.rows(task, {"seed": 0, "held_out_share": 0.5, "examples": [0, COUNT], "task": about})
    reader = examples.reader(PROJECT / "resources" / "models" / MODEL)
    table = pd.DataFrame([examples.tokenise(reader, row) for row in rows])
    return table[table["split"] == "train"].reset_index(drop=True)


def side_by_side(model, table, cfg):
    """All pruning runs of a config, as the study makes them; returns candidates and pruning runs."""
    evaluate = evaluator.CircuitEvaluator(model, table, table, "mean", METRIC, 2048)
    names = model.space.of_kinds()
    pruning_runs = pruning.planned(cfg, table["cluster"], ("bench",))
    generators = [
        pruning.steps(
            pruning_run,
            pruning.passes(pruning_run.strategy, names, {}, ("bench", pruning_run.order)),
            evaluate.full,
            cfg.get("add_back", False),
        )
        for pruning_run in pruning_runs
    ]
    evaluator.run(pruning_runs, generators, evaluate, logging.getLogger("bench"))
    return evaluate.asked, pruning_runs


@torch.no_grad()
def plain(model, table, means_anew):
    """The same backward-first pruning as one would write it: candidates one by one, in full.

    A hook for each layer's heads and MLP, logits of all positions, no layer left out.
    means_anew: means are taken again for each candidate, once for the heads and once for the
                MLPs, as in the published code
    """
    names, removed, asked = model.space.of_kinds(), set(), 0
    (batch,) = batching.batches(table, 10**6)
    _, heads, mlps = interventions.hook_names(model)

    def means():
        kept = {}
        with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *heads, *mlps)):
            model.bridge(batch.corrupt, return_type="logits")
        return {name: tensor.mean(0, keepdim=True) for name, tensor in kept.items()}

    found = means()

    def score(out):
        nonlocal found
        for _ in range(2 if means_anew else 0):
            found = means()
        out_of, hooks = interventions.masks(model.space, [out]), []
        for layer, (z, mlp) in enumerate(zip(heads, mlps, strict=True)):
            hooks.append((z, interventions.put(out_of[1][0, layer, :, None], found[z], 1)))
            hooks.append((mlp, interventions.put(out_of[2][0, layer], found[mlp], 1)))
        with model.bridge.hooks(fwd_hooks=hooks):
            last = model.bridge(batch.clean, return_type="logits")[:, -1]
        return float(models.metric_values(last, *batch.targets(), METRIC).mean())

    full, limit = score(set()), pruning.Limit(20)
    for order in pruning.passes("backward_first", names, {}, ()):
        before = set(removed)
        for name in order:
            if name not in removed:
                asked += 1
                if limit.holds(100 * score(removed | {name}) / full):
                    removed.add(name)
        if removed == before:
            return asked, removed


def pruning_speed():
    """One pruning, many at once, and both against the plain loop."""
    model = models.load(PROJECT / "resources" / "models" / MODEL, "cpu", threads=os.cpu_count())
    table, found = train_examples("digits"), {}
    start = time.perf_counter()
    _, (pruning_run,) = side_by_side(model, table, CFG)
    found["pruning_one_seconds"] = (time.perf_counter() - start, "s")
    # Both end with the same circuit.
    assert plain(model, table, False)[1] == pruning_run.removed
    for name, again in (("published_loop", True), ("plain_loop", False)):
        ratio = paired(lambda again=again: plain(model, table, again), lambda: side_by_side(model, table, CFG), 3)
        found[f"pruning_one_speedup_over_{name}"] = (ratio, "ratio")
    many = CFG | {"random_orders": 20}
    rates = {"asked": [], "loop": [], "published": []}
    for _ in range(3):
        start = time.perf_counter()
        asked, _ran = side_by_side(model, table, many)
        rates["asked"].append(asked / (time.perf_counter() - start))
        for key, again in (("loop", False), ("published", True)):
            start = time.perf_counter()
            asked, _ = plain(model, table, again)
            rates[key].append(asked / (time.perf_counter() - start))
    ours = np.array(rates["asked"])
    found["pruning_candidates_per_second"] = (float(np.median(ours)), "candidates/s")
    found["pruning_many_speedup_over_published_loop"] = (float(np.median(ours / rates["published"])), "ratio")
    found["pruning_many_speedup_over_plain_loop"] = (float(np.median(ours / rates["loop"])), "ratio")
    return found


def pruning_orders():
    """50 random orders of three tasks on the largest model through the workflow, from its examples."""
    tasks, found = ["digits", "number_words", "months"], {}
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            subprocess.run(["cp", "-r", PROJECT / part, Path(folder) / part], check=True)
        command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count())]
        outputs = [f"results/{MODEL}/sequences/{task}/pruned.parquet" for task in tasks]
        for name, more in (("", "false"), ("_with_add_back", "true")):
            overlay = Path(folder) / "config" / f"orders{name}.yaml"
            overlay.write_text(
                f"sequences:\n  models: [{MODEL}]\n  examples: {COUNT}\n  pruning: {{thresholds: [0.2], threshold: 0.2, "
                f"strategies: [backward_first], random_orders: 50, draws: 0, add_back: {more}}}\n"
            )
            ready = [
                path.replace(f"sequences/{task}/pruned", f"{task}/scores/atp/sequences0000")
                for task, path in zip(tasks, outputs, strict=True)
            ]
            timed([*command, "--configfile", str(overlay), "--", *ready], folder)
            subprocess.run(["rm", "-rf", f"{folder}/results/{MODEL}/sequences"], check=True)
            found[f"pruning_50_orders_3_tasks_seconds{name}"] = (
                timed([*command, "--configfile", str(overlay), "--", *outputs], folder),
                "s",
            )
    return found
