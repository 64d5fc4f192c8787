"""What all studies on public models cost, and how that grows: writes docs/plan.md.

    python benchmarks/plan.py            jobs by a dry run, work by the config, rates by this machine

Work is counted in runs of the model: how many forward passes of one prompt each stage asks for, from the config
alone.  A forward pass of T tokens takes 2 N T operations (N parameters outside the embeddings, Kaplan et al. 2020), a backward pass twice
that.  What a machine does of that per second is measured for the bare model here, and stated as an assumption for
GPUs, as none was at hand.
"""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))
TOKENS = 18
# Share of a whole forward pass that a removed set costs, as layers below it are run once (docs/benchmarks.md,
# head_scan_forwards_per_head).
PART = 0.6
# Assumed, not measured: what a data-centre GPU sustains in these stages, in operations per second.
GPUS = {"float32 on one GPU": 20e12, "bfloat16 on one GPU": 200e12}


@dataclass(frozen=True)
class Shape:
    """Parameters (and those outside the embeddings), layers and heads of a public model."""

    parameters: float
    inner: float
    layers: int
    heads: int

    @property
    def components(self):
        """Heads and MLPs."""
        return self.layers * (self.heads + 1)

    @property
    def operations(self):
        """Of a forward pass of one prompt."""
        return 2 * self.inner * TOKENS


MODELS = {
    "gpt2": Shape(124e6, 85e6, 12, 12),
    "gpt2-medium": Shape(355e6, 302e6, 24, 16),
    "pythia-160m": Shape(162e6, 85e6, 12, 12),
    "pythia-410m": Shape(405e6, 302e6, 24, 16),
    "gpt-neo-125m": Shape(125e6, 85e6, 12, 12),
    "qwen3-0.6b": Shape(596e6, 440e6, 28, 16),
    "llama-3.2-1b": Shape(1.24e9, 973e6, 16, 32),
    "gpt2-large": Shape(774e6, 708e6, 36, 20),
    "gpt2-xl": Shape(1.56e9, 1.475e9, 48, 25),
    "pythia-70m": Shape(70e6, 19e6, 6, 8),
    "pythia-1b": Shape(1.01e9, 806e6, 16, 8),
    "pythia-1.4b": Shape(1.41e9, 1.21e9, 24, 16),
    "pythia-2.8b": Shape(2.78e9, 2.52e9, 32, 32),
    "opt-125m": Shape(125e6, 85e6, 12, 12),
    "opt-350m": Shape(331e6, 302e6, 24, 16),
    "opt-1.3b": Shape(1.32e9, 1.21e9, 24, 32),
    "opt-2.7b": Shape(2.65e9, 2.52e9, 32, 32),
    "gpt-neo-1.3b": Shape(1.32e9, 1.21e9, 24, 16),
    "gpt-neo-2.7b": Shape(2.65e9, 2.52e9, 32, 20),
    "gemma-2-2b": Shape(2.61e9, 2.02e9, 26, 8),
    "gemma-2-2b-it": Shape(2.61e9, 2.02e9, 26, 8),
    "llama-3.2-3b": Shape(3.21e9, 2.82e9, 28, 24),
    "llama-3.2-3b-instruct": Shape(3.21e9, 2.82e9, 28, 24),
    "qwen3-4b": Shape(4.02e9, 3.63e9, 36, 32),
    "qwen3-8b": Shape(8.19e9, 6.95e9, 36, 32),
    "olmo-2-1b": Shape(1.48e9, 1.07e9, 16, 16),
}
PAPERS = ("reuse", "scaling", "sequences", "weights", "contrast")
LARGE = {"1B": Shape(1.24e9, 0.97e9, 16, 32), "8B": Shape(8e9, 7e9, 32, 32), "70B": Shape(70e9, 68.5e9, 80, 64)}


def sets_of(cfg):
    """Sets of components that are removed or kept for one circuit: itself and its controls, and random sets for all its p-values."""
    controls = cfg["circuits"]["controls"]
    # Of its composition, of its layers, and of its output norms.
    kinds = 2 + bool(controls["norm_strata"])
    return 2 + controls["count"] + cfg["ablation"]["keep_controls"], kinds * controls["random_sets"]


def reuse(cfg, shape):
    """Forward passes of one task of the reuse study, by stage."""
    count = cfg["examples"]["count"]
    held_out = count * cfg["examples"]["held_out_share"]
    steps = cfg["attribution"]["steps"]
    circuits = cfg["circuits"]
    different = len(circuits["top_k"]) * len(circuits["thresholds"])
    cross, tasks, generic = cfg["cross_task"], len(cfg["tasks"]), cfg["generic"]
    # Circuits of all tasks with controls, of halves, and what is left of two tasks without or with what they share, beside random sets.
    other = (1 + cross["controls"]) * tasks + 2 * circuits["halves"] + 4 * (tasks - 1) * (1 + cross["matched_sets"])
    return {
        "examples": 2 * count,
        # Clean and corrupt runs, and forward and backward passes at each step.
        "attribution": (2 + 3 * steps) * count,
        "activation patching, for the agreement of methods": PART * shape.components * cfg["agreement"]["examples"],
        "circuits and controls": PART * different * sum(sets_of(cfg)) * held_out,
        "circuits on other tasks": PART * other * held_out,
        "circuits on ordinary text": PART
        * (1 + min(generic["random_sets"], circuits["controls"]["random_sets"]))
        * generic["count"],
    }


def scaling(cfg, shape):
    """Forward passes of the scaling study on both tasks."""
    block = cfg["scaling"]
    heads = shape.layers * shape.heads
    heroes = block["heroes"]
    sets = len(heroes["rankings"]) * len(heroes["sizes"]) * len(heroes["matchings"]) * heroes["random_sets"]
    return {
        "heads one by one": 2 * 3 * PART * heads * block["examples"],
        "hero heads against random ones": 2 * PART * sets * heroes["examples"],
        "causal tracing": 2 * PART * 2 * (5 * 10 + 5 * shape.layers * 18) * block["tracing"]["examples"],
    }


def sequences(cfg, shape):
    """Forward passes of the sequence study on all its tasks."""
    block = cfg["sequences"]
    tasks, more = len(block["tasks"]), len(block["variants"]) + len(block["control_tasks"])
    walks = 2 + block["pruning"]["random_orders"] + block["pruning"]["draws"]
    train = block["examples"] / 2
    every = tasks + more + len(block["probes"])
    return {
        "pruning (three passes)": PART * 3 * shape.components * train * (tasks * walks + more * 2),
        "circuits on other data": PART * (every * block["random_sets"]) * train * every,
        # Writers of one node and its readers are run together, from the first layer that changes.
        "path patching": tasks * PART * 20 * shape.components * block["edges"]["examples"],
    }


def weights(cfg, shape):
    """Forward passes of the weight study on all its tasks."""
    block = cfg["weights"]
    tasks, masks = len(block["tasks"]), block["masks"]
    learning = 3 * len(masks["coefficients"]) * masks["steps"] * masks["batch"]
    sweep = block["sweep"]
    points, trials = sweep["points"], sweep["trials"]
    # The circuit in random order and its controls, the two orders by importance, the most active nodes and their control.
    sets = (1 + len(sweep["controls"]) + 2) * points * trials + 2 * points
    removed = sets * block["held_out"]
    random = block["random"]
    shares = (points - 1) // random["every"] + 1
    others = random["circuits"] * (1 + len(sweep["controls"])) * shares * random["trials"] * block["held_out"]
    return {"masks": tasks * learning, "weights removed": tasks * (removed + others)}


def contrast(cfg, shape):
    """Forward passes of the contrast study on its set."""
    block = cfg["contrast"]
    tried = 2 * 2 * (len(block["budgets"]) + 2) * block["random_sets"] + shape.components
    return {"texts": 6 * 2 * block["examples"], "circuits under a budget": PART * tried * block["held_out"]}


def settings(*files):
    """A config of files one on top of the other, with the defaults of the schema."""
    from circuit_reuse.config import schema, series
    from snakemake.utils import update_config

    cfg = {}
    for file in ("config/config.yaml", *files):
        update_config(cfg, yaml.safe_load((PROJECT / file).read_text()))
    schema.check_schema(cfg)
    series.expand(cfg)
    return cfg


def work(cfg, studies=PAPERS):
    """{(study, stage): operations} of some studies."""
    found = {}
    for study in studies:
        for name in (cfg if study == "reuse" else cfg[study])["models"] or cfg["models"]:
            times = len(cfg["tasks"]) * len(cfg["methods"]) if study == "reuse" else 1
            for stage, passes in globals()[study](cfg, MODELS[name]).items():
                key = (study, stage)
                found[key] = found.get(key, 0) + times * passes * MODELS[name].operations
    return found


def jobs(target="all", file="config/public.yaml"):
    """{rule: jobs} of a dry run of a target, and its seconds."""
    began = time.monotonic()
    # All of them, whatever a run in this folder has made already.
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "--forceall",
        "-q",
        "rules",
        "--cores",
        "1",
        target,
        "--configfile",
        file,
    ]
    text = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    rows = dict(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE))
    return {name: int(value) for name, value in rows.items()}, time.monotonic() - began


def rate():
    """Operations per second of the bare model of GPT-2's shape on this machine, best of three."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config()).eval()
    tokens = torch.randint(0, 50000, (32, TOKENS))
    # As in the shapes below: without embeddings, which are looked up.
    inner = sum(weights.numel() for name, weights in model.transformer.named_parameters() if name.startswith("h."))
    best = 0.0
    with torch.no_grad():
        for _ in range(4):
            began = time.monotonic()
            model.transformer(tokens)
            best = max(best, 32 * 2 * inner * TOKENS / (time.monotonic() - began))
    return best


def disk():
    """Bytes of a score of one component on one example, and of a row of effects, of a run in this folder."""
    import pyarrow.parquet as pq

    found = {}
    for name, pattern in (("score", "*/*/scores/eap-ig/0000.parquet"), ("effect", "*/*/effects/*.parquet")):
        files = sorted((PROJECT / "results").glob(pattern))
        rows = sum(pq.read_metadata(path).num_rows for path in files)
        if not rows:
            sys.exit(f"run the default study first (make run): there is no results/{pattern}")
        found[name] = sum(path.stat().st_size for path in files) / rows
    return found


def number(value):
    """Two digits, with thousands."""
    return f"{float(f'{value:.2g}'):,.10g}"


def papers(here, score):
    """Lines of what each published study costs.

    here: operations per second of this machine;  score: bytes of a score
    """
    (slow, low), (fast, high) = GPUS.items()
    lines = [
        "## The published studies",
        "",
        '`make run ARGS="paper_<study> --configfile config/papers/<study>.yaml"`: models and settings of the overlay, counted in the same way. Eight GPUs, of one machine or of a Slurm cluster, '
        f"take an eighth as long where there are as many jobs at once; questions of ARC and MMLU have about 100 tokens instead of {TOKENS}, so these tasks cost about five times what is counted.",
        "",
        f"| target | jobs | seconds to plan | CPU hours ({here / 1e9:.0f} Gop/s) | GPU hours ({slow}) | on eight | GPU hours ({fast}) | on eight | weights to fetch | scores on disk |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for study in PAPERS:
        file = f"config/papers/{study}.yaml"
        cfg, (counted, seconds) = settings(file), jobs(f"paper_{study}", file)
        total = sum(work(cfg, [study]).values())
        block = cfg if study == "reuse" else cfg[study]
        models = [MODELS[name] for name in block["models"] or cfg["models"]]
        hours = " | ".join(f"{number(total / rate / 3600)} | {number(total / rate / 8 / 3600)}" for rate in (low, high))
        scores = sum(shape.components for shape in models) * len(cfg["tasks"]) * cfg["examples"]["count"] * score
        kept = f"{number(scores / 2**20)} MB" if study == "reuse" else "-"
        weights = number(
            sum(shape.parameters for shape in models) * (2 if cfg["compute"]["dtype"] == "bfloat16" else 4) / 2**30
        )
        lines.append(
            f"| `paper_{study}` | {counted['total']:,} | {seconds:.0f} | {number(total / here / 3600)} | {hours} | {weights} GB | {kept} |"
        )
    return [*lines, ""]


def page():
    """The text of docs/plan.md."""
    cfg = settings("config/public.yaml")
    counted, seconds = jobs()
    here, size = rate(), disk()
    costs = work(cfg)
    total = sum(costs.values())
    lines = [
        "# What it costs",
        "",
        "Written by `python benchmarks/plan.py` from `config/public.yaml`: all studies on seven public models of 124 million to 1.2 billion parameters. An estimate, not a",
        "measurement: no GPU was at hand, and none of these models was run. Work is counted in forward passes of prompts of "
        f"{TOKENS} tokens at 2 N T operations each (N parameters outside the embeddings, Kaplan et al. 2020); a machine's rate times that gives hours. The stages reach 0.8 to 1.4 of what the bare model",
        "does on the same machine ([benchmarks](benchmarks.md), `..._fraction_of_limit`), so a rate for your GPU is one run of the bare model away.",
        "",
        "## The jobs",
        "",
        f"`snakemake -n --configfile config/public.yaml` plans **{counted['total']:,} jobs** without network ({seconds:.0f} s on this machine, two cores).",
        "",
        f"| study | stage | 10^15 operations | hours here ({here / 1e9:.0f} Gop/s, measured) | "
        + " | ".join(f"hours, {name} ({value / 1e12:.0f} Top/s, assumed)" for name, value in GPUS.items())
        + " |",
        "|---|---|---|---|" + "---|" * len(GPUS),
    ]
    for (study, stage), operations in [*costs.items(), (("all", ""), total)]:
        hours = " | ".join(number(operations / value / 3600) for value in GPUS.values())
        lines.append(
            f"| {study} | {stage} | {number(operations / 1e15)} | {number(operations / here / 3600)} | {hours} |"
        )
    rest, random = sets_of(cfg)
    less = (rest + 100 * random / cfg["circuits"]["controls"]["random_sets"]) / (rest + random)
    circuits = costs["reuse", "circuits and controls"] / total * random / (rest + random)
    rows = sum(MODELS[m].components for m in cfg["models"]) * len(cfg["tasks"]) * cfg["examples"]["count"]
    lines += [
        "",
        f"{100 * circuits:.0f} per cent of it are the random sets behind p-values (`circuits.controls.random_sets`: {cfg['circuits']['controls']['random_sets']}): a first look with 100 costs {100 * less:.0f} per cent as much there, "
        "with no p below 1/101, and what was run is kept when the number is raised.",
        "",
        "| rule with most jobs | jobs |",
        "|---|---|",
        *(f"| {name} | {value:,} |" for name, value in sorted(counted.items(), key=lambda kv: -kv[1])[1:9]),
        "",
        f"**Disk.** A score of one component on one example takes {size['score']:.1f} bytes, a row of effects {size['effect']:.1f} (measured on the results in this folder): {number(rows * size['score'] / 2**20)} MB of scores, and weights as fetched "
        f"({number(sum(MODELS[m].parameters for m in cfg['models']) * 4 / 2**30)} GB in float32). **Memory.** Weights, and activations of one batch (`compute.batch_tokens`); tables are read a shard at a time.",
        "",
        "**On a cluster.** GPU jobs are short: each shard of a task is one. With as many GPUs as a task has shards the time is that of the longest chain, prompts → attribution → circuits → "
        "controls of the largest model.",
        "",
        *papers(here, size["score"]),
        "## How it grows",
        "",
        "Attribution (EAP-IG, five steps) of every example, the only stage that must see all of them; hours at a sustained 200 Top/s a GPU (assumed).",
        "",
        "| model | components | GPU hours for 10,000 examples | for 1,000,000 | scores on disk for 1,000,000 | GPUs that hold the weights (80 GB, bfloat16) |",
        "|---|---|---|---|---|---|",
    ]
    for name, shape in LARGE.items():
        one = 17 * shape.operations / 200e12 / 3600
        held = max(1, -(-int(shape.parameters * 2 * 1.3) // int(80e9)))
        lines.append(
            f"| {name} | {shape.components:,} | {number(one * 1e4)} | {number(one * 1e6)} | {number(shape.components * 1e6 * size['score'] / 2**30)} GB | {held} |"
        )
    lines += [
        "",
        "What makes that possible, and what does not yet:",
        "",
        "* Shards have a fixed size, so a million examples are more jobs, not larger ones: `examples.shard_size: 4096` makes 245 a task; at most 1,000 shards are planned.",
        "* Memory hardly grows with the number of examples (`peak_megabytes_after_..._examples`), and time grows in proportion to it (`examples_scaling_exponent`).",
        "* Testing costs sets times held-out examples, so it need not grow: with `examples.held_out_share: 0.001` a million examples leave 1,000 to test on, and the rest for choosing circuits.",
        "* A model over several GPUs: `compute.device: spread` (layers on all GPUs of a node); attribution across nodes is not supported.",
        "* Activation patching is a forward pass a component: for 70B, take the agreement of methods on a few examples (`agreement.examples`; 0 leaves it out).",
        "* Tables of one task are joined in memory by `share_circuits`: at a million examples of a 70B model, choose circuits on a subset (`examples.count`) rather than all.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (PROJECT / "docs" / "plan.md").write_text(page())
