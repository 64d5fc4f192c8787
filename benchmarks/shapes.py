"""Models for benchmarks: the shape is real, the weights are random, made on the spot."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig

PROJECT = Path(__file__).resolve().parent.parent
EMBEDDED = PROJECT / "resources" / "models"
SHAPES = {
    # n_ctx as in the published config.json, which TransformerLens 2 reads.
    "gpt2-small": lambda: GPT2Config(n_ctx=1024),
    "pythia-1.4b": lambda: GPTNeoXConfig(
        vocab_size=50304,
        hidden_size=2048,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=8192,
        max_position_embeddings=2048,
    ),
}


@contextmanager
def random_model(name, device="cpu", dtype="float32", **changes):
    """(the workflow's model, the bare Hugging Face model with sdpa) of a shape.

    changes: other values of its config
    """
    from circuit_reuse.engine import models

    torch.manual_seed(0)
    config = SHAPES[name]()
    for key, value in changes.items():
        setattr(config, key, value)
    with tempfile.TemporaryDirectory() as folder:
        model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
        model.save_pretrained(folder)
        del model
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(EMBEDDED / "tiny-gpt2-medium" / file, folder)
        yield models.load(folder, device, dtype), bare_model(folder, device, dtype)


def bare_model(folder, device="cpu", dtype="float32"):
    """A Hugging Face model as its library gives it: sdpa, frozen."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=getattr(torch, dtype))
    return model.to(device).eval().requires_grad_(False)


def random_batch(examples, positions, vocabulary, differ_at=0, device="cpu"):
    """Random prompts that differ from `differ_at` on."""
    from circuit_reuse.engine import batching

    generator = torch.Generator().manual_seed(1)

    def tokens(columns):
        return torch.randint(vocabulary, (examples, columns), generator=generator)

    clean = tokens(positions)
    corrupt = torch.cat([clean[:, :differ_at], tokens(positions - differ_at)], dim=1)
    # Never the same token by chance where they should differ.
    corrupt[:, differ_at] = (clean[:, differ_at] + 1) % vocabulary
    return batching.Batch(
        list(range(examples)), clean.to(device), corrupt.to(device), clean[:, 0].to(device), clean[:, 1:2].to(device)
    )
