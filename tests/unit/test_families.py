"""Architectures beyond the embedded ones, tiny and with random weights, from a local folder."""

import shutil

import numpy as np
import pytest
import torch
from circuit_reuse import (
    attribution,
    batching,
    components,
    edge_circuits,
    edges,
    interventions,
    models,
    parts,
    shortcuts,
)
from circuit_reuse.sequences import paths
from support import MODELS, examples_for
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
)

SIZE = {"vocab_size": 1600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = SIZE | {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8}
FAMILIES = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=1600, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZE, intermediate_size=64, max_position_embeddings=64)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GATED)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GATED)),
    "opt": lambda: OPTForCausalLM(OPTConfig(**SIZE, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=64)),
    "gpt_neo": lambda: GPTNeoForCausalLM(GPTNeoConfig(
        vocab_size=1600, hidden_size=32, num_layers=2, num_heads=4, max_position_embeddings=64,
        attention_types=[[["global", "local"], 1]])),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**GATED)),
    # The window is shorter than the prompts.
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GATED, sliding_window=9, layer_types=["sliding_attention", "full_attention"])),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**GATED_ONLY, sliding_window=9)),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**GATED_ONLY)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GATED_ONLY)),
    "stablelm": lambda: StableLmForCausalLM(StableLmConfig(**GATED_ONLY)),
    "phi": lambda: PhiForCausalLM(PhiConfig(**SIZE, intermediate_size=64)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**GATED_ONLY, pad_token_id=0)),
    "gptj": lambda: GPTJForCausalLM(GPTJConfig(vocab_size=1600, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=64)),
}  # fmt: skip
GATED_ONLY = {key: value for key, value in GATED.items() if key != "head_dim"}
# Keys and values that two heads share; their projections stand in modules of their own.
GROUPED = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "mistral", "olmo2", "stablelm")
WINDOWS = ("gemma3", "mistral")


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
    _, model, batch = family
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
    total = edges.edge_scores(model, batch, "logit_difference").sum(2)
    torch.testing.assert_close(total, found, rtol=1e-3, atol=1e-3 * found.abs().max().item())
    integrated = attribution.score(model, batch, "ig", "logit_difference", 3)
    total = edges.edge_scores(model, batch, "logit_difference", 3).sum(2)
    torch.testing.assert_close(
        total, integrated, rtol=1e-3, atol=1e-3 * integrated.abs().max().item()
    )


def bare(model):
    """The plain Hugging Face model of the same weights, and where its heads and MLPs write."""
    plain = AutoModelForCausalLM.from_pretrained(model.bridge.original_model.config._name_or_path)
    plain.eval().requires_grad_(False)
    outputs = ("c_proj", "dense", "o_proj", "out_proj")
    attention = [
        module for name, module in plain.named_modules()
        if name.rsplit(".", 1)[-1] in outputs and ("attn" in name or "attention" in name)
    ]  # fmt: skip
    assert len(attention) == model.space.layers
    return plain, attention


def z_of(plain, attention, tokens, put=None, grad=False):
    """Heads' outputs (what the output projections read) and logits; `put`: {layer: tensor}."""
    seen, handles = {}, []
    for layer, module in enumerate(attention):

        def before(_, inputs, layer=layer):
            value = inputs[0] if put is None or layer not in put else put[layer]
            if grad:
                value = value.detach().requires_grad_() if layer == grad - 1 else value
            seen[layer] = value
            return (value, *inputs[1:])

        handles.append(module.register_forward_pre_hook(before))
    last = plain(tokens).logits[:, -1]
    for handle in handles:
        handle.remove()
    return seen, last


def test_atp_equals_autograd_through_the_plain_model(family):
    """The gradient at each layer's heads taken in the Hugging Face model itself."""
    _, model, batch = family
    found = attribution.score(model, batch, "atp", "logit_difference")
    plain, attention = bare(model)
    with torch.no_grad():
        corrupt, _ = z_of(plain, attention, batch.corrupt)
    for layer in range(model.space.layers):
        clean, last = z_of(plain, attention, batch.clean, grad=layer + 1)
        metric = models.metric_values(last, batch.answer, batch.distractor, "logit_difference")
        (gradient,) = torch.autograd.grad(metric.sum(), clean[layer])
        product = ((corrupt[layer] - clean[layer]) * gradient).unflatten(2, (model.space.heads, -1))
        column = model.space.names.index(f"a{layer}.h0")
        mine = found[:, column : column + model.space.heads]
        torch.testing.assert_close(mine, product.sum((1, 3)).detach(), rtol=1e-3, atol=1e-4 * found.abs().max().item())  # fmt: skip


@torch.no_grad()
def test_patching_equals_a_patch_by_hand_in_the_plain_model(family):
    _, model, batch = family
    found = attribution.score(model, batch, "patching", "logit_difference")
    plain, attention = bare(model)
    corrupt, _ = z_of(plain, attention, batch.corrupt)
    clean, before = z_of(plain, attention, batch.clean)
    base = models.metric_values(before, batch.answer, batch.distractor, "logit_difference")
    for layer, head in ((0, 1), (1, 3)):
        mixed = clean[layer].clone()
        part = slice(head * model.space.d_head, (head + 1) * model.space.d_head)
        mixed[:, :, part] = corrupt[layer][:, :, part]
        _, last = z_of(plain, attention, batch.clean, put={layer: mixed})
        moved = models.metric_values(last, batch.answer, batch.distractor, "logit_difference")
        column = found[:, model.space.names.index(f"a{layer}.h{head}")]
        torch.testing.assert_close(column, moved - base, rtol=1e-3, atol=1e-4 * found.abs().max().item())  # fmt: skip


def test_the_shortcuts_work_on_every_family(family):
    name, model, batch = family
    assert (shortcuts.able(model, "prefix") or name in WINDOWS) and shortcuts.able(model, "skip")
    # OPT flattens examples and positions before its MLP.
    assert shortcuts.able(model, "end") or name == "opt"
    assert (batch.shortened(model).prefix is not None) or name in WINDOWS


def test_parts_of_heads_make_up_their_output(family):
    """Pattern and values give z; with grouped queries a value is that of the head's group."""
    _, model, batch = family
    base, _ = parts.capture(model, batch.corrupt, parts.PLACES)
    _, clean = parts.capture(model, batch.clean, parts.PLACES)
    sets = [[parts.Patch("z", 0, h) for h in range(4)],
            [parts.Patch(part, 0, h) for part in ("pattern", "v") for h in range(4)],
            [parts.Patch("stream", 1)], [parts.Patch("v", 0, 0)], [parts.Patch("v", 0, 1)]]  # fmt: skip
    z, both, everything, first, second = (parts.replace(model, base, [s], clean) for s in sets)
    spread = z.std().item()
    torch.testing.assert_close(both, z, rtol=1e-3, atol=1e-3 * spread)
    expected = models.logits(model, batch.clean)
    torch.testing.assert_close(everything, expected, rtol=1e-3, atol=1e-3 * spread)
    grouped = model.space.shared_by > 1
    same = torch.allclose(first, second, rtol=0, atol=1e-4 * spread)
    assert same == grouped


def test_edge_circuits_reach_both_ends(family):
    """All edges give the clean run and none the corrupt one."""
    _, model, batch = family
    _, corrupt = interventions.run(model, batch.corrupt)
    there = edge_circuits.exist(model)
    kept = np.stack([there, np.zeros_like(there)])
    clean, other = edge_circuits.keep(model, batch.clean, None, corrupt, kept).chunk(2)
    for found, tokens in ((clean, batch.clean), (other, batch.corrupt)):
        expected = models.logits(model, tokens)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * expected.std().item())


@torch.no_grad()
def edge_by_hand(model, batch, head, reader):
    """Logits of the plain Hugging Face model when one reader of the last layer sees one head corrupt.

    head:   (layer, number);  reader: (q_proj, k_proj or v_proj, number of the query, key or value)
    The reader's projection is computed again from a stream in which the head's output is exchanged,
    after the norm that follows the attention if there is one; all else runs freely.
    """
    plain, _ = bare(model)
    layers = plain.model.layers
    first, last = layers[head[0]], layers[-1]
    width = slice(head[1] * model.space.d_head, (head[1] + 1) * model.space.d_head)

    def seen(tokens, module, hook):
        kept = []
        handle = module.register_forward_pre_hook(lambda _, inputs, kwargs: kept.append(hook(inputs, kwargs)), with_kwargs=True)  # fmt: skip
        plain(tokens)
        handle.remove()
        return kept[0]

    z = lambda inputs, kwargs: inputs[0]  # noqa: E731
    project = first.self_attn.o_proj
    clean, corrupt = (seen(tokens, project, z) for tokens in (batch.clean, batch.corrupt))
    mixed = clean.clone()
    mixed[..., width] = corrupt[..., width]
    post = first.post_attention_layernorm if hasattr(first, "pre_feedforward_layernorm") or not hasattr(first, "input_layernorm") else lambda x: x  # fmt: skip
    change = post(project(mixed)) - post(project(clean))
    stream = seen(batch.clean, last, lambda inputs, kwargs: inputs[0] if inputs else kwargs["hidden_states"])  # fmt: skip
    norm = getattr(last, "input_layernorm", lambda x: x)
    module = getattr(last.self_attn, reader[0])
    part = slice(reader[1] * model.space.d_head, (reader[1] + 1) * model.space.d_head)
    wanted = module(norm(stream + change))

    def exchange(_, inputs, output):
        output = output.clone()
        output[..., part] = wanted[..., part]
        return output

    handle = module.register_forward_hook(exchange)
    found = plain(batch.clean).logits[:, -1]
    handle.remove()
    return found


@pytest.mark.parametrize("reader", [("q_proj", 3), ("k_proj", 1), ("v_proj", 0)])
def test_an_edge_into_a_shared_key_is_that_of_the_plain_model(family, reader):
    """One edge cut, by an edge circuit and by path patching, against hooks on the Hugging Face model."""
    name, model, batch = family
    if name not in GROUPED:
        pytest.skip("its projections are tested against the embedded models' own")
    expected = edge_by_hand(model, batch, (0, 2), reader)
    scale = expected.std().item()
    label = components.reader_name(1, reader[0][0], reader[1], model.space.shared_by)
    kept = edge_circuits.exist(model)
    kept[model.space.names.index("a0.h2"), edges.reader_names(model.space).index(label)] = False
    _, corrupt = interventions.run(model, batch.corrupt)
    found = edge_circuits.keep(model, batch.clean, None, corrupt, kept[None])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * scale)
    circuit = model.space.of_kinds()
    base, _ = interventions.base(model, batch.clean)
    own = paths.own_run(model, base, corrupt, [], circuit)
    reads = next(each for each in paths.readers(model, set(circuit)) if each.name == label)
    patched = paths.patched(model, base, corrupt, [], own, reads, ["a0.h2"])
    torch.testing.assert_close(patched, expected, rtol=1e-3, atol=1e-4 * scale)
    # To first order the edge is what the metric changes by when the change is small.
    assert not torch.allclose(expected, models.logits(model, batch.clean), atol=1e-3 * scale)


OTHERWISE = {
    "scales what is written": lambda: GraniteForCausalLM(GraniteConfig(**GATED_ONLY, residual_multiplier=0.22)),
    "norms the embedding": lambda: BloomForCausalLM(BloomConfig(vocab_size=1600, hidden_size=32, n_layer=2, n_head=4)),
    "norms without weights": lambda: OlmoForCausalLM(OlmoConfig(**SIZE, intermediate_size=64)),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERWISE)
def test_edges_of_a_model_built_otherwise_are_refused_and_not_wrong(what, tmp_path):
    """The other methods still run; in each of these edges would not sum to nodes."""
    torch.manual_seed(0)
    OTHERWISE[what]().save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODELS / "tiny-gpt2-medium" / name, tmp_path / name)
    model = models.load(tmp_path, "cpu", threads=1)
    batch = batching.batch_of(examples_for("digits", 2), range(2), "cpu")
    with pytest.raises(ValueError, match="use atp, ig or patching"):
        attribution.score(model, batch, "eap", "logit_difference")
    assert attribution.score(model, batch, "atp", "logit_difference").isfinite().all()
