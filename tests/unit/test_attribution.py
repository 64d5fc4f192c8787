"""Scores against slow twins and against identities that must hold."""

import pytest
import torch
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import attribution, batching, edges, interventions, models
from circuit_reuse.methods import registry
from circuit_reuse.studies.common import scoring
from support import examples_for

METHODS = list(registry.METHODS)
close = torch.testing.assert_close


def score(model, batch, method, metric="logit_difference", **options):
    return scoring.score(model, batch, method, metric, **options)


@pytest.mark.parametrize("metric", ["logit_difference", "log_probability"])
@pytest.mark.parametrize("method", METHODS)
def test_scores_do_not_depend_on_the_batch(model, method, metric):
    examples = examples_for("ioi", 20)
    found = {}
    for size in (1, 7, 64):
        result = torch.empty(len(examples), len(model.space.names))
        for part in batching.batches(examples, size * 20):
            result[part.rows] = score(model, part, method, metric, tokens=size * 20)
        found[size] = result
    scale = found[1].abs().max().item()
    for size in (7, 64):
        close(found[size], found[1], rtol=1e-5, atol=1e-5 * scale)


def test_atp_of_every_component_equals_autograd_by_hand(model, batch):
    """One example and one component at a time, through the bare Hugging Face model."""
    found = score(model, batch, "atp")
    hf = model.bridge.original_model
    _, corrupt = interventions.run(model, batch.corrupt)
    for row in range(2):
        _, clean = interventions.run(model, batch.clean)
        for column, name in enumerate(model.space.names):
            value = first_order(model, hf, batch, row, name, clean, corrupt)
            close(found[row, column], value, rtol=1e-4, atol=1e-5)


def first_order(model, hf, batch, row, name, clean, corrupt):
    """Derivative of the metric along a component's change, by a dual number in its output."""
    layer, head = interventions.components.place(name)
    step = torch.zeros((), requires_grad=True)
    with torch.enable_grad():
        if layer is None:
            where, change = "embed.hook_out", corrupt.embedding - clean.embedding
        elif head is None:
            where, change = f"blocks.{layer}.hook_mlp_out", corrupt.mlp[layer] - clean.mlp[layer]
        else:
            where, change = f"blocks.{layer}.attn.hook_z", corrupt.z[layer] - clean.z[layer]
            only = torch.zeros(model.space.heads, 1)
            only[head] = 1
            change = change * only
        change = change[row : row + 1]
        hook = [(where, lambda tensor, hook: tensor + step * change)]
        with model.bridge.hooks(fwd_hooks=hook):
            last = model.bridge(batch.clean[row : row + 1], return_type="logits")[0, -1]
        metric = last[batch.answer[row]] - last[batch.distractor[row]]
        (slope,) = torch.autograd.grad(metric, step)
    return slope


def test_gim_is_left_out_where_attention_has_sinks(model, batch):
    """Their share of the softmax is not in the pattern."""
    block = next(
        module
        for name, module in model.bridge.original_model.named_modules()
        if name.endswith("attn") or name.endswith("attention")
    )
    block.register_parameter("sinks", torch.nn.Parameter(torch.zeros(1)))
    try:
        with pytest.raises(LeftOut, match="has sinks beside it; use atp or ig"):
            score(model, batch, "gim")
    finally:
        del block.sinks
    score(model, batch, "gim")


@pytest.mark.parametrize(("method", "steps"), [("eap", 0), ("eap-ig", 3)])
def test_a_component_has_the_sum_of_its_edges_and_the_absolute_one_has_a_name_of_its_own(model, batch, method, steps):
    """Statistics A7: no source adds up absolute values."""
    found = edges.edge_scores(model, batch, "logit_difference", steps)
    close(score(model, batch, method, steps=steps), found.sum(2), rtol=1e-4, atol=1e-4)
    close(score(model, batch, f"{method}-absolute", steps=steps), found.abs().sum(2), rtol=1e-4, atol=1e-4)


def test_gim_is_that_of_its_own_package(model, batch):
    """On a bridge whose norms are written out, as the package's hooks need them."""
    from gim.context import GIM
    from torch.nn import functional
    from transformer_lens.model_bridge import TransformerBridge

    before = score(model, batch, "atp")
    folder = model.bridge.original_model.config._name_or_path
    bridge = TransformerBridge.boot_transformers(folder, dtype=torch.float32)
    bridge.eval().requires_grad_(False)
    bare = models.Model(bridge, model.space, model.parallel)
    with GIM(bridge), pytest.MonkeyPatch.context() as patch:
        # The package's softmax takes no dtype, and the bridge gives one.
        softmax = functional.softmax
        patch.setattr(functional, "softmax", lambda x, dim, dtype=None: softmax(x.to(dtype or x.dtype), dim=dim))
        clean, gradient = attribution.gradient_at(bare, batch, "logit_difference")
    _, corrupt = interventions.run(model, batch.corrupt)
    expected = attribution.contract(interventions.add(corrupt, clean.like(torch.neg)), gradient)
    close(score(model, batch, "gim"), expected, rtol=1e-4, atol=1e-4)
    assert (expected - before).abs().max() > 1
    # Nothing of it stays behind.
    close(score(model, batch, "atp"), before, rtol=0, atol=0)


def test_atp_star_is_the_mean_over_layers_that_are_detached(model, batch):
    _, corrupt = interventions.run(model, batch.corrupt)
    total = 0
    for layer in range(model.space.layers):
        hooks = [
            (f"blocks.{layer}.{name}", lambda tensor, hook: tensor.detach())
            for name in ("hook_attn_out", "hook_mlp_out")
        ]
        with torch.enable_grad(), model.bridge.hooks(fwd_hooks=[interventions.start_from(model)]):
            with interventions.capturing(model) as kept, model.bridge.hooks(fwd_hooks=hooks):
                last = models.logits(model, batch.clean)
                metric = models.metric_values(last, *batch.targets(), "logit_difference").sum()
                acts = interventions.activations(model, kept)
            tensors = [acts.embedding, *acts.z, *acts.mlp]
            found = torch.autograd.grad(metric, tensors, allow_unused=True)
        found = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]
        found[1 + model.space.layers + layer] = torch.zeros_like(tensors[1 + model.space.layers + layer])
        layers = model.space.layers
        gradient = interventions.Activations(found[0], found[1 : 1 + layers], found[1 + layers :])
        change = interventions.add(corrupt, acts.like(lambda t: -t.detach()))
        total = total + attribution.contract(change, gradient).abs()
    close(score(model, batch, "atp-star"), total / (model.space.layers - 1), rtol=1e-4, atol=1e-4)


def test_there_is_no_edge_against_the_computation(model, batch):
    found = edges.edge_scores(model, batch, "logit_difference")
    names, readers = model.space.names, edges.reader_names(model.space)
    for column, reader in enumerate(readers[:-1]):
        layer = int(reader.split(".")[0][1:])
        later = [n for n, name in enumerate(names) if (interventions.components.place(name)[0] or 0) > layer]
        assert not found[:, later, column].any()
        same = names.index(f"a{layer}.h0")
        if reader.startswith("m"):
            # GPT-2's MLP reads its own layer's heads; GPT-NeoX computes both side by side.
            assert bool(found[:, same, column].any()) != model.parallel


def test_query_key_and_value_edges_are_all_measured(model, batch):
    """The reference study's attention edges never scored."""
    found = edges.edge_scores(model, batch, "logit_difference")
    for part in "qkv":
        columns = [n for n, r in enumerate(edges.reader_names(model.space)) if r.endswith(f".{part}")]
        assert found[:, :, columns].abs().sum() > 0


@pytest.mark.parametrize("positions", [0, 3])
def test_a_memory_budget_changes_no_edge(model, batch, monkeypatch, positions):
    """Batches go in parts and prompts in pieces; nothing is larger than the budget."""
    whole = edges.edge_scores(model, batch, "logit_difference", 2)
    one = 4 * edges.widest(model) * model.space.d_model
    budget = max(1, positions * one)
    monkeypatch.setattr(edges, "BUDGET_BYTES", budget)
    made, right = [], edges.Written.piece

    def piece(self, part):
        made.append(right(self, part))
        return made[-1]

    monkeypatch.setattr(edges.Written, "piece", piece)
    found = edges.edge_scores(model, batch, "logit_difference", 2)
    close(found, whole, rtol=1e-5, atol=1e-5)
    assert max(4 * array.numel() for array in made) <= max(budget, one)


def test_integrated_gradients_over_the_input_sum_to_the_difference_of_the_metric(model, batch):
    """The embedding alone is a full cut of the graph: everything passes through it."""
    change = score(model, batch, "patching")[:, 0]
    errors = [(score(model, batch, "ig", steps=steps)[:, 0] - change).abs().max().item() for steps in (2, 8, 64)]
    assert errors[2] < 0.01 * change.abs().max() and errors[2] < errors[1] < errors[0]


def test_edges_into_the_logits_are_a_cut_too(model, batch):
    """For EAP the edges into the final residual sum to the gradient times its change."""
    found = edges.edge_scores(model, batch, "logit_difference")[:, :, -1].sum(1)
    finals = []
    for tokens in (batch.corrupt, batch.clean):
        kept = {}
        hooks = interventions.keepers(kept, "ln_final.hook_in")
        with torch.no_grad(), model.bridge.hooks(fwd_hooks=hooks):
            models.logits(model, tokens)
        finals.append(kept["ln_final.hook_in"])
    start = finals[1].clone().requires_grad_()
    hook = [("ln_final.hook_in", lambda tensor, hook: start)]
    with model.bridge.hooks(fwd_hooks=hook):
        last = models.logits(model, batch.clean)
    metric = models.metric_values(last, *batch.targets(), "logit_difference").sum()
    (gradient,) = torch.autograd.grad(metric, start)
    close(found, ((finals[0] - finals[1]) * gradient).sum((1, 2)), rtol=1e-4, atol=1e-4)


def test_patching_the_input_is_the_corrupt_run(model, batch):
    change = score(model, batch, "patching")[:, 0]
    clean = models.metric_values(models.logits(model, batch.clean), *batch.targets(), "logit_difference")
    corrupt = models.metric_values(models.logits(model, batch.corrupt), *batch.targets(), "logit_difference")
    close(change, corrupt - clean, rtol=1e-4, atol=1e-4)


def test_exact_patching_agrees_with_atp_where_the_change_is_small(model, batch):
    """Move the corrupt embedding towards the clean one: the error falls with the square."""
    _, clean = interventions.run(model, batch.clean)
    _, corrupt = interventions.run(model, batch.corrupt)
    _, gradient = attribution.gradient_at(model, batch, "logit_difference")
    base = models.metric_values(models.logits(model, batch.clean), *batch.targets(), "logit_difference")
    name = f"m{model.space.layers - 1}"
    errors = []
    for share in (0.1, 0.01):
        mixed = interventions.Activations(
            torch.lerp(clean.embedding, corrupt.embedding, share),
            [torch.lerp(a, b, share) for a, b in zip(clean.z, corrupt.z, strict=True)],
            [torch.lerp(a, b, share) for a, b in zip(clean.mlp, corrupt.mlp, strict=True)],
        )
        change = interventions.add(mixed, clean.like(torch.neg))
        linear = attribution.contract(change, gradient)[:, model.space.names.index(name)]
        last = interventions.replace(model, interventions.Base(batch.clean), [[name]], mixed)
        exact = models.metric_values(last, *batch.targets(), "logit_difference") - base
        errors.append((exact - linear).abs().max().item())
    assert errors[1] < 0.05 * errors[0] + 1e-5


def test_no_parameter_gets_a_gradient(model, batch):
    for method in METHODS:
        score(model, batch, method)
    assert all(p.grad is None and not p.requires_grad for p in model.bridge.original_model.parameters())


def test_probability_difference_is_all_right_less_all_wrong_answers():
    """Of greater-than every later year is right; without such lists the answer and the distractors stand for them."""
    logits = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    p = logits.softmax(-1)
    answer, distractor = torch.tensor([2, 3]), torch.tensor([[1, 4], [5, -1]])
    found = models.metric_values(logits, answer, distractor, None, "probability_difference")
    torch.testing.assert_close(found, torch.stack([p[0, 2] - p[0, 1] - p[0, 4], p[1, 3] - p[1, 5]]))
    choices = torch.tensor([[[2, 3, -1], [0, 1, 4]], [[3, 6, 7], [5, -1, -1]]])
    found = models.metric_values(logits, answer, distractor, choices, "probability_difference")
    by_hand = [p[0, 2] + p[0, 3] - p[0, 0] - p[0, 1] - p[0, 4], p[1, 3] + p[1, 6] + p[1, 7] - p[1, 5]]
    torch.testing.assert_close(found, torch.stack(by_hand))


def test_all_years_of_greater_than_are_right_or_wrong():
    table = examples_for("greater_than", 8, metric="probability_difference")
    for row in table.itertuples():
        right, wrong = (set(map(int, each)) for each in row.choices)
        assert int(row.answer) in right and int(row.distractors[0]) in wrong and not right & wrong
