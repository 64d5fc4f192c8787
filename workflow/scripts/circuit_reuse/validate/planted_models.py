"""Models written by hand: weights from a plan of heads and MLPs on named coordinates.

The residual stream is a set of named coordinates, turned by a random rotation, so that nothing is
aligned with a basis.  One coordinate holds a large constant: it makes the layer norm almost a
division by a known number, so that heads and MLPs do what the plan says.
"""

import math
from dataclasses import dataclass

import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from circuit_reuse.validate.planted_plan import D_HEAD, HEADS, POSITIONS

D_MODEL, NEURONS = 128, 512
CONSTANT = 100.0
# GPT-NeoX turns the first dimensions of queries and keys with the position: two frequencies.
ROTARY, FREQUENCIES = 8, (1.0, 0.1)
ARCHITECTURES = ("gpt2", "neox")


class Frame:
    """Turns coordinates into weights: a rotation in which every vector has mean 0."""

    def __init__(self, plan, generator):
        self.names = {name: n for n, name in enumerate([*plan.coordinates, *map(position, range(POSITIONS))])}
        if len(self.names) + 2 > D_MODEL:
            raise ValueError(f"{len(self.names)} coordinates do not fit into {D_MODEL} dimensions")
        columns = torch.randn(D_MODEL, len(self.names) + 1, generator=generator, dtype=torch.double)
        ones = torch.ones(D_MODEL, 1, dtype=torch.double)
        basis, _ = torch.linalg.qr(torch.cat([ones, columns], dim=1))
        self.basis, self.constant = basis[:, 1:-1], basis[:, -1]
        # After the layer norm a coordinate is divided by this.
        self.scale = CONSTANT / math.sqrt(D_MODEL)

    def vector(self, values):
        """A direction of the stream from {coordinate: value}."""
        result = torch.zeros(D_MODEL, dtype=torch.double)
        for name, value in values.items():
            result += value * self.basis[:, self.names[name]]
        return result

    def reader(self, values):
        """Weights and bias that read a sum of coordinates from the normed stream."""
        coordinates = {name: value for name, value in values.items() if name != "one"}
        return self.vector(coordinates) * self.scale, values.get("one", 0.0)


def position(place):
    """The coordinate of a position."""
    return f"position {place}"


def build(plan, architecture, generator):
    """A Hugging Face model that does what the plan says.

    architecture: gpt2 (learned positions) or neox (rotary, attention and MLP side by side)
    """
    frame = Frame(plan, generator)
    vocabulary = len(plan.embedding)
    make = gpt2 if architecture == "gpt2" else neox
    model, parts = make(plan.layers, vocabulary)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1)
        for token, values in enumerate(plan.embedding):
            parts.embedding[token] = frame.vector(values) + CONSTANT * frame.constant
        if parts.positions is not None:
            for place in range(POSITIONS):
                parts.positions[place] = frame.vector({position(place): 1.0})
        for token, values in plan.logits.items():
            weights, bias = frame.reader(values)
            # Heads have no bias at the logits: the constant coordinate gives it.
            parts.unembedding[token] = weights + bias * frame.constant / math.sqrt(D_MODEL)
        for (layer, head), spec in plan.heads.items():
            parts.set_head(layer, head, *head_weights(frame, spec, architecture))
        for layer, spec in plan.mlps.items():
            for n, (read, bias, written) in enumerate(spec.neurons):
                weights, more = frame.reader(read)
                parts.set_neuron(layer, n, weights, bias + more, frame.vector(written))
    return model.eval()


def head_weights(frame, spec, architecture):
    """(weights [3, d_head, d_model], biases [3, d_head], output [d_head, d_model]) of a head."""
    weights = torch.zeros(3, D_HEAD, D_MODEL, dtype=torch.double)
    biases = torch.zeros(3, D_HEAD, dtype=torch.double)
    output = torch.zeros(D_HEAD, D_MODEL, dtype=torch.double)
    for part, entries in enumerate((spec.query, spec.key)):
        for dimension, values in entries:
            weights[part, ROTARY + dimension], biases[part, ROTARY + dimension] = frame.reader(values)
    if spec.offset is not None:
        look_back(frame, spec.offset, architecture, weights, biases)
    for dimension, (read, written, weight) in enumerate(spec.value):
        weights[2, dimension], _ = frame.reader({read: 1.0})
        output[dimension] = frame.vector({written: weight})
    weights[0] *= math.sqrt(D_HEAD)
    biases[0] *= math.sqrt(D_HEAD)
    return weights, biases, output


def look_back(frame, offset, architecture, weights, biases):
    """Make a head attend `offset` positions back."""
    if architecture == "gpt2":
        for place in range(offset, POSITIONS):
            target = ROTARY + place - offset
            weights[0, target], _ = frame.reader({position(place): 12.0})
        for place in range(POSITIONS):
            weights[1, ROTARY + place], _ = frame.reader({position(place): 1.0})
        return
    for pair, frequency in enumerate(FREQUENCIES):
        angle = frequency * offset
        first, second = pair, pair + ROTARY // 2
        biases[0, first], biases[0, second] = 60 * math.cos(angle), -60 * math.sin(angle)
        biases[1, first] = 1.0


@dataclass
class Parts:
    """The weights of a model by role, and how a head and a neuron are written."""

    embedding: torch.Tensor
    positions: torch.Tensor | None
    unembedding: torch.Tensor
    set_head: object
    set_neuron: object


def gpt2(layers, vocabulary):
    """An empty GPT-2 and its parts."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=POSITIONS,
        n_embd=D_MODEL,
        n_layer=layers,
        n_head=HEADS,
        n_inner=NEURONS,
        tie_word_embeddings=False,
        attn_pdrop=0,
        embd_pdrop=0,
        resid_pdrop=0,
    )
    model = GPT2LMHeadModel(config)
    blocks = model.transformer.h

    def set_head(layer, head, weights, biases, output):
        attention = blocks[layer].attn
        rows = slice(head * D_HEAD, (head + 1) * D_HEAD)
        for part in range(3):
            columns = slice(part * D_MODEL + rows.start, part * D_MODEL + rows.stop)
            attention.c_attn.weight[:, columns] = weights[part].T.float()
            attention.c_attn.bias[columns] = biases[part].float()
        attention.c_proj.weight[rows] = output.float()

    def set_neuron(layer, n, weights, bias, written):
        mlp = blocks[layer].mlp
        mlp.c_fc.weight[:, n], mlp.c_fc.bias[n] = weights.float(), bias
        mlp.c_proj.weight[n] = written.float()

    embedding = model.transformer.wte.weight
    return model, Parts(embedding, model.transformer.wpe.weight, model.lm_head.weight, set_head, set_neuron)


def neox(layers, vocabulary):
    """An empty GPT-NeoX and its parts."""
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        max_position_embeddings=POSITIONS,
        hidden_size=D_MODEL,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": ROTARY / D_HEAD},
    )
    model = GPTNeoXForCausalLM(config)
    blocks = model.gpt_neox.layers

    def set_head(layer, head, weights, biases, output):
        attention, start = blocks[layer].attention, head * 3 * D_HEAD
        rows = slice(start, start + 3 * D_HEAD)
        attention.query_key_value.weight[rows] = weights.reshape(-1, D_MODEL).float()
        attention.query_key_value.bias[rows] = biases.reshape(-1).float()
        attention.dense.weight[:, head * D_HEAD : (head + 1) * D_HEAD] = output.T.float()

    def set_neuron(layer, n, weights, bias, written):
        mlp = blocks[layer].mlp
        mlp.dense_h_to_4h.weight[n], mlp.dense_h_to_4h.bias[n] = weights.float(), bias
        mlp.dense_4h_to_h.weight[:, n] = written.float()

    unembedding = model.get_output_embeddings().weight
    return model, Parts(model.gpt_neox.embed_in.weight, None, unembedding, set_head, set_neuron)
