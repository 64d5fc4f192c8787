"""Single weights and channels of every family, against the plain model with these at zero."""

from contextlib import contextmanager

import numpy as np
import pytest
import tiny_families
import torch
from circuit_reuse.data.fingerprint import ModelError
from circuit_reuse.engine import architectures, batching, models
from circuit_reuse.studies.weights import matrices, nodes, weight_sets
from plain import Plain
from support import examples_for
from tiny_families import HEADS, LAYERS, TINY
from transformers import AutoModelForCausalLM

LAYER = 1
WITH = [name for name, family in architectures.FAMILIES.items() if not family.weights]


def loaded(name, folder):
    """A tiny model, the same as a plain one, and a batch."""
    tiny = tiny_families.build(name, folder)
    model = models.load(folder, "cpu", threads=1)
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    batch = batching.batch_of(examples_for("digits", 2), range(2), "cpu")
    return model, Plain(plain, tiny.anatomy, HEADS, tiny.kv_heads, model.space.d_head), batch


@pytest.fixture(scope="module", params=WITH)
def family(request, tmp_path_factory):
    """A family with weights to study."""
    return loaded(request.param, tmp_path_factory.mktemp("family"))


def close(found, expected):
    """Agreement as a share of the spread of the logits."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


@contextmanager
def at_zero(places):
    """Entries of parameters, [(parameter, index)], are 0 inside."""
    before = [(parameter, index, parameter.data[index].clone()) for parameter, index in places]
    for parameter, index, _ in before:
        parameter.data[index] = 0
    try:
        yield
    finally:
        for parameter, index, value in before:
            parameter.data[index] = value


def entry(plain, weights, row, column):
    """Where the plain model holds a weight: the parameter with this row, or this column, of numbers."""
    wanted = weights[row]
    for parameter in plain.model.parameters():
        for turned, matrix in ((False, parameter.data), (True, parameter.data.T if parameter.ndim == 2 else None)):
            if parameter.ndim != 2 or matrix.shape[1] != len(wanted):
                continue
            found = (matrix == wanted).all(1).nonzero()
            if len(found):
                place = (int(found[0, 0]), column)
                return parameter, place[::-1] if turned else place
    raise AssertionError("no parameter holds this row")


@torch.no_grad()
def test_weights_that_are_taken_out_are_those_at_zero_in_the_plain_model(family):
    """One of each matrix of each layer alone, and five together."""
    model, plain, batch = family
    listed = matrices.matrices(model)
    for layer in range(LAYERS):
        names = {matrix.name for matrix in listed if matrix.layer == layer}
        assert {"q", "k", "v", "o", "in", "out"} <= names
    rng, chosen, expected = np.random.default_rng(0), [], []
    for matrix in listed:
        for count in (1, 5):
            places = rng.choice(matrix.size, count, replace=False)
            chosen.append(matrix.start + places)
            ends = zip(*np.divmod(places, matrix.shape[1]), strict=True)
            with at_zero([entry(plain, matrix.weight(), int(row), int(column)) for row, column in ends]):
                expected.append(plain.run(batch.clean)[0])
    found = matrices.run(model, batch.clean, chosen)
    values = matrices.flat(model)
    for numbers, one, other in zip(chosen, found, expected, strict=True):
        close(one, other)
        with matrices.cut(model, weight_sets.mask_of(numbers, len(values)), values):
            close(matrices.run_now(model, batch.clean), other)
    whole, _ = plain.run(batch.clean)
    close(matrices.run_now(model, batch.clean), whole)
    # Five weights of any matrix can be seen in the logits, so that none is compared with nothing done.
    assert all((other - whole).abs().max() > 1e-4 for other in expected[1::2])


@torch.no_grad()
def test_a_channel_of_a_query_key_or_value_at_zero_is_its_row_at_zero_in_the_plain_model(family):
    model, plain, batch = family
    sites = {(site.layer, site.location): site for site in nodes.sites(model)}
    states, expected = [], []
    for name, part in zip(plain.anatomy.qkv, "qkv", strict=True):
        number, channel = plain.numbers[part] - 1, 2
        site = sites[LAYER, part]
        assert site.width == plain.numbers[part] * plain.width
        state = torch.zeros(nodes.total(model), dtype=torch.uint8)
        state[site.start + number * plain.width + channel] = nodes.REPLACED
        states.append(state)
        module = plain.layers[LAYER].get_submodule(name)
        row = plain.rows(part, number).start + channel
        turned = type(module).__name__ == "Conv1D"
        places = [(module.weight, (slice(None), row) if turned else (row,))]
        places += [] if module.bias is None else [(module.bias, (row,))]
        with at_zero(places):
            expected.append(plain.run(batch.clean)[0])
    zeros = torch.zeros(nodes.total(model))
    for one, other in zip(nodes.run(model, batch.clean, torch.stack(states), zeros), expected, strict=True):
        close(one, other)


@torch.no_grad()
def test_a_shared_value_is_read_by_the_output_weights_of_every_head_of_its_group(family):
    """Without all weights that read a value's channel the channel might as well be 0."""
    model, plain, batch = family
    sites = {(site.layer, site.location): site for site in nodes.sites(model)}
    node = sites[LAYER, "v"].start + (plain.numbers["v"] - 1) * plain.width + 1
    output = next(m for m in matrices.matrices(model) if (m.layer, m.name) == (LAYER, "o"))
    columns = np.flatnonzero(output.inputs == node)
    assert len(columns) == HEADS // plain.numbers["v"]
    numbers = (output.start + np.arange(output.shape[0])[:, None] * output.shape[1] + columns).ravel()
    state = torch.zeros(1, nodes.total(model), dtype=torch.uint8)
    state[0, node] = nodes.REPLACED
    zeros = torch.zeros(nodes.total(model))
    close(matrices.run(model, batch.clean, [numbers])[0], nodes.run(model, batch.clean, state, zeros)[0])


def test_nodes_and_weights_are_those_of_the_shape(family):
    model, plain, _ = family
    space = model.space
    found = [matrix for matrix in matrices.matrices(model) if matrix.layer == 0]
    size = {matrix.name: matrix.shape for matrix in found}
    wide = {part: plain.numbers[part] * space.d_head for part in "qkv"}
    assert {part: size[part] for part in "qkv"} == {part: (wide[part], space.d_model) for part in "qkv"}
    assert size["o"] == (space.d_model, wide["q"])
    assert len(nodes.sites(model)) == 8 * LAYERS
    # Each parameter of the layers but norms and biases is in one matrix, once.
    stored = [p for layer in plain.layers for p in layer.parameters() if p.ndim == 2]
    assert matrices.matrices(model)[-1].part.stop == sum(p.numel() for p in stored)


@pytest.mark.parametrize("name", [name for name in TINY if name not in WITH])
def test_a_family_without_is_refused_by_its_config_and_by_itself(name, tmp_path):
    tiny_families.build(name, tmp_path)
    assert architectures.FAMILIES[name].weights in architectures.unsupported(tmp_path, ("weights",))
    with pytest.raises(ModelError, match="its nodes are not known"):
        matrices.matrices(models.load(tmp_path, "cpu", threads=1))
