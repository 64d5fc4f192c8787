"""What heads do: each reading against a slow, obvious twin."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from circuit_reuse.data.examples import load_tokenizer, reader
from circuit_reuse.engine import interventions, models, neurons
from circuit_reuse.studies.common import scoring
from circuit_reuse.studies.sequences import head_functions, schemas, stage_heads, stage_lengths
from circuit_reuse.validate import planted_models, planted_tasks
from circuit_reuse.validate.planted_plan import Head
from support import MODELS, examples_for

close = torch.testing.assert_close


def test_direct_attributions_and_the_rest_are_the_logit_difference(model, batch):
    found, rest = head_functions.direct(model, batch)
    last, acts = interventions.run(model, batch.clean)
    whole = models.metric_values(last, *batch.targets(), "logit_difference")
    close(found.sum(1) + rest, whole, rtol=1e-4, atol=1e-3)
    # One head by hand: what it wrote at the end, through the norm as it was scaled, to the logits.
    kept = {}
    with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, "ln_final.hook_in")):
        models.logits(model, batch.clean)
    weight, _ = head_functions.unembedding(model)
    norm = model.bridge.ln_final.original_component
    end = kept["ln_final.hook_in"][:, -1]
    scale = (end.var(-1, unbiased=False) + norm.eps).sqrt()
    wrote = acts.z[1][:, -1, 2] @ model.bridge.blocks[1].attn.W_O[2]
    read = (wrote - wrote.mean(-1, keepdim=True)) / scale[:, None] * norm.weight
    expected = ((read @ weight.T).gather(1, torch.stack([batch.answer, batch.distractor[:, 0]], 1))).diff(dim=1)
    place = model.space.names.index("a1.h2")
    close(found[:, place], -expected[:, 0], rtol=1e-4, atol=1e-4)


def test_neurons_of_an_mlp_sum_to_its_attribution(model, batch):
    scores = scoring.score(model, batch, "atp", "logit_difference")
    for layer, found in enumerate(neurons.scores(model, batch, "logit_difference")):
        place = model.space.names.index(f"m{layer}")
        close(found.sum(1), scores[:, place], rtol=1e-3, atol=1e-4)
        out = neurons.outputs(model, layer)
        assert out.shape == (found.shape[1], model.space.d_model)


def test_what_writers_add_to_a_neuron_is_what_it_reads(model, batch):
    """With what is the same for all prompts (positions, biases) the parts are the value before the activation function."""
    chosen = [(1, 3), (2, 7)]
    found = neurons.inputs(model, batch.clean, chosen)
    for column, (layer, neuron) in enumerate(chosen):
        kept, name = {}, f"blocks.{layer}.mlp.in.hook_out"
        with torch.no_grad(), model.bridge.hooks(fwd_hooks=interventions.keepers(kept, name)):
            models.logits(model, batch.clean)
        block = model.bridge.blocks[layer]
        read, norm = block.ln2.original_component, f"blocks.{layer}.ln2.hook_in"
        with torch.no_grad(), model.bridge.hooks(fwd_hooks=interventions.keepers(kept, norm)):
            models.logits(model, batch.clean)
        scale = (kept[norm][:, -1].var(-1, unbiased=False) + read.eps).sqrt()
        _, acts = interventions.run(model, batch.clean)
        # One head by hand, and nothing of what lies above.
        wrote = acts.z[layer - 1][:, -1, 2] @ model.bridge.blocks[layer - 1].attn.W_O[2]
        direction = neurons.read_by(model, layer, neuron)
        expected = ((wrote - wrote.mean(-1, keepdim=True)) / scale[:, None] * read.weight) @ direction
        place = model.space.names.index(f"a{layer - 1}.h2")
        close(found[:, column, place], expected, rtol=1e-4, atol=1e-5)
        assert not found[:, column, model.space.names.index(f"m{layer}") :].any()
        # Two prompts of one length differ by what the writers add, each at its own scale.
        bias = block.mlp._modules["in"].original_component.bias[neuron]
        rest = kept[name][:, -1, neuron] - found[:, column].sum(1)
        shared = (rest - bias - read.bias @ direction) * scale
        close(shared, shared.mean().expand_as(shared), rtol=1e-3, atol=1e-3)


def test_replaced_neurons_are_those_of_a_run_by_hand(model, batch):
    corrupt = neurons.values(model, batch.corrupt)
    sets = [[(1, 3)], [(0, 2), (2, 7)], []]
    found, (base, _) = {}, interventions.base(model, batch.clean)
    for places, last in neurons.replaced(model, base, sets, corrupt, tokens=2 * batch.clean.numel()):
        for place, rows in zip(places, last.view(len(places), len(batch.rows), -1), strict=True):
            found[place] = rows
    close(found[2], models.logits(model, batch.clean), rtol=1e-4, atol=1e-4)

    def put(layer, neuron):
        def hook(tensor, hook):
            tensor = tensor.clone()
            tensor[..., neuron] = corrupt[layer][..., neuron]
            return tensor

        return f"blocks.{layer}.mlp.out.hook_in", hook

    for place in (0, 1):
        with torch.no_grad(), model.bridge.hooks(fwd_hooks=[put(*unit) for unit in sets[place]]):
            close(found[place], models.logits(model, batch.clean), rtol=1e-4, atol=1e-4)
    every = [[(layer, n) for layer, kept in enumerate(corrupt) for n in range(kept.shape[-1])]]
    ((_, last),) = neurons.replaced(model, base, every, corrupt, tokens=10**6)
    assert not torch.allclose(last, models.logits(model, batch.clean), atol=1e-2)


def test_the_lens_after_the_last_layer_is_the_model_and_no_norm_is_taken_twice(model, batch):
    found, last = head_functions.lens(model, batch), models.logits(model, batch.clean)
    top = model.space.layers - 1
    close(found[top, True], last, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(found[top, False], last, atol=0.1)
    assert set(found) == {(layer, norm) for layer in range(-1, top + 1) for norm in (True, False)}


def test_a_score_through_the_ov_circuit_by_hand(model):
    tokenizer, bos = load_tokenizer(MODELS / "tiny-gpt2-medium")
    options = {"members": "digits", "largest": 12, "length": 3}
    prompts, targets = stage_heads.bare(tokenizer, bos, options)
    assert len(prompts) == 10 and len(prompts[0]) == 4
    names = [[f"a{layer}.h{head}" for head in range(8)] for layer in range(3)]
    found = head_functions.ov_hits(model, torch.tensor(prompts), 5)
    rows = head_functions.ov_scores(found, targets, names)
    # Head 4 of layer 0 on the second element of the fourth prompt, " 5" of " 4 5 6".
    kept, streams = {}, ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_post")
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=interventions.keepers(kept, *streams)):
        models.logits(model, torch.tensor(prompts[3:4]))
    block = model.bridge.blocks[0]
    linear, width = block.attn.v.original_component, model.space.d_head
    # As published every head reads the stream after the first layer; its own heads read the embedding.
    for seen, name, norm in (("own", streams[0], 0), ("published", streams[1], 1)):
        x = model.bridge.blocks[norm].ln1.original_component(kept[name][0, 2])
        value = (linear.weight @ x + linear.bias)[4 * width : 5 * width]
        for sign in (1, -1):
            logits = head_functions.final_logits(model, sign * value @ block.attn.W_O[4])
            assert logits.topk(5).indices.tolist() == found[seen, sign][0][3, 2, 4].tolist()
    assert len(found["own", 1]) == 1 and len(found["published", 1]) == 3
    shown = schemas.seen(pd.DataFrame(rows))
    assert set(shown[shown["component"] == "a0.h4"]["stream"]) == {"own"}
    assert set(shown[shown["component"] == "a1.h4"]["stream"]) == {"published"}
    chosen = {(r["component"], r["kind"], r["sign"], r["position"]): r for r in rows if r["stream"] == "published"}
    # The last element of the last prompt has no next one, the first of the first none before.
    assert chosen["a0.h4", "next", 1, 3]["n_tokens"] == 9 and chosen["a0.h4", "copy", 1, 3]["n_tokens"] == 10
    assert chosen["a0.h4", "previous", 1, 1]["n_tokens"] == 9
    every = chosen["a0.h4", "next", 1, None]
    assert every["n_tokens"] == sum(chosen["a0.h4", "next", 1, p]["n_tokens"] for p in (1, 2, 3))
    assert every["n_hits"] == sum(chosen["a0.h4", "next", 1, p]["n_hits"] for p in (1, 2, 3))
    hit = [set(targets["next"][n][1]) & set(found["published", 1][0][n, 2, 4].tolist()) for n in range(10)]
    assert chosen["a0.h4", "next", 1, 2]["n_hits"] == sum(map(bool, hit))


def test_singular_vectors_are_those_of_the_ov_matrix_and_point_one_way(model):
    sizes, right = head_functions.spectrum(model, 1, 3, 5)
    block, width = model.bridge.blocks[1], model.space.d_head
    values = block.attn.v.original_component.weight[3 * width : 4 * width]
    _, expected, vectors = torch.linalg.svd(values.T @ block.attn.W_O[3])
    close(sizes, expected[:5], rtol=1e-3, atol=1e-4)
    overlap = (right * vectors[:5]).sum(1).abs()
    close(overlap, torch.ones(5), rtol=1e-2, atol=1e-2)
    against = right @ head_functions.unembedding(model)[0].T
    assert (against.max(1).values >= -against.min(1).values).all()


def test_motifs_by_hand():
    pattern = torch.tensor([[[[1.0, 0, 0], [0.6, 0.4, 0], [0.1, 0.7, 0.2]]]])
    masks = torch.tensor([[[False, False, False], [True, False, False], [False, True, False]]])
    mass, chance, n = head_functions.motif(pattern, masks)
    assert float(mass) == pytest.approx(0.65) and n == 2
    assert chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    masks = head_functions.item_masks([1, 3], 6, "cpu")
    assert masks["same_type"].nonzero().tolist() == [[0, 3, 1]]
    assert masks["last_to_items"].nonzero().tolist() == [[0, 5, 1], [0, 5, 3]]
    assert masks["last_to_last"].nonzero().tolist() == [[0, 5, 3]]
    bare = head_functions.item_masks([1, 2], 3, "cpu")
    assert bare["last_to_items"].nonzero().tolist() == [[0, 2, 1]] and not bare["last_to_last"].any()


def test_planted_heads_have_the_motif_that_was_planted():
    plan = planted_tasks.empty()
    plan.heads[0, 1] = Head(planted_tasks.copying("symbol", "before"), offset=1)
    match = {
        "query": [(n, {planted_tasks.plain(n): 8.0}) for n in range(planted_tasks.SYMBOLS)],
        "key": [(n, {f"before {n}": 1.0}) for n in range(planted_tasks.SYMBOLS)],
    }
    plan.heads[1, 2] = Head(planted_tasks.copying("symbol", "found"), **match)
    plan.embedding = plan.embedding[: planted_tasks.SYMBOLS]
    built = planted_models.build(plan, "gpt2", torch.Generator().manual_seed(0))
    import tempfile
    from pathlib import Path

    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    with tempfile.TemporaryDirectory() as folder:
        built.save_pretrained(folder)
        words = {f"t{n}": n for n in range(planted_tasks.SYMBOLS)}
        Tokenizer(WordLevel(words, unk_token="t0")).save(str(Path(folder) / "tokenizer.json"))
        model = models.load(folder, "cpu", threads=1)
    tokens, masks = head_functions.repeated(model, 64, 4, None, np.random.default_rng(0))
    distinct = torch.tensor([len(set(row[:4].tolist())) == 4 for row in tokens])
    tokens, masks = tokens[distinct], {name: mask[distinct] for name, mask in masks.items()}
    found = head_functions.patterns(model, tokens)
    assert head_functions.motif(found[0], masks["previous_token"])[0][1] > 0.95
    # The first position sees itself as the one before, so its symbol is found there as well.
    assert head_functions.motif(found[1], masks["induction"])[0][2] > 0.85
    assert head_functions.motif(found[1], masks["previous_token"])[0][2] < 0.5


def test_positions_are_named_by_what_stands_there():
    tokenizer, _ = load_tokenizer(MODELS / "tiny-gpt2-medium")
    labels, items = stage_heads.positions(examples_for("digits", 12), tokenizer)
    assert [labels[place] for place in items] == ["item 1", "item 2", "item 3", "item 4"]
    assert labels[0] == "BOS" and labels.count("in") == 5 and labels.count(".") == 4 and "word" in labels


def test_length_prompts_are_as_many_as_there_are_and_none_where_members_run_out():
    of_model = reader(MODELS / "tiny-gpt2-medium")
    cfg = {"count": 32, "seed": 0}
    spec = {"family": "sequence", "options": {"members": "days", "frame": "bare"}, "shots": 0}
    assert len(stage_lengths.prompts("days", spec, 4, cfg, of_model)) == 3
    assert stage_lengths.prompts("days", spec, 7, cfg, of_model) is None
    found = stage_lengths.prompts("days", spec, 1, cfg, of_model)
    assert 4 <= len(found) <= 6 and (found["length"] == 2).all()
    # What was shown solved is not asked again: two of the three sequences of days.
    assert len(stage_lengths.prompts("days", spec | {"shots": 2}, 4, cfg, of_model)) == 1
    # Nor is what does not fit into the model.
    short = replace(of_model, positions=2)
    assert (
        stage_lengths.prompts("days", spec, 4, cfg, short) is None
        and stage_lengths.prompts("days", spec, 1, cfg, short) is not None
    )
