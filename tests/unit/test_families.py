"""Architectures beyond the embedded ones, tiny and with random weights, from a local folder."""

import shutil

import pytest
import torch
from circuit_reuse import attribution, batching, edges, interventions, models
from support import MODELS, examples_for
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIZE = {"vocab_size": 1600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = SIZE | {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GATED)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GATED)),
    "opt": lambda: OPTForCausalLM(OPTConfig(**SIZE, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=64)),
    "gpt_neo": lambda: GPTNeoForCausalLM(GPTNeoConfig(
        vocab_size=1600, hidden_size=32, num_layers=2, num_heads=4, max_position_embeddings=64,
        attention_types=[[["global", "local"], 1]])),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**GATED)),
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """A loaded model of the family, and a batch of examples."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    model = FAMILIES[request.param]()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODELS / "tiny-gpt2-medium" / name, folder / name)
    examples = examples_for("digits", 4)
    return (
        request.param,
        models.load(folder, "cpu", threads=1),
        batching.batch_of(examples, range(4), "cpu"),
    )


def test_the_bridge_gives_the_logits_of_the_plain_model(family):
    _, model, batch = family
    folder = model.bridge.original_model.config._name_or_path
    plain = AutoModelForCausalLM.from_pretrained(folder)(batch.clean).logits[:, -1]
    torch.testing.assert_close(models.logits(model, batch.clean), plain, rtol=1e-4, atol=1e-4)


def test_the_shape_is_read_from_the_config(family):
    _name, model, batch = family
    _, acts = interventions.run(model, batch.clean)
    assert len(acts.z) == model.space.layers == 2
    assert acts.z[0].shape[2:] == (model.space.heads, model.space.d_head)


def test_atp_is_the_limit_of_small_changes_and_edges_sum_to_it(family):
    name, model, batch = family
    found = attribution.score(model, batch, "atp", "logit_difference")
    _, clean = interventions.run(model, batch.clean)
    _, corrupt = interventions.run(model, batch.corrupt)
    base = models.metric_values(
        models.logits(model, batch.clean), batch.answer, batch.distractor, "logit_difference"
    )
    small = 2e-3
    change = interventions.add(
        clean.like(lambda t: t * (1 - small)), corrupt.like(lambda t: t * small)
    )
    for component in ("input", "a0.h1", "a1.h3", "m0", "m1"):
        last = interventions.replace(model, interventions.Base(batch.clean), [[component]], change)
        moved = models.metric_values(last, batch.answer, batch.distractor, "logit_difference")
        column = found[:, model.space.names.index(component)]
        scale = found.abs().max().item()
        torch.testing.assert_close((moved - base) / small, column, rtol=0.1, atol=0.03 * scale)
    if name == "gemma2":
        with pytest.raises(ValueError, match="use atp, ig or patching"):
            edges.edge_scores(model, batch, "logit_difference")
        return
    total = edges.edge_scores(model, batch, "logit_difference").sum(2)
    torch.testing.assert_close(total, found, rtol=1e-3, atol=1e-3 * found.abs().max().item())
