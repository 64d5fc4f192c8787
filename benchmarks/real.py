"""Real models beside the bare model, TransformerLens's own tools and EAP-IG: same weights and prompts, in turn, in one process.

SmolLM2 (`make fetch-real`), Gemma 3 where it was fetched, and a model of GPT-2's shape with random weights.  EAP-IG runs where a checkout and
a Python with transformer-lens 2 are named:

    EAP_IG=<checkout> EAP_IG_PYTHON=<python> python benchmarks/bench.py peers
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from attribution import METRIC, STEPS, forward, limit, score
from circuit_reuse.engine import batching, interventions, models
from measure import extra_megabytes, paired, seconds
from shapes import PROJECT, bare_model, random_batch, random_model

from workflow import PARTS, timed

HUB = PROJECT / "resources" / "hub"
REAL = {"smollm2": HUB / "smollm2-135m", "gemma3": HUB / "gemma-3-270m"}
# Tokens of one run: what batches of a processor hold.
TOKENS, EXAMPLES = 512, 8


@contextmanager
def opened(name):
    """(model, folder, a batch of 8 IOI prompts, or random ones for random weights)."""
    if name == "gpt2_shape":
        with random_model("gpt2-small") as (model, _):
            yield (
                model,
                model.bridge.original_model.config._name_or_path,
                random_batch(EXAMPLES, 17, 50257, differ_at=4),
            )
    else:
        from support import examples_for

        model, examples = models.load(REAL[name], "cpu", threads=os.cpu_count()), examples_for("ioi", 32, REAL[name])
        most = examples["length"].mode()[0]
        examples = examples[examples["valid"] & (examples["length"] == most)][:EXAMPLES].reset_index(drop=True)
        yield model, REAL[name], next(batching.batches(examples, 10**6))


def names():
    """The models that are there."""
    return ["gpt2_shape", *(name for name, folder in REAL.items() if folder.is_dir())]


def real_speed():
    """Attribution and a scan of all heads against the bare model."""
    found = {}
    for name in names():
        with opened(name) as (model, folder, batch):
            bare = bare_model(folder)
            for method, steps in (("atp", 0), ("ig", STEPS)):
                ratio = paired(lambda: limit(bare, batch, steps), lambda: score(model, batch, method), 5)
                found[f"{name}_{method}_fraction_of_limit"] = (ratio, "ratio")
            heads = [[head] for head in model.space.of_kinds(["head"])]
            rows = batch.clean.repeat(max(1, TOKENS // batch.clean.numel()), 1)
            size = len(rows) / len(batch.clean)
            whole = lambda: [forward(bare, rows) for _ in range(4)]  # noqa: E731
            # One run of the bare model for a row that the scan needs, measured on a part.
            ratio = paired(lambda: scanned(model, batch, heads), whole, 3)
            found[f"{name}_scan_forwards_per_head"] = (ratio * 4 * size / len(heads), "forwards")
            kept = circuits_alone(model)

            def alone_in(allowed, model=model, batch=batch, kept=kept):
                model.shortcuts["replaced"] = allowed
                scanned(model, batch, kept)

            ratio = paired(lambda: alone_in(False), lambda: alone_in(True), 5)
            found[f"{name}_kept_circuit_speedup"] = (ratio, "ratio")
        found[f"{name}_scan_extra_megabytes"] = (alone(name, "scan"), "MB")
        found[f"{name}_eap_ig_extra_megabytes"] = (alone(name, "eap-ig"), "MB")
    return found


def circuits_alone(model, count=6, size=20):
    """What is removed when random circuits of 20 components are kept alone."""
    generator = torch.Generator().manual_seed(3)
    names = [name for name in model.space.names if name != "input"]
    found = []
    for _ in range(count):
        kept = {names[place] for place in torch.randperm(len(names), generator=generator)[:size].tolist()}
        found.append([name for name in names if name not in kept])
    return found


def scanned(model, batch, sets):
    """The effect of every set on every example, from nothing: [set, example]."""
    base, _ = interventions.base(model, batch.clean)
    _, instead = interventions.run(model, batch.corrupt)
    found = torch.empty(len(sets), len(batch.clean))
    with torch.no_grad():
        for places, last in interventions.scan(model, base, sets, instead, TOKENS):
            found[places] = (
                models.metric_values(last, *batch.targets(len(places)), METRIC).view(len(places), -1).float()
            )
    return found


def alone(name, what):
    """Memory beyond model and inputs, MB, in a process of its own that has run the model once."""
    code = f"import real; real.measured({name!r}, {what!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT / "benchmarks", capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def measured(name, what):
    """Print how far memory rises while all heads are scanned, or edges scored."""
    with opened(name) as (model, _, batch):
        heads = [[head] for head in model.space.of_kinds(["head"])]
        scanned(model, batch.part(0, 1), heads[:1])
        work = {"scan": lambda: scanned(model, batch, heads), "eap-ig": lambda: score(model, batch, "eap-ig-absolute")}[
            what
        ]
        print(extra_megabytes(work))


def peers():
    """Time of TransformerLens's own tools, and of EAP-IG's where it is named, over ours; the results must agree first."""
    found = {}
    for name in names():
        with opened(name) as (model, folder, batch):
            found |= beside_transformer_lens(name, model, folder, batch)
            if os.environ.get("EAP_IG"):
                found |= beside_eap_ig(name, model, folder, batch)
    return found


def beside_transformer_lens(name, model, folder, batch):
    """Attribution patching and the scan of heads of TransformerLens 4."""
    from transformer_lens import patching
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis import attribution_patching

    bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)
    bridge.enable_compatibility_mode(no_processing=True)
    bridge.eval()
    rows, answers, distractors = torch.arange(len(batch.clean)), batch.answer, batch.distractor[:, 0]

    def mean_difference(logits):
        return (logits[rows, -1, answers] - logits[rows, -1, distractors]).mean()

    @torch.no_grad()
    def theirs():
        _, cache = bridge.run_with_cache(batch.corrupt)
        return patching.get_act_patch_attn_head_out_all_pos(bridge, batch.clean, cache, mean_difference)

    heads = [[head] for head in model.space.of_kinds(["head"])]
    expected, got = theirs(), scanned(model, batch, heads).mean(dim=1)
    torch.testing.assert_close(got, expected.flatten().float().cpu(), rtol=1e-3, atol=1e-3)

    few = [batch.part(place, place + 1) for place in range(2)]

    def tool():
        for each in few:

            def metric(logits, each=each):
                return logits[0, -1, each.answer[0]] - logits[0, -1, each.distractor[0, 0]]

            attribution_patching.attribution_patch(bridge, each.clean, each.corrupt, metric)

    ours = lambda: [score(model, each, "atp") for each in few]  # noqa: E731
    return {
        f"{name}_scan_over_transformer_lens": (
            seconds(theirs) / seconds(lambda: scanned(model, batch, heads)),
            "ratio",
        ),
        f"{name}_atp_over_transformer_lens": (paired(tool, ours, 5), "ratio"),
    }


def beside_eap_ig(name, model, folder, batch):
    """EAP-IG's edges with five steps, mean over prompts, beside ours by example."""
    command = [
        os.environ.get("EAP_IG_PYTHON", sys.executable),
        str(PROJECT / "benchmarks" / "eap_ig_peer.py"),
        os.environ["EAP_IG"],
        str(folder),
    ]
    request = {"clean": batch.clean.tolist(), "corrupt": batch.corrupt.tolist(), "steps": STEPS}
    request |= {"answers": batch.answer.tolist(), "distractors": batch.distractor[:, 0].tolist()}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as peer,
    ):

        def answer():
            for line in peer.stdout:
                if line.startswith("{"):
                    return json.loads(line)
            errors.seek(0)
            raise RuntimeError(f"EAP-IG ended:\n{errors.read()[-3000:]}")

        def theirs():
            peer.stdin.write(json.dumps(request) + "\n")
            peer.stdin.flush()
            return answer()

        answer()
        got = theirs()
        with torch.no_grad():
            here = models.metric_values(models.logits(model, batch.clean), *batch.targets(), METRIC)
        torch.testing.assert_close(here.float().cpu(), torch.tensor(got["clean_metric"]), rtol=1e-3, atol=1e-3)
        ratio = paired(theirs, lambda: score(model, batch, "eap-ig-absolute"), 3)
        peer.stdin.close()
    return {
        f"{name}_eap_ig_over_peer": (ratio, "ratio"),
        f"{name}_eap_ig_extra_megabytes_of_peer": (got["extra_megabytes"], "MB"),
    }


@contextmanager
def real_project():
    """A copy of the project in a temporary folder, and the command of Snakemake on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            subprocess.run(["cp", "-r", PROJECT / part, f"{folder}/{part}"], check=True)
        yield folder, [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count())]


def real_reuse():
    """One task of the reuse study of config/smollm2.yaml, with the model fetched and converted before, all cores."""
    with real_project() as (folder, run):
        command = [*run, "reuse", "--configfile", "config/smollm2.yaml", "--config", "tasks=[ioi]"]
        return {"smollm2_reuse_one_task_seconds": (timed(command, folder), "s")}


def real_run():
    """All studies of config/smollm2.yaml, with the model fetched and converted before, all cores, and some jobs of it."""
    with real_project() as (folder, run):
        command = [*run, "--keep-going", "--configfile", "config/smollm2.yaml"]
        found = {"smollm2_all_studies_seconds": (timed(command, folder), "s")}
        for name, job in {"pruning_walk": "prune_nodes", "tracing": "trace_heads"}.items():
            found[f"smollm2_{name}_seconds"] = (longest(folder, job), "s")
        return found


def longest(folder, rule):
    """Seconds of the longest job of a rule, by the last lines of their logs."""
    logs = [path.read_text() for path in Path(folder).glob(f"logs/{rule}/**/*.log")]
    return max(float(re.search(r"done in ([0-9.]+) s", text)[1]) for text in logs)
