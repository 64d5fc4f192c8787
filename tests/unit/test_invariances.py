"""What must leave scores as they are: properties of the world, for arbitrary batches and models."""

import shutil

import numpy as np
import pytest
import torch
from circuit_reuse.engine import batching, models
from circuit_reuse.methods import registry
from circuit_reuse.studies.common import scoring
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from support import MODELS, examples_for
from transformers import AutoModelForCausalLM

NAME = "tiny-gpt2-small"
METHODS = list(registry.METHODS)
METRIC = "logit_difference"
often = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def scores(model, examples, method, tokens=10**6):
    """[example, component] in the order of the examples."""
    found = np.empty((len(examples), len(model.space.names)), dtype=np.float32)
    for batch in batching.batches(examples, tokens):
        found[batch.rows] = scoring.score(model, batch, method, METRIC, 3, tokens).numpy()
    return found


def close(found, expected, tolerance=2e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.fixture(scope="module")
def small():
    return models.load(MODELS / NAME, "cpu", threads=1)


@pytest.fixture(scope="module")
def examples():
    """Prompts of several lengths."""
    return examples_for("ioi", 14, MODELS / NAME)


@pytest.fixture(scope="module")
def whole(small, examples):
    return {method: scores(small, examples, method) for method in METHODS}


@often
@given(
    method=some.sampled_from(METHODS),
    order=some.permutations(range(14)),
    count=some.integers(1, 14),
    tokens=some.integers(1, 400),
)
def test_company_order_and_batch_size_never_matter(small, examples, whole, method, order, count, tokens):
    """A score depends on its own example only: not on others, their lengths or their number."""
    chosen = list(order)[:count]
    found = scores(small, examples.iloc[chosen].reset_index(drop=True), method, tokens)
    close(found, whole[method][chosen], 1e-4)


@pytest.fixture
def edited(tmp_path):
    """A function that changes the weights of the small model, and loads the result."""

    def edit(change):
        model = AutoModelForCausalLM.from_pretrained(MODELS / NAME)
        with torch.no_grad():
            change(model.transformer.h, model)
        model.save_pretrained(tmp_path)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(MODELS / NAME / name, tmp_path / name)
        return models.load(tmp_path, "cpu", threads=1)

    return edit


@pytest.mark.parametrize("method", METHODS)
def test_relabelling_heads_permutes_their_scores(edited, small, examples, whole, method):
    layer, order = 1, [2, 0, 3, 1]
    width, heads = small.space.d_head, small.space.heads
    assert heads == len(order)

    def permute(blocks, _):
        attention = blocks[layer].attn
        weight = attention.c_attn.weight.view(-1, 3, heads, width)
        weight.copy_(weight[:, :, order].clone())
        bias = attention.c_attn.bias.view(3, heads, width)
        bias.copy_(bias[:, order].clone())
        out = attention.c_proj.weight.view(heads, width, -1)
        out.copy_(out[order].clone())

    found = scores(edited(permute), examples, method)
    column = small.space.names.index(f"a{layer}.h0")
    expected = whole[method].copy()
    expected[:, column : column + heads] = expected[:, [column + place for place in order]]
    close(found, expected, 1e-4)


@pytest.mark.parametrize("method", ["atp", "ig", "eap", "eap-ig", "patching"])
def test_folding_layer_norms_leaves_scores_unchanged(edited, examples, whole, method):
    """The weight and bias of each norm moved into what reads it."""

    def fold(blocks, model):
        for block in blocks:
            for norm, reader in ((block.ln_1, block.attn.c_attn), (block.ln_2, block.mlp.c_fc)):
                reader.bias += norm.bias @ reader.weight
                reader.weight *= norm.weight[:, None]
                norm.weight.fill_(1)
                norm.bias.zero_()

    close(scores(edited(fold), examples, method), whole[method], 1e-4)


@pytest.mark.parametrize("method", ["atp", "ig", "eap", "eap-ig", "patching"])
def test_a_component_whose_output_is_constant_scores_zero(edited, small, examples, method):
    """A head that writes its bias only, and an MLP that does."""
    width, d_model = small.space.d_head, small.space.d_model

    def silence(blocks, _):
        values = slice(2 * d_model + 2 * width, 2 * d_model + 3 * width)
        blocks[0].attn.c_attn.weight[:, values] = 0
        blocks[0].attn.c_attn.bias[values] = 0.7
        blocks[1].mlp.c_proj.weight.zero_()

    found = scores(edited(silence), examples, method)
    for name in ("a0.h2", "m1"):
        column = np.abs(found[:, small.space.names.index(name)])
        assert column.max() < 1e-5 * np.abs(found).max()


@pytest.mark.parametrize("method", ["atp", "eap-ig", "patching"])
def test_half_precision_gives_nearly_the_same_scores_in_float32(examples, whole, method):
    model = models.load(MODELS / NAME, "cpu", "bfloat16", threads=1)
    batch = next(batching.batches(examples, 10**6))
    found = scoring.score(model, batch, method, METRIC, 3)
    assert found.dtype == torch.float32
    expected = whole[method][batch.rows]
    assert np.abs(found.numpy() - expected).max() < 0.1 * np.abs(expected).max()
    assert np.corrcoef(found.numpy().ravel(), expected.ravel())[0, 1] > 0.99
