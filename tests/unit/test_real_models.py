"""Real public models against hooks on the plain Hugging Face model; skipped where their folders are not there.

CIRCUIT_REUSE_MODELS names the folder that holds them (default resources/hub); `make real` fetches them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from circuit_reuse.data import components, fingerprint
from circuit_reuse.engine import batching, edge_circuits, edges, interventions, models
from circuit_reuse.studies.common import scoring
from circuit_reuse.studies.sequences import path_patching
from plain import Few, Plain
from support import PROJECT, examples_for
from tiny_families import GEMMA2, LLAMA
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.long

PLACE = Path(os.environ.get("CIRCUIT_REUSE_MODELS", PROJECT / "resources" / "hub"))
ANATOMY = {"smollm2-135m": LLAMA, "gemma3-270m": GEMMA2}
METRIC, STEPS, LIMIT = "logit_difference", 2, 1e-4


class Real:
    """A model, its plain twin, and two examples."""

    def __init__(self, name):
        folder = PLACE / name
        if not (folder / "config.json").is_file():
            pytest.skip(f"{folder} is not there: set CIRCUIT_REUSE_MODELS, or make real")
        self.model = models.load(folder, "cpu", threads=torch.get_num_threads())
        space = fingerprint.shape(folder)
        plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
        self.plain = Plain(plain, ANATOMY[name], space.heads, space.kv_heads, space.d_head)
        examples = examples_for("ioi", 16, folder)
        usable = examples[examples["valid"]].reset_index(drop=True)
        length = usable["length"].mode()[0]
        rows = [row for row, value in enumerate(usable["length"]) if value == length][:2]
        self.batch = batching.batch_of(usable, rows, "cpu")
        with torch.no_grad():
            self.last, self.wrote = self.plain.run(self.batch.clean)
            _, self.corrupt = self.plain.run(self.batch.corrupt)

    def metric(self, last):
        """The metric of each example."""
        return models.metric_values(last, *self.batch.targets(), METRIC)

    def gradients(self, embedding=None):
        """Of the metric with respect to z of every layer and to the embedding, {layer or "input": tensor}."""
        seen, handles = {}, []
        anatomy = self.plain.anatomy

        def root(_, inputs, output):
            seen["input"] = (output if embedding is None else embedding).detach().requires_grad_()
            return seen["input"]

        handles.append(self.plain.model.get_submodule(anatomy.embed).register_forward_hook(root))
        for layer, block in enumerate(self.plain.layers):

            def keep(_, inputs, layer=layer):
                seen[layer] = inputs[0]

            handles.append(block.get_submodule(anatomy.out).register_forward_pre_hook(keep))
        last = self.plain.model(self.batch.clean, use_cache=False).logits[:, -1]
        names = list(seen)
        found = torch.autograd.grad(self.metric(last).sum(), [seen[name] for name in names])
        for handle in handles:
            handle.remove()
        return dict(zip(names, found, strict=True))


@pytest.fixture(scope="module", params=ANATOMY)
def real(request):
    """A real model that is there."""
    return Real(request.param)


def close(found, expected, limit=LIMIT):
    """Agreement as a share of the largest value."""
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=0, atol=limit * scale)


def heads_of(real, product):
    """What each head of a layer has of a product [example, position, head * d_head]."""
    return product.unflatten(2, (real.model.space.heads, -1)).sum((1, 3))


def columns(real, layer):
    """Where the heads of a layer stand among the components."""
    start = real.model.space.names.index(f"a{layer}.h0")
    return slice(start, start + real.model.space.heads)


def test_logits_and_what_heads_and_mlps_write_are_those_of_the_plain_model(real):
    close(models.logits(real.model, real.batch.clean), real.last)
    _, acts = interventions.run(real.model, real.batch.clean)
    for layer in range(real.model.space.layers):
        close(acts.z[layer].flatten(2), real.wrote.z[layer])
        close(acts.mlp[layer], real.wrote.mlp[layer])


def test_atp_and_the_sums_of_edges_are_gradients_of_the_plain_model(real):
    """atp (and eap, which is the same) by the gradient at the clean run, ig and eap-ig by those at the steps."""
    change = [real.corrupt.z[layer] - z for layer, z in real.wrote.z.items()]
    ways = [(step + 0.5) / STEPS for step in range(STEPS)]
    points = [torch.lerp(real.wrote.embedding, real.corrupt.embedding, way) for way in ways]
    for method, steps, starts in (("atp", 0, [None]), ("ig", STEPS, points)):
        found = scoring.score(real.model, real.batch, method, METRIC, STEPS)
        total = edges.edge_scores(real.model, real.batch, METRIC, steps).sum(2)
        close(total, found)
        gradients = [real.gradients(start) for start in starts]
        expected = torch.stack(
            [
                sum(heads_of(real, change[n] * each[n]) for each in gradients) / len(starts)
                for n in range(real.model.space.layers)
            ]
        )
        mine = torch.stack([found[:, columns(real, n)] for n in range(real.model.space.layers)])
        close(mine, expected)


@torch.no_grad()
def test_patched_heads_and_mlps_are_so_in_the_plain_model(real):
    short = real.batch.shortened(real.model)
    base, _ = interventions.base(real.model, short.clean, short.prefix)
    _, corrupt = interventions.run(real.model, short.corrupt, short.prefix)
    middle, width = real.model.space.layers // 2, real.model.space.d_head
    for name, put in ((f"a{middle}.h1", ("z", middle)), (f"m{middle + 1}", ("mlp", middle + 1)), ("m0", ("mlp", 0))):
        value = real.corrupt.mlp[put[1]]
        if put[0] == "z":
            value = real.wrote.z[middle].clone()
            value[..., width : 2 * width] = real.corrupt.z[middle][..., width : 2 * width]
        expected, _ = real.plain.run(real.batch.clean, {put: value})
        found = interventions.replace(real.model, base, [[name]], corrupt)
        close(found, expected)


def few(mask):
    """A cut by its mask."""
    return Few(mask, mask.any(0).nonzero()[:, 0].tolist())


def chosen_edges(real):
    """Some edges as names and as (writer, reader) of the twin: into a query, shared key and value, MLP, logits."""
    space, last = real.model.space, real.model.space.layers - 2
    shared, group = space.shared_by, (space.heads - 1) // space.shared_by
    first = last // 2
    return [
        (f"a{first}.h1", (first, 1), f"a{last}.h{space.heads - 1}.q", (last, "q", space.heads - 1)),
        (f"m{first}", (first, "mlp"), components.reader_name(last, "k", group, shared), (last, "k", group)),
        (f"a{first}.h2", (first, 2), components.reader_name(last, "v", 0, shared), (last, "v", 0)),
        (f"a{last}.h0", (last, 0), f"m{last}", (last, "mlp", 0)),
        (f"a{last}.h1", (last, 1), "logits", "logits"),
        ("input", "input", components.reader_name(2, "v", 0, shared), (2, "v", 0)),
    ]


def test_single_edges_are_derivatives_in_the_plain_model(real):
    scores = edges.edge_scores(real.model, real.batch, METRIC)
    names, readers = real.model.space.names, edges.reader_names(real.model.space)
    found, expected = [], []
    for writer, row, reader, column in chosen_edges(real):
        step = torch.zeros((), requires_grad=True)
        mask = torch.zeros(len(real.plain.writers), len(real.plain.readers))
        mask[real.plain.writers.index(row), real.plain.readers.index(column)] = 1
        last, _ = real.plain.run(
            real.batch.clean, corrupt=real.corrupt, cut=Few(step * mask, [real.plain.readers.index(column)])
        )
        expected.append(torch.autograd.grad(real.metric(last).sum(), step)[0])
        found.append(scores[:, names.index(writer), readers.index(reader)].sum())
    close(torch.stack(found), torch.stack(expected))


@torch.no_grad()
def test_edge_circuits_and_patched_paths_are_those_of_the_plain_model(real):
    """All of some edges cut at once, and each alone by path patching."""
    there, chosen = edge_circuits.exist(real.model), chosen_edges(real)
    names, readers = real.model.space.names, edges.reader_names(real.model.space)
    short = real.batch.shortened(real.model)
    base, _ = interventions.base(real.model, short.clean, short.prefix)
    _, corrupt = interventions.run(real.model, short.corrupt, short.prefix)
    kept, mask = there.copy(), torch.zeros(len(real.plain.writers), len(real.plain.readers))
    circuit = real.model.space.of_kinds()
    own = path_patching.own_run(real.model, base, corrupt, [], circuit)
    targets = {target.name: target for target in path_patching.readers(real.model, set(circuit))}
    for writer, row, reader, column in chosen:
        kept[names.index(writer), readers.index(reader)] = False
        one = torch.zeros_like(mask)
        one[real.plain.writers.index(row), real.plain.readers.index(column)] = 1
        mask += one
        expected, _ = real.plain.run(real.batch.clean, corrupt=real.corrupt, cut=few(one))
        found = path_patching.patched(real.model, base, corrupt, [], own, targets[reader], [writer])
        close(found, expected)
    expected, _ = real.plain.run(real.batch.clean, corrupt=real.corrupt, cut=few(mask))
    masks = np.stack([kept, there, np.zeros_like(there)])
    found = torch.zeros(3, *real.last.shape)
    for places, last in edge_circuits.scan(real.model, short, corrupt, masks):
        found[places] = last.view(len(places), *real.last.shape)
    other, _ = real.plain.run(real.batch.corrupt)
    for mine, its in zip(found, (expected, real.last, other), strict=True):
        close(mine, its)
    # Several edges at once change the logits by far more than is allowed between the two.
    assert (expected - real.last).abs().max() > 100 * LIMIT * real.last.abs().max() / 10
