"""The contrast study on the middle embedded model: the whole target, texts per second, memory by number of texts."""

import os
import subprocess
import sys
import threading

import psutil
import torch
from measure import paired
from shapes import PROJECT
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))
sys.path.insert(0, str(PROJECT / "tests"))

from circuit_reuse.engine import interventions, models
from circuit_reuse.studies.contrast import differences, texts
from support import examples_for

MODEL, TASK = "tiny-gpt2-medium", "sarcasm"
FOLDER = PROJECT / "resources" / "models" / MODEL
POOLS, FLIPS, DRAWS = ["all", "start"], 999, 500


def pairs(count):
    """Real pairs of the task, each its own cluster; those of 200 examples, again and again."""
    real = texts.of_task(examples_for(TASK, 200, FOLDER), "sarcastic")
    real = [(f"{n}", *real[n % len(real)][1:]) for n in range(count)]
    return texts.condition(real, [name for name, *_ in real], "real", 1, [], 4, ("bench",))


@torch.no_grad()
def published_loop(model, some):
    """As published: one text at a time, every output of every text kept, norms at the end."""
    kept = [[interventions.run(model, torch.tensor([side]))[1] for side in (pair.first, pair.second)] for pair in some]
    found = []
    for first, second in kept:
        for a, b in zip(first.z + first.mlp, second.z + second.mlp, strict=True):
            change = a.mean(1) - b.mean(1)
            found.append(change.flatten(1).norm() if change.ndim == 2 else change.norm(dim=2))
    return found


@torch.no_grad()
def bare(plain, some):
    """The plain model on the same texts, in batches of one length, and nothing else."""
    by_length = {}
    for pair in some:
        for side in (pair.first, pair.second):
            by_length.setdefault(len(side), []).append(side)
    for length, sides in by_length.items():
        size = max(1, 2048 // length)
        for start in range(0, len(sides), size):
            plain(torch.tensor(sides[start : start + size]), logits_to_keep=1)


def contrast_speed():
    """Ratios to the bare model and to the published loop on 200 pairs; memory of 50 and 5,000 pairs."""
    model = models.load(FOLDER, "cpu", threads=os.cpu_count())
    plain = AutoModelForCausalLM.from_pretrained(FOLDER).eval()
    some, found = pairs(200), {}

    def ours(flips=FLIPS, draws=DRAWS):
        return differences.measure(model, some, POOLS, flips, draws, ("bench",), 2048)

    found["contrast_speedup_over_published_loop"] = (paired(lambda: published_loop(model, some), ours, 5), "ratio")
    found["contrast_slowdown_of_bare_model"] = (paired(ours, lambda: bare(plain, some), 5), "ratio")
    found["contrast_tests_share"] = (1 - paired(lambda: ours(1, 1), ours, 5), "ratio")
    few, many = memory(50), memory(5000)
    found["contrast_memory_mb_of_100_texts"] = (few, "MB")
    found["contrast_memory_mb_of_10000_texts"] = (many, "MB")
    found["contrast_memory_of_10000_to_100_texts"] = (many / few, "ratio")
    return found


def memory(count):
    """Memory beyond the loaded model, MB, while a process of its own measures `count` pairs."""
    code = f"import contrast; contrast.alone({count})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT / "benchmarks", capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def alone(count):
    """Measure, and print how far memory rose above what it was with the model loaded, the most seen."""
    model = models.load(FOLDER, "cpu", threads=os.cpu_count())
    some, process = pairs(count), psutil.Process()
    # What a first run of the model takes is not the study's.
    differences.measure(model, some[:2], POOLS, 1, 1, ("bench",), 2048)
    before, most, done = process.memory_info().rss, [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            most[0] = max(most[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    differences.measure(model, some, POOLS, FLIPS, DRAWS, ("bench",), 2048)
    done.set()
    thread.join()
    print((most[0] - before) / 2**20)
