"""Every supported family, tiny and with random weights, against hooks on the plain Hugging Face model."""

import subprocess
from functools import cache

import numpy as np
import pytest
import tiny_families
import torch
from circuit_reuse.data import components, fingerprint
from circuit_reuse.engine import (
    architectures,
    batching,
    edge_circuits,
    edges,
    interventions,
    models,
    parts,
    plain_model,
    shortcuts,
)
from circuit_reuse.studies.common import scoring
from circuit_reuse.studies.sequences import head_functions, path_patching
from plain import Plain
from support import examples_for
from tiny_families import HEADS, LAYERS, TINY, VARIANTS
from transformers import AutoModelForCausalLM

METRIC = "logit_difference"
# In these every position or bias that adds to the stream is missing, so components alone make the logits.
BARE = ("llama", "qwen2", "qwen3", "gemma", "gemma3_text", "olmo2", "phi3", "mixtral", "mpt", "cohere")
WINDOWS = ("gpt_neo", "mistral", "gemma2", "gemma3_text", "gemma3", "olmo3", "cohere2", "exaone4", "gpt_oss")


class Case:
    """A loaded model of a family, the same as a plain model, and a batch of examples."""

    def __init__(self, name, folder):
        self.name, self.folder, tiny = name, folder, tiny_families.build(name, folder)
        self.kind = tiny.kind or name
        self.model = models.load(folder, "cpu", threads=1)
        self.batch = batching.batch_of(examples_for("digits", 4), range(4), "cpu")
        plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        # Experts and XGLM run in no other precision.
        self.precise = not tiny.experts and name != "xglm"
        plain = plain.double() if self.precise else plain
        space = self.model.space
        self.plain = Plain(plain, tiny.anatomy, HEADS, tiny.kv_heads, space.d_head)
        with torch.no_grad():
            self.last, self.wrote = self.plain.run(self.batch.clean)
            _, self.corrupt = self.plain.run(self.batch.corrupt)

    def close(self, found, expected, limit=1e-4):
        """Whether two tensors agree, as a share of the largest value."""
        expected = expected.to(found.dtype)
        scale = expected.abs().max().item()
        torch.testing.assert_close(found, expected.view(found.shape), rtol=0, atol=limit * scale)

    def cut(self, **options):
        """No edge cut, [writer, reader]."""
        size = len(self.plain.writers), len(self.plain.readers)
        dtype = torch.float64 if self.precise else torch.float32
        return torch.zeros(size, dtype=dtype, **options)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A function of a name that makes each Case once."""
    return cache(lambda name: Case(name, tmp_path_factory.mktemp("family")))


@pytest.fixture(scope="module", params=TINY)
def family(request, cases):
    """A family of the list."""
    return cases(request.param)


@pytest.fixture(scope="module", params=[*(name for name in TINY if not architectures.FAMILIES[name].edges), *VARIANTS])
def with_edges(request, cases):
    """A family that has edges, and what its config may turn on or off."""
    return cases(request.param)


def test_every_family_of_the_list_is_tested():
    assert set(TINY) == set(architectures.FAMILIES)
    assert not set(architectures.FAMILIES) & {kind for kinds in architectures.REFUSED.values() for kind in kinds}


def test_a_model_that_reads_images_too_is_loaded_without_installing_what_they_need(tmp_path, monkeypatch):
    """TransformerLens would install torchvision for it, and with that replace torch."""

    def refuse(self, command, *_, **__):
        raise AssertionError(f"loading a model starts a program: {command}")

    tiny_families.build("gemma3", tmp_path)
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    assert models.load(tmp_path, "cpu").space.layers == LAYERS


def test_a_run_is_that_of_the_plain_model(family):
    """Logits, and what every component writes; the shape and the order of attention and MLP from the config."""
    space = family.model.space
    assert (space.layers, space.heads) == (LAYERS, HEADS)
    assert space.kv_heads == family.plain.numbers["k"]
    assert fingerprint.parallel(family.folder) == family.model.parallel == family.plain.anatomy.parallel
    family.close(models.logits(family.model, family.batch.clean), family.last)
    about = plain_model.compare(family.model, family.folder)
    assert about["bridge_difference"] < 1e-3 and about["compared_lengths"][-1] >= 64
    _, acts = interventions.run(family.model, family.batch.clean)
    for layer in range(LAYERS):
        family.close(acts.z[layer].flatten(2), family.wrote.z[layer])
        if family.kind != "granite":
            family.close(acts.mlp[layer], family.wrote.mlp[layer])


@torch.no_grad()
def test_heads_and_mlps_that_are_replaced_are_so_in_the_plain_model(family):
    clean, width = family.batch.clean, family.model.space.d_head
    _, instead = interventions.run(family.model, family.batch.corrupt)
    zero = instead.like(torch.zeros_like)
    for layer, head in ((0, 1), (1, 3)):
        mixed, name = family.wrote.z[layer].clone(), f"a{layer}.h{head}"
        rows = slice(head * width, (head + 1) * width)
        mixed[..., rows] = family.corrupt.z[layer][..., rows]
        silent = {("mlp", layer): 0 * family.wrote.mlp[layer]}
        for put, removed, values in (({("z", layer): mixed}, name, instead), (silent, f"m{layer}", zero)):
            expected, _ = family.plain.run(clean, put)
            found = interventions.replace(family.model, interventions.Base(clean), [[removed]], values)
            family.close(found, expected)
            assert not torch.allclose(expected, family.last, atol=1e-3 * expected.std().item())


def test_atp_and_patching_are_those_of_the_plain_model(family):
    found = scoring.score(family.model, family.batch, "atp", METRIC)
    exact = scoring.score(family.model, family.batch, "patching", METRIC)
    before = metric(family, family.last)
    for layer in range(LAYERS):
        change = family.corrupt.z[layer] - family.wrote.z[layer]
        step = torch.zeros_like(change, requires_grad=True)
        last, _ = family.plain.run(family.batch.clean, {("z", layer): family.wrote.z[layer] + step})
        (gradient,) = torch.autograd.grad(metric(family, last).sum(), step)
        product = (change * gradient).unflatten(2, (HEADS, -1)).sum((1, 3))
        column = family.model.space.names.index(f"a{layer}.h0")
        close_to(found[:, column : column + HEADS], product, found)
        mlp = {("mlp", layer): family.corrupt.mlp[layer]}
        if family.kind != "granite":
            with torch.no_grad():
                moved = metric(family, family.plain.run(family.batch.clean, mlp)[0])
            close_to(exact[:, column + HEADS], moved - before, exact)


def close_to(found, expected, scale):
    """Agreement as a share of the largest score."""
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-4 * scale.abs().max().item())


def metric(case, last):
    """The metric of each example."""
    return models.metric_values(last, *case.batch.targets(), METRIC)


def test_every_edge_score_is_the_derivative_in_the_plain_model(with_edges):
    """How fast the metric changes when one reader sees a little of one writer's change, for all pairs."""
    case, cut = with_edges, with_edges.cut(requires_grad=True)
    last, _ = case.plain.run(case.batch.clean, corrupt=case.corrupt, cut=cut)
    (expected,) = torch.autograd.grad(metric(case, last).sum(), cut)
    found = edges.edge_scores(case.model, case.batch, METRIC).sum(0)
    case.close(found, expected)
    there = torch.tensor(edge_circuits.exist(case.model))
    assert not found[~there].any() and found[:, -1].any()


def test_edges_out_of_a_component_sum_to_atp_and_over_the_steps_to_ig(with_edges):
    case = with_edges
    for steps, method in ((0, "atp"), (3, "ig")):
        nodes = scoring.score(case.model, case.batch, method, METRIC, 3)
        total = edges.edge_scores(case.model, case.batch, METRIC, steps).sum(2)
        case.close(total, nodes, 1e-5)


@torch.no_grad()
def test_an_edge_circuit_is_that_of_the_plain_model(with_edges, monkeypatch):
    """Half of the edges kept, all, and none; in one run and in parts of examples."""
    case, rng = with_edges, np.random.default_rng(0)
    there = edge_circuits.exist(case.model)
    kept = there & (rng.random(there.shape) < 0.5)
    cut = case.cut() + torch.tensor(there & ~kept)
    expected, _ = case.plain.run(case.batch.clean, corrupt=case.corrupt, cut=cut)
    _, corrupt = interventions.run(case.model, case.batch.corrupt)
    other, _ = case.plain.run(case.batch.corrupt)
    for budget in (2**40, 1):
        monkeypatch.setattr(edge_circuits, "BUDGET_BYTES", budget)
        masks = np.stack([kept, there, np.zeros_like(there)])
        found = torch.zeros(3, *case.last.shape)
        for places, last in edge_circuits.scan(case.model, case.batch, corrupt, masks):
            found[places] = last.view(len(places), *case.last.shape)
        for mine, its in zip(found, (expected, case.last, other), strict=True):
            case.close(mine, its)


@torch.no_grad()
def test_a_path_that_is_patched_is_so_in_the_plain_model(with_edges):
    """Edges into a query, a key, a value, an MLP and the logits, one head being replaced throughout."""
    case, shared = with_edges, with_edges.model.space.shared_by
    clean, width = case.batch.clean, case.model.space.d_head
    circuit = [name for name in case.model.space.of_kinds() if name != "a0.h0"]
    base, _ = interventions.base(case.model, clean)
    _, corrupt = interventions.run(case.model, case.batch.corrupt)
    own = path_patching.own_run(case.model, base, corrupt, ["a0.h0"], circuit)
    z = case.wrote.z[0].clone()
    z[..., :width] = case.corrupt.z[0][..., :width]
    targets = {target.name: target for target in path_patching.readers(case.model, set(circuit))}
    number = (HEADS - 1) // shared
    for writer, row, reader, column in (
        ("a0.h2", (0, 2), "a1.h3.q", (1, "q", 3)),
        ("m0", (0, "mlp"), components.reader_name(1, "k", number, shared), (1, "k", number)),
        ("a0.h1", (0, 1), components.reader_name(1, "v", 0, shared), (1, "v", 0)),
        ("a0.h3", (0, 3), "m1", (1, "mlp", 0)),
        ("input", "input", components.reader_name(0, "k", number, shared), (0, "k", number)),
        ("a1.h2", (1, 2), "logits", "logits"),
    ):
        cut = case.cut()
        cut[case.plain.writers.index(row), case.plain.readers.index(column)] = 1
        expected, _ = case.plain.run(clean, {("z", 0): z}, case.corrupt, cut)
        if reader.startswith("a0"):
            # The head that is replaced stays so whatever its layer reads.
            own_z = case.plain.run(clean, None, case.corrupt, cut)[1].z[0].clone()
            own_z[..., :width] = case.corrupt.z[0][..., :width]
            expected, _ = case.plain.run(clean, {("z", 0): own_z}, case.corrupt, cut)
        found = path_patching.patched(case.model, base, corrupt, ["a0.h0"], own, targets[reader], [writer])
        case.close(found, expected)


def test_the_shortcuts_work_on_every_family(family):
    able = {
        what: shortcuts.able(family.model, what, *at) for what, at in {"prefix": (8, 4), "skip": (), "end": ()}.items()
    }
    # OPT flattens examples and positions before its MLP, Falcon adds the attention to it in place.
    assert able == {"prefix": True, "skip": True, "end": family.name not in ("opt", "falcon")}
    assert (family.batch.shortened(family.model).prefix is None) == (family.name in WINDOWS)


def test_parts_of_heads_make_up_their_output(family):
    """Pattern and values give z; with grouped queries a value is that of the head's group."""
    model, batch = family.model, family.batch
    base, _ = parts.capture(model, batch.corrupt, parts.PLACES)
    _, clean = parts.capture(model, batch.clean, parts.PLACES)
    sets = [
        [parts.Patch("z", 0, h) for h in range(HEADS)],
        [parts.Patch(part, 0, h) for part in ("pattern", "v") for h in range(HEADS)],
        [parts.Patch("stream", 1)],
        [parts.Patch("v", 0, 0)],
        [parts.Patch("v", 0, 1)],
    ]
    z, both, everything, first, second = (parts.replace(model, base, [s], clean) for s in sets)
    family.close(both, z, 1e-3)
    family.close(everything, family.last, 1e-3)
    same = torch.allclose(first, second, rtol=0, atol=1e-4 * z.std().item())
    assert same == (model.space.shared_by > 1)


def test_what_components_say_of_the_logits_adds_up(family):
    """Direct attributions make the logit difference; the lens after the last layer is the model."""
    found = head_functions.lens(family.model, family.batch)[LAYERS - 1, True]
    family.close(found, family.last, 1e-3)
    hits = head_functions.ov_hits(family.model, family.batch.clean, 3)
    assert len(hits["published", 1]) == LAYERS
    if family.name in BARE:
        direct, rest = head_functions.direct(family.model, family.batch)
        assert rest.abs().max() < 1e-4 * direct.abs().max()


@pytest.mark.parametrize("name", [name for name, family in architectures.FAMILIES.items() if family.edges])
def test_edges_of_a_model_built_otherwise_are_refused_and_not_wrong(name, tmp_path):
    """By the config and by the model itself; the other methods still run."""
    tiny_families.build(name, tmp_path)
    assert architectures.FAMILIES[name].edges in architectures.unsupported(tmp_path, ("edges",))
    assert architectures.unsupported(tmp_path) is None
    model = models.load(tmp_path, "cpu", threads=1)
    batch = batching.batch_of(examples_for("digits", 2), range(2), "cpu")
    with pytest.raises(ValueError, match="use atp, ig or patching"):
        scoring.score(model, batch, "eap-absolute", METRIC)
    assert scoring.score(model, batch, "atp", METRIC).isfinite().all()
