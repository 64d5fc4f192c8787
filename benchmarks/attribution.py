"""Attribution and interventions against the bare model, in one process, run in turn."""

import statistics
import sys

import torch
from measure import exponent, paired, peak_megabytes, seconds
from shapes import EMBEDDED, PROJECT, bare_model, random_batch, random_model

sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))
sys.path.insert(0, str(PROJECT / "tests"))

from circuit_reuse.engine import batching, interventions, models
from circuit_reuse.studies.common import scoring

METRIC, EXAMPLES, POSITIONS, STEPS = "logit_difference", 16, 17, 5


def forward(bare, tokens):
    """A bare forward with logits at the last position only."""
    with torch.no_grad():
        return bare(tokens, logits_to_keep=1, use_cache=False)


def with_backward(bare, batch):
    """A bare forward and one backward to the embedding, no parameter gradients."""
    embedding = bare.get_input_embeddings()(batch.clean).detach().requires_grad_()
    last = bare(inputs_embeds=embedding, logits_to_keep=1, use_cache=False).logits[:, -1].float()
    total = models.metric_values(last, *batch.targets(), METRIC).sum()
    torch.autograd.grad(total, embedding)


def limit(bare, batch, steps=0):
    """What no method can do without: for atp (no steps) two forwards and one backward.

    For ig: two forwards, and a forward and a backward for each step.
    """
    forward(bare, batch.corrupt)
    if steps:
        forward(bare, batch.clean)
    for _ in range(max(steps, 1)):
        with_backward(bare, batch)


def score(model, batch, method):
    """One batch scored."""
    return scoring.score(model, batch, method, METRIC, STEPS, tokens=10**6)


def attribution_speed():
    """The methods against the limit; prompts differ from the first position on."""
    with random_model("gpt2-small") as (model, bare):
        batch = random_batch(EXAMPLES, POSITIONS, 50257)
        shared = random_batch(EXAMPLES, POSITIONS, 50257, differ_at=9)
        atp = lambda: score(model, batch, "atp")  # noqa: E731
        return {
            "atp_fraction_of_limit": (paired(lambda: limit(bare, batch), atp), "ratio"),
            "atp_fraction_of_limit_shared_9_of_17": (
                paired(lambda: limit(bare, shared), lambda: score(model, shared, "atp")),
                "ratio",
            ),
            "ig_fraction_of_limit": (
                paired(lambda: limit(bare, batch, STEPS), lambda: score(model, batch, "ig"), 5),
                "ratio",
            ),
            "eap_over_atp": (paired(lambda: score(model, batch, "eap-absolute"), atp), "ratio"),
            "eap_ig_over_ig": (
                paired(lambda: score(model, batch, "eap-ig-absolute"), lambda: score(model, batch, "ig"), 5),
                "ratio",
            ),
        }


def intervention_speed():
    """Rows with components replaced against bare rows, and a scan of every head."""
    with random_model("gpt2-small") as (model, bare):
        batch = random_batch(EXAMPLES, POSITIONS, 50257)
        base, clean = interventions.base(model, batch.clean)
        zero = clean.like(torch.zeros_like)
        heads = model.space.of_kinds(["head"])
        generator = torch.Generator().manual_seed(2)
        sets = [[heads[n] for n in torch.randperm(len(heads), generator=generator)[:20]] for _ in range(4)]
        rows = batch.clean.repeat(len(sets), 1)
        plain = interventions.Base(batch.clean)

        # Four heads of each layer, each layer in turn with as many bare forwards.
        layers = [[[f"a{layer}.h{head}"] for head in range(0, 12, 3)] for layer in range(12)]

        def scan(some):
            for _ in interventions.scan(model, base, some, zero, rows.numel()):
                pass

        ratios = []
        for _ in range(4):
            pairs = [(seconds(lambda: scan(some)), seconds(lambda: forward(bare, rows))) for some in layers]
            ratios.append(sum(mine for mine, _ in pairs) / sum(whole for _, whole in pairs))
        return {
            "intervention_fraction_of_limit": (
                paired(lambda: forward(bare, rows), lambda: interventions.replace(model, plain, sets, zero)),
                "ratio",
            ),
            "head_scan_forwards_per_head": (statistics.median(ratios[1:]), "forwards"),
        }


def prefix_speed():
    """What the shared prefix brings on each task: time without it over time with it."""
    from support import examples_for

    folder = EMBEDDED / "tiny-gpt2-large"
    model, found = models.load(folder, "cpu"), {}
    for task in ("ioi", "anti_repeat", "greater_than", "boolean", "digits", "pronouns", "sarcasm"):
        examples = examples_for(task, 64, folder)
        examples = examples[examples["valid"]].reset_index(drop=True)
        batches = list(batching.batches(examples, 2048))

        def run(allowed, batches=batches):
            model.shortcuts["prefix"] = allowed
            for batch in batches:
                score(model, batch, "eap-ig-absolute")

        run(True)
        found[f"prefix_speedup_{task}"] = (paired(lambda: run(False), lambda: run(True), 5), "ratio")
    return found


@torch.no_grad()
def end_speed():
    """What running the last MLP at the last position alone brings: time without over time with."""
    from support import examples_for

    found = {}
    for name in ("tiny-gpt2-large", "tiny-neox-large"):
        model = models.load(EMBEDDED / name, "cpu")
        examples = examples_for("ioi", 48, EMBEDDED / name)
        heads = [[head] for head in model.space.of_kinds(["head"])]
        sets = {"scan": heads, "sets": [a + b + c for a, b, c in zip(heads, heads[5:], heads[9:], strict=False)]}
        for what, removed in sets.items():
            batches = [(*interventions.base(model, b.clean), b) for b in batching.batches(examples, 2048)]

            def run(allowed, model=model, removed=removed, batches=batches):
                model.shortcuts["end"] = allowed
                for base, acts, _ in batches:
                    for _ in interventions.scan(model, base, removed, acts.like(torch.zeros_like), 2048):
                        pass

            run(True)
            key = f"end_speedup_{what}_{name.replace('-', '_')}"
            found[key] = (paired(lambda: run(False), lambda: run(True), 7), "ratio")
    return found


def embedded_speed():
    """The embedded models: atp and interventions against the bare model."""
    from support import examples_for

    found = {}
    for name in ("tiny-gpt2-medium", "tiny-neox-medium"):
        folder = EMBEDDED / name
        model, bare = models.load(folder, "cpu"), bare_model(folder)
        batch = next(batching.batches(examples_for("digits", 64, folder), 2048))
        heads = model.space.of_kinds(["head"])
        _, corrupt = interventions.run(model, batch.corrupt)
        rows, plain = batch.clean.repeat(4, 1), interventions.Base(batch.clean)
        found[f"atp_fraction_of_limit_{name}"] = (
            paired(lambda: limit(bare, batch), lambda: score(model, batch, "atp")),
            "ratio",
        )
        found[f"intervention_fraction_of_limit_{name}"] = (
            paired(lambda: forward(bare, rows), lambda: interventions.replace(model, plain, [heads[:6]] * 4, corrupt)),
            "ratio",
        )
    return found


def scaling():
    """Time against examples, components and interventions: the exponent of a power law."""
    from support import examples_for

    folder = EMBEDDED / "tiny-gpt2-small"
    model, found = models.load(folder, "cpu"), {}
    examples = examples_for("digits", 1000, folder)
    counts, times = [100, 300, 1000, 3000, 10_000], []
    score(model, next(batching.batches(examples, 4096)), "atp")
    for count in counts:
        repeated = examples.iloc[[n % len(examples) for n in range(count)]]

        def run(rows=repeated):
            for batch in batching.batches(rows, 4096):
                score(model, batch, "atp")

        times.append(statistics.median(seconds(run) for _ in range(3)))
        found[f"examples_per_second_{count}"] = (count / times[-1], "examples/s")
        found[f"peak_megabytes_after_{count}_examples"] = (peak_megabytes(), "MB")
    found["examples_scaling_exponent"] = (exponent(counts, times), "exponent")
    found["examples_scaling_exponent_last"] = (exponent(counts[-2:], times[-2:]), "exponent")

    batch = next(batching.batches(examples[:64], 1024))
    _, corrupt = interventions.run(model, batch.corrupt)
    heads = model.space.of_kinds(["head"])
    counts, times = [10, 30, 100, 300, 1000], []
    for count in counts:
        sets = [[heads[n % len(heads)], heads[(7 * n + 1) % len(heads)]] for n in range(count)]
        plain = interventions.Base(batch.clean)
        times.append(
            seconds(
                lambda sets=sets, plain=plain: [None for _ in interventions.scan(model, plain, sets, corrupt, 4096)]
            )
        )
    found["interventions_scaling_exponent"] = (exponent(counts, times), "exponent")

    layers, times = [2, 4, 8, 16], []
    for count in layers:
        changes = {"n_layer": count, "n_embd": 192, "n_head": 6, "vocab_size": 2000}
        with random_model("gpt2-small", **changes) as (model, _):
            batch = random_batch(EXAMPLES, POSITIONS, 2000)
            score(model, batch, "eap-absolute")
            times.append(min(seconds(lambda: score(model, batch, "eap-absolute")) for _ in range(5)))
    found["components_scaling_exponent_eap"] = (exponent(layers, times), "exponent")
    return found


def embeddings_of(bare):
    """Embedding and unembedding, once if they are one."""
    return {bare.get_input_embeddings().weight, bare.get_output_embeddings().weight}


def gpu():
    """On a GPU: EAP-IG for 1,000 examples, and how much of the card it uses."""
    from measure import matmul_rate

    if not torch.cuda.is_available():
        return {}
    found = {}
    for shape, dtype in (("gpt2-small", "float32"), ("pythia-1.4b", "bfloat16")):
        with random_model(shape, "cuda", dtype) as (model, bare):
            vocabulary = model.bridge.original_model.config.vocab_size
            batch = random_batch(1000, POSITIONS, vocabulary, device="cuda")
            torch.cuda.reset_peak_memory_stats()
            work = lambda: score(model, batch, "eap-ig-absolute")  # noqa: E731
            work()
            spent = seconds(work, "cuda")
            size = sum(p.numel() for p in bare.parameters())
            # The unembedding is multiplied at the last position only, the embedding never.
            size -= sum(weight.numel() for weight in embeddings_of(bare))
            # Two operations a weight and token: two forwards, and a forward and a backward a step.
            needed = 2 * size * 1000 * POSITIONS * (2 + 2 * STEPS)
            found[f"eap_ig_seconds_per_1000_{shape}"] = (spent, "s")
            found[f"eap_ig_fraction_of_matmul_rate_{shape}"] = (needed / spent / matmul_rate("cuda", dtype), "ratio")
            found[f"gpu_peak_megabytes_{shape}"] = (torch.cuda.max_memory_allocated() / 2**20, "MB")
            found[f"atp_fraction_of_limit_{shape}_gpu"] = (
                paired(lambda: limit(bare, batch), lambda: score(model, batch, "atp"), 7, "cuda"),
                "ratio",
            )
    return found
