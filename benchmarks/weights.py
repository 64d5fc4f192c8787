"""The weight study on the middle embedded model: mask training, the sweep, and one trial at a time."""

import logging
import os
import sys
import time

import numpy as np
import torch
import yaml
from measure import paired
from shapes import PROJECT
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))
sys.path.insert(0, str(PROJECT / "tests"))

from circuit_reuse.engine import batching, models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.weights import masks, matrices, nodes, outcomes, sweep, weight_sets
from support import examples_for

MODEL, TASK = "tiny-gpt2-medium", "digits"
ASKED = outcomes.Asked("cross_entropy", "logit_difference", "top1")
CFG = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())["weights"]
TRIALS, POINTS = 10, 11


def draws(*names):
    """Random streams by name."""
    return circuits.generator("bench", *names)


def plain_loop(plain, batch, stored, sets):
    """One set after the other as one would write it: sets drawn before, weights cloned and put back."""
    losses = []
    with torch.no_grad():
        for numbers in sets:
            kept = [weight.clone() for weight, *_ in stored]
            for weight, start, size, transposed in stored:
                inside = numbers[(numbers >= start) & (numbers < start + size)] - start
                mask = torch.ones(size)
                mask[torch.from_numpy(inside)] = 0
                shape = weight.shape[::-1] if transposed else weight.shape
                mask = mask.view(shape).T if transposed else mask.view(shape)
                weight.mul_(mask)
            last = plain(batch.clean, logits_to_keep=1).logits[:, -1]
            losses.append(outcomes.losses(last, batch.answer, batch.distractor, "cross_entropy").mean())
            for (weight, *_), before in zip(stored, kept, strict=True):
                weight.copy_(before)
    return torch.stack(losses)


def published_loop(plain, batch, stored, pool, counts, rng):
    """As published: a call of the generator for every weight, a mask a matrix, all logits."""
    losses = []
    for count in counts:
        picked = np.array([rng.choice(pool) for _ in range(count)], dtype=np.int64)
        losses.append(plain_loop(Whole(plain), batch, stored, [picked])[0])
    return torch.stack(losses)


class Whole:
    """The model with logits at every position."""

    def __init__(self, plain):
        self.plain = plain

    def __call__(self, tokens, logits_to_keep):
        """Logits of all positions, whatever is asked."""
        return self.plain(tokens)


def stored_weights(plain):
    """The plain model's matrices in the order of the study: (view, first weight, number, transposed).

    Queries, keys and values are columns of one Conv1D.
    """
    found, start = [], 0
    for block in plain.transformer.h:
        width = block.attn.c_attn.weight.shape[0]
        parts = [block.attn.c_attn.weight[:, n * width : (n + 1) * width] for n in range(3)]
        for weight in (*parts, block.attn.c_proj.weight, block.mlp.c_fc.weight, block.mlp.c_proj.weight):
            found.append((weight.detach(), start, weight.numel(), True))
            start += weight.numel()
    return found


def weight_sweep():
    """Seconds of training and of a sweep; trials a second against both loops."""
    threads, found = os.cpu_count(), {}
    folder = PROJECT / "resources" / "models" / MODEL
    model = models.load(folder, "cpu", threads=threads)
    table = examples_for(TASK, CFG["examples"], folder)
    train, held_out = (
        table[table["valid"] & (table["split"] == split)].reset_index(drop=True) for split in ("train", "held_out")
    )
    fitting = list(batching.batches(train, 2048))
    (batch,) = batching.batches(held_out.head(CFG["held_out"]), 10**6)
    mean = nodes.moments(model, [b.clean for b in fitting])[0]
    start = time.perf_counter()
    chosen = CFG["masks"]
    settings = masks.Settings(tuple(chosen["coefficients"]), chosen["steps"], chosen["batch"], chosen["rate"])
    tau, _ = masks.train(model, fitting, mean, "cross_entropy", settings, draws("train"))
    found["mask_training_seconds"] = (time.perf_counter() - start, "s")

    active = (tau[-1] >= 0).numpy()
    listed, values = matrices.matrices(model), matrices.flat(model)
    weights = sweep.circuit(values, listed, active)
    sweeper = sweep.Sweeper(model, values, [batch], ASKED, 2048)

    def swept(sets):
        """A sweep from nothing: what was run before is not known."""
        sweeper.known.clear()
        return sweeper(sets)

    controls = ["non_circuit", "matrix", "quantile", "layer"]
    start = time.perf_counter()
    plan, _, _ = sweep.planned(weights, controls, weight_sets.shares(POINTS), TRIALS, draws, 10, True)
    sweeper([numbers for *_, numbers in plan])
    found["weight_sweep_seconds"] = (time.perf_counter() - start, "s")
    start = time.perf_counter()
    parts = [site.part for site in nodes.sites(model)]
    random = sweep.random_circuits(values, listed, active, parts, CFG["random"]["circuits"], draws)
    sweep.sweep_random(
        sweeper, random, controls, weight_sets.shares(POINTS)[::5], 2, draws, 10, logging.getLogger("bench")
    )
    found["random_circuits_seconds"] = (time.perf_counter() - start, "s")

    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    stored = stored_weights(plain)
    sets = [numbers for c, trial, _, numbers in plan if c == "circuit" and trial < 3 and len(numbers)]
    ours = torch.from_numpy(sweeper(sets).loss.mean(1))
    torch.testing.assert_close(plain_loop(plain, batch, stored, sets), ours, rtol=1e-3, atol=1e-3)
    counts = [len(numbers) for numbers in sets]
    ratio = paired(lambda: plain_loop(plain, batch, stored, sets), lambda: swept(sets), 3)
    found["weight_trials_speedup_over_plain_loop"] = (ratio, "ratio")
    pool, rng = weights.inside(), draws("published")

    def with_drawing():
        """What is compared with the published loop draws its sets too."""
        some, _, _ = sweep.planned(weights, [], weight_sets.shares(POINTS), 3, draws, 10, True)
        return swept([numbers for *_, numbers in some if len(numbers)])

    ratio = paired(lambda: published_loop(plain, batch, stored, pool, counts, rng), with_drawing, 3)
    found["weight_trials_speedup_over_published_loop"] = (ratio, "ratio")
    start = time.perf_counter()
    sweeper(sets)
    found["weight_trials_per_second"] = (len(sets) / (time.perf_counter() - start), "trials/s")
    return found
