"""GGUF files that tests write themselves: a tiny random Llama with a tokenizer, and what may be wrong with it."""

import json

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, KEYS, WIDTH = 4, 2, 64
# Files, by Hugging Face names: those of a layer have its number in front.
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tiny_llama(vocabulary, seed=0):
    """A random Llama of two layers with grouped queries and tied embeddings."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEYS,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
    )
    return LlamaForCausalLM(config).eval()


def permuted(weight, heads):
    """Rows of queries and keys in the order of llama.cpp's rotary positions: pairs side by side."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def tensors(model):
    """{name in a GGUF file: array} of a Llama."""
    found = {}
    for name, value in model.state_dict().items():
        array = value.numpy()
        if name == "lm_head.weight":
            continue
        if name == "model.embed_tokens.weight":
            found["token_embd.weight"] = array
        elif name == "model.norm.weight":
            found["output_norm.weight"] = array
        else:
            _, _, layer, rest = name.split(".", 3)
            part = rest.removesuffix(".weight")
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KEYS}.get(part)
            found[f"blk.{layer}.{NAMES[part]}.weight"] = permuted(array, heads) if heads else array
    return found


def byte_alphabet():
    """The 256 characters that stand for bytes in a byte-level vocabulary, in the order of GPT-2's."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in plain] + [chr(256 + n) for n in range(256 - len(plain))]


def byte_level(merges=("Ġ Ġ", "ĠĠ ĠĠ", "a b", "Ġ 1", "1 2"), special=("<|start|>", "<|end|>")):
    """(tokens, types, merges) of a small byte-level vocabulary, special tokens first."""
    tokens = [*special, *byte_alphabet()]
    tokens += [token for pair in merges if (token := pair.replace(" ", "")) not in tokens]
    return tokens, [3] * len(special) + [1] * (len(tokens) - len(special)), list(merges)


def write(path, model=None, quantised=None, tokenizer=None, without=(), **keys):
    """Write a tiny Llama as a GGUF file; returns the model.

    quantised: type of the matrices, such as gguf.GGMLQuantizationType.Q8_0; None for float32
    tokenizer: (tokens, types, merges);  without: keys and tensors to leave out
    keys:      keys to set, with two underscores for a point
    """
    tokens, types, merges = tokenizer or byte_level()
    model = model or tiny_llama(len(tokens))
    config = model.config
    given = {key.replace("__", "."): value for key, value in keys.items()}
    architecture = given.pop("general.architecture", "llama")
    writer = gguf.GGUFWriter(str(path), architecture)
    values = {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KEYS,
        "llama.vocab_size": len(tokens),
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "general.file_type": 7 if quantised else 0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": False,
    } | given
    for key, value in values.items():
        if key not in without:
            add(writer, key, value)
    for name, array in tensors(model).items():
        if name in without:
            continue
        if quantised and array.ndim == 2:
            packed = gguf.quants.quantize(array, quantised)
            writer.add_tensor(name, packed, raw_dtype=quantised)
        else:
            writer.add_tensor(name, np.ascontiguousarray(array, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def add(writer, key, value):
    """One key by the type of its value."""
    kinds = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    kinds[type(value)](key, value)


def of_file(path):
    """(tokens, types, merges) of a tokenizer.json, so that its conversion can be compared with it."""
    found = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = dict(found["model"]["vocab"])
    added = {each["content"]: each for each in found["added_tokens"]}
    vocabulary |= {name: each["id"] for name, each in added.items()}
    tokens = sorted(vocabulary, key=vocabulary.get)
    types = [3 if name in added and added[name]["special"] else 4 if name in added else 1 for name in tokens]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in found["model"]["merges"]]
    return tokens, types, merges
