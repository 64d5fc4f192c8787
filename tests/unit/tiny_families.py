"""A tiny model with random weights of each family, and where its parts lie in the plain Hugging Face model."""

import shutil
from dataclasses import dataclass, field

import torch
from support import MODELS
from transformers import AutoConfig, AutoModelForCausalLM

LAYERS, HEADS, WIDTH, WINDOW = 2, 4, 32, 9
SIZE = {
    "vocab_size": 1600,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "pad_token_id": 0,
}
MLP = SIZE | {"intermediate_size": 64}
GROUPED = MLP | {"num_key_value_heads": 2}
# Heads that are wider together than the stream, as in Gemma and Qwen3.
WIDE = GROUPED | {"head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
OLD = {"vocab_size": 1600, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 64}


def apart(_part, number):
    """Place of a query, key or value, in units of a head's width, in a projection of its own."""
    return number


def joined(heads, kv_heads):
    """The same in a projection of all queries, then all keys, then all values."""
    starts = {"q": 0, "k": heads, "v": heads + kv_heads}
    return lambda part, number: starts[part] + number


def by_head(part, number):
    """The same in a projection of query, key and value of each head in turn."""
    return 3 * number + "qkv".index(part)


def codegen(part, number):
    """The same in CodeGen's: for each of four groups of heads queries, values, keys."""
    return 3 * number + "qvk".index(part)


@dataclass(frozen=True)
class Anatomy:
    """Names of modules, those of a layer below it.

    norms:  before the attention and before the MLP; the same twice where they share one, None for none
    after:  norms of what attention and MLP write, or None
    qkv:    names of the projections of queries, keys and values;  rows: see `apart`
    mlp:    what reads and what writes
    parallel: whether the MLP reads the stream before the attention of its layer
    """

    layers: str = "model.layers"
    embed: str = "model.embed_tokens"
    final: str = "model.norm"
    norms: tuple = ("input_layernorm", "post_attention_layernorm")
    after: tuple = (None, None)
    qkv: tuple = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    rows: object = apart
    out: str = "self_attn.o_proj"
    mlp: tuple = ("mlp", "mlp")
    parallel: bool = False


@dataclass(frozen=True)
class Tiny:
    """A tiny model: arguments of its config, its anatomy, its key and value heads, its model_type if not its name."""

    config: dict
    anatomy: Anatomy = field(default_factory=Anatomy)
    kv_heads: int = 2
    kind: str | None = None

    @property
    def experts(self):
        """Whether its MLPs are mixtures of experts."""
        return bool({"num_experts", "num_local_experts"} & set(self.config))


LLAMA = Anatomy()
ONE_NORM = Anatomy(norms=("input_layernorm", "input_layernorm"), parallel=True)
OLMO2 = Anatomy(norms=(None, None), after=("post_attention_layernorm", "post_feedforward_layernorm"))
GEMMA2 = Anatomy(
    norms=("input_layernorm", "pre_feedforward_layernorm"),
    after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
GEMMA3 = Anatomy(
    **vars(GEMMA2)
    | {
        name: f"model.language_model.{part}"
        for name, part in (("layers", "layers"), ("embed", "embed_tokens"), ("final", "norm"))
    }
)
IMAGES = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
GPT2 = Anatomy(
    layers="transformer.h",
    embed="transformer.wte",
    final="transformer.ln_f",
    norms=("ln_1", "ln_2"),
    qkv=("attn.c_attn",) * 3,
    rows=joined(HEADS, HEADS),
    out="attn.c_proj",
)
BIGCODE = Anatomy(**vars(GPT2) | {"rows": joined(HEADS, 1)})
GPTJ = Anatomy(
    layers="transformer.h",
    embed="transformer.wte",
    final="transformer.ln_f",
    norms=("ln_1", "ln_1"),
    qkv=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    out="attn.out_proj",
    parallel=True,
)
CODEGEN = Anatomy(**vars(GPTJ) | {"qkv": ("attn.qkv_proj",) * 3, "rows": codegen})
NEO = Anatomy(
    layers="transformer.h",
    embed="transformer.wte",
    final="transformer.ln_f",
    norms=("ln_1", "ln_2"),
    qkv=tuple(f"attn.attention.{part}_proj" for part in "qkv"),
    out="attn.attention.out_proj",
)
NEOX = Anatomy(
    layers="gpt_neox.layers",
    embed="gpt_neox.embed_in",
    final="gpt_neox.final_layer_norm",
    qkv=("attention.query_key_value",) * 3,
    rows=by_head,
    out="attention.dense",
    parallel=True,
)
OPT = Anatomy(
    layers="model.decoder.layers",
    embed="model.decoder.embed_tokens",
    final="model.decoder.final_layer_norm",
    norms=("self_attn_layer_norm", "final_layer_norm"),
    out="self_attn.out_proj",
    mlp=("fc1", "fc2"),
)
PHI = Anatomy(**vars(ONE_NORM) | {"out": "self_attn.dense", "final": "model.final_layernorm"})
PHI3 = Anatomy(qkv=("self_attn.qkv_proj",) * 3, rows=joined(HEADS, 2))
FALCON = Anatomy(
    layers="transformer.h",
    embed="transformer.word_embeddings",
    final="transformer.ln_f",
    norms=("input_layernorm",) * 2,
    qkv=("self_attention.query_key_value",) * 3,
    rows=joined(HEADS, 1),
    out="self_attention.dense",
    parallel=True,
)
BLOOM = Anatomy(
    layers="transformer.h",
    embed="transformer.word_embeddings",
    final="transformer.ln_f",
    qkv=("self_attention.query_key_value",) * 3,
    rows=by_head,
    out="self_attention.dense",
    mlp=("mlp", "mlp.dense_4h_to_h"),
)
GLM4 = Anatomy(
    norms=("input_layernorm", "post_attention_layernorm"), after=("post_self_attn_layernorm", "post_mlp_layernorm")
)
MPT = Anatomy(
    layers="transformer.blocks",
    embed="transformer.wte",
    final="transformer.norm_f",
    norms=("norm_1", "norm_2"),
    qkv=("attn.Wqkv",) * 3,
    rows=joined(HEADS, HEADS),
    out="attn.out_proj",
    mlp=("ffn", "ffn.down_proj"),
)
XGLM = Anatomy(
    layers="model.layers",
    final="model.layer_norm",
    norms=("self_attn_layer_norm", "final_layer_norm"),
    out="self_attn.out_proj",
    mlp=("fc1", "fc2"),
)

# By model_type, as in circuit_reuse.engine.architectures.FAMILIES. Windows are shorter than the prompts.
TINY = {
    "gpt2": Tiny(OLD, GPT2, HEADS),
    "gpt_neo": Tiny(
        {
            "vocab_size": 1600,
            "hidden_size": WIDTH,
            "num_layers": LAYERS,
            "num_heads": HEADS,
            "window_size": WINDOW,
            "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 1]],
        },
        NEO,
        HEADS,
    ),
    "gptj": Tiny(OLD | {"rotary_dim": 4}, GPTJ, HEADS),
    "gpt_neox": Tiny(MLP | {"max_position_embeddings": 64}, NEOX, HEADS),
    "codegen": Tiny(OLD | {"rotary_dim": 4}, CODEGEN, HEADS),
    "gpt_bigcode": Tiny(OLD, BIGCODE, 1),
    "opt": Tiny(SIZE | {"ffn_dim": 64, "word_embed_proj_dim": WIDTH, "max_position_embeddings": 64}, OPT, HEADS),
    "xglm": Tiny(
        {"vocab_size": 1600, "d_model": WIDTH, "num_layers": LAYERS, "attention_heads": HEADS, "ffn_dim": 64},
        XGLM,
        HEADS,
    ),
    "bloom": Tiny({"vocab_size": 1600, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS}, BLOOM, HEADS),
    "mpt": Tiny(
        {"vocab_size": 1600, "d_model": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "max_seq_len": 64}, MPT, HEADS
    ),
    "falcon": Tiny(SIZE, FALCON, 1),
    "llama": Tiny(WIDE),
    "smollm3": Tiny(GROUPED),
    "mistral": Tiny(GROUPED | {"sliding_window": WINDOW}),
    "ministral3": Tiny(WIDE),
    "qwen2": Tiny(GROUPED),
    "qwen3": Tiny(WIDE),
    "gemma": Tiny(WIDE),
    "gemma2": Tiny(
        WIDE | {"sliding_window": WINDOW, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 10.0}, GEMMA2
    ),
    "gemma3_text": Tiny(
        WIDE | {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}, GEMMA2
    ),
    "gemma3": Tiny(
        {
            "text_config": WIDE | {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
            "vision_config": IMAGES,
            "mm_tokens_per_image": 1,
            "image_token_index": 1500,
        },
        GEMMA3,
    ),
    "olmo": Tiny(MLP | {"num_key_value_heads": HEADS}, LLAMA, HEADS),
    "olmo2": Tiny(GROUPED, OLMO2),
    "olmo3": Tiny(GROUPED | {"sliding_window": WINDOW}, OLMO2),
    "phi": Tiny(MLP, PHI, HEADS),
    "phi3": Tiny(GROUPED, PHI3),
    "stablelm": Tiny(GROUPED),
    "cohere": Tiny(GROUPED, ONE_NORM),
    "cohere2": Tiny(GROUPED | {"sliding_window": WINDOW}, ONE_NORM),
    "glm": Tiny(WIDE),
    "glm4": Tiny(WIDE, GLM4),
    "exaone4": Tiny(GROUPED | {"sliding_window": WINDOW}, OLMO2),
    "granite": Tiny(GROUPED | {"residual_multiplier": 0.22, "embedding_multiplier": 12.0}),
    "starcoder2": Tiny(GROUPED),
    "nemotron": Tiny(GROUPED),
    "arcee": Tiny(GROUPED),
    "apertus": Tiny(GROUPED, Anatomy(norms=("attention_layernorm", "feedforward_layernorm"))),
    "seed_oss": Tiny(WIDE),
    "ernie4_5": Tiny(WIDE),
    "mixtral": Tiny(GROUPED | {"num_local_experts": 4}),
    "qwen2_moe": Tiny(GROUPED | {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 4}),
    "qwen3_moe": Tiny(WIDE | EXPERTS | {"moe_intermediate_size": 32}),
    "olmoe": Tiny(GROUPED | EXPERTS),
    "gpt_oss": Tiny(WIDE | {"num_local_experts": 4, "sliding_window": WINDOW}),
}

# What a config of a family may turn on or off.
VARIANTS = {
    "falcon, sequential": Tiny(
        SIZE | {"parallel_attn": False, "multi_query": False, "alibi": True, "bias": True},
        Anatomy(**vars(FALCON) | {"norms": LLAMA.norms, "parallel": False, "rows": by_head}),
        HEADS,
        "falcon",
    ),
    "stablelm, parallel": Tiny(GROUPED | {"use_parallel_residual": True}, ONE_NORM, 2, "stablelm"),
    "stablelm, norms of queries": Tiny(GROUPED | {"qk_layernorm": True, "use_qkv_bias": True}, LLAMA, 2, "stablelm"),
    "gpt_neox, sequential": Tiny(
        MLP | {"use_parallel_residual": False}, Anatomy(**vars(NEOX) | {"parallel": False}), HEADS, "gpt_neox"
    ),
    "cohere, norms of queries": Tiny(GROUPED | {"use_qk_norm": True}, ONE_NORM, 2, "cohere"),
    "olmo, clipped": Tiny(GROUPED | {"clip_qkv": 1.0}, LLAMA, 2, "olmo"),
    "llama, biases": Tiny(WIDE | {"attention_bias": True, "mlp_bias": True}, LLAMA, 2, "llama"),
    "gemma3, biases": Tiny(
        WIDE | {"attention_bias": True, "layer_types": ["full_attention"] * 2}, GEMMA2, 2, "gemma3_text"
    ),
    "granite, not scaled": Tiny(GROUPED, LLAMA, 2, "granite"),
}


def build(name, folder):
    """Write a tiny model of TINY or VARIANTS into a folder; returns its Tiny."""
    torch.manual_seed(0)
    tiny = (TINY | VARIANTS)[name]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(tiny.kind or name, **tiny.config))
    for parameter in model.parameters():
        # Norms too, so that a weight that is left out is seen.
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
        else:
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODELS / "tiny-gpt2-medium" / file, folder / file)
    return tiny
