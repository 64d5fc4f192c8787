"""A model whose task hangs on known nodes and weights, all others of equal size and read by nothing."""

import shutil

import numpy as np
import torch
from circuit_reuse.engine import batching, models
from circuit_reuse.studies.weights import matrices, nodes, sweep
from support import MODELS
from transformers import GPT2Config, GPT2LMHeadModel

INPUTS, NEURONS, OUTPUTS = range(8), range(32), range(8, 16)


def build(folder):
    """One layer: tokens are coded in channels 0 to 7, neurons 0 to 31 map them to channels 8 to 15.

    Only these are read by the unembedding, and what the model answers is the task, so the circuit is
    all that matters.
    """
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=64,
        n_embd=32,
        n_layer=1,
        n_head=4,
        n_positions=8,
        tie_word_embeddings=False,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    block = model.transformer.h[0]
    with torch.no_grad():
        for weight in (
            block.mlp.c_fc.weight,
            block.mlp.c_proj.weight,
            block.attn.c_attn.weight,
            block.attn.c_proj.weight,
        ):
            weight.normal_(std=0.3)
        model.transformer.wte.weight.normal_()
        # One large constant channel holds the scale of the norms, through which all nodes would act.
        model.transformer.wpe.weight.zero_()
        model.transformer.wpe.weight[:, 31] = 60
        block.ln_2.weight.fill_(10)
        model.transformer.ln_f.weight.fill_(10)
        model.transformer.wte.weight[:, 8:16] = 0
        model.lm_head.weight.normal_(std=6)
        model.lm_head.weight[:, :8] = 0
        model.lm_head.weight[:, 16:] = 0
        # [input, output]: next to nothing else reaches the circuit's neurons and outputs.  Not zero, or
        # its nodes would be known by their number of weights.
        for part in (
            block.mlp.c_fc.weight[8:, :32],
            block.mlp.c_proj.weight[32:, 8:16],
            block.attn.c_proj.weight[:, :16],
        ):
            part.normal_(std=1e-4)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODELS / "tiny-gpt2-small" / name, folder / name)
    return models.load(folder, "cpu", threads=1)


def batch(model, count=24):
    """Prompts of two tokens with the model's own answer."""
    clean = torch.randint(64, (count, 2), generator=torch.Generator().manual_seed(1))
    order = models.logits(model, clean).argsort(-1, descending=True)
    return batching.Batch(list(range(count)), clean, clean.flip(0), order[:, 0], order[:, 1])


def truth(model):
    """The planted mask, bool [node]."""
    active = np.zeros(nodes.total(model), dtype=bool)
    for site in nodes.sites(model):
        channels = {"mlp_in": INPUTS, "mlp_neuron": NEURONS, "mlp_out": OUTPUTS}.get(site.location, [])
        active[[site.start + channel for channel in channels]] = True
    return active


def weights_of(model, active):
    """pools.Weights of a mask."""
    return sweep.circuit(matrices.flat(model), matrices.matrices(model), active)
