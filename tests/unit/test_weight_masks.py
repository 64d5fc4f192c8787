"""Node masks: the gradient, what is replaced, the target, and runs with nodes in three states."""

import numpy as np
import pandas as pd
import planted_weights
import pytest
import torch
from circuit_reuse import api
from circuit_reuse.data import tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import batching, interventions, models
from circuit_reuse.studies.weights import (
    mask_files,
    masks,
    matrices,
    nodes,
    outcomes,
    schemas,
    stage_masks,
    stage_nodes,
    tau_files,
    weight_sets,
)
from safetensors.numpy import save_file
from support import MODELS, examples_for

ASKED = outcomes.Asked("cross_entropy", "logit_difference", "top1")


def test_the_threshold_has_the_slope_of_a_sigmoid():
    tau = torch.tensor([-0.5, 0.0, 0.7], dtype=torch.float64, requires_grad=True)
    out = masks.Threshold.apply(tau, 0.5)
    assert out.tolist() == [0, 1, 1]
    (out * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    twin = torch.tensor([-0.5, 0.0, 0.7], dtype=torch.float64, requires_grad=True)
    (torch.sigmoid(twin / 0.5) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    torch.testing.assert_close(tau.grad, twin.grad)


def test_losses_are_those_of_the_definition():
    last = torch.tensor([[[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]]).repeat(2, 1, 1)
    answer, distractor = torch.tensor([1, 2]), torch.tensor([0, 1])
    found = outcomes.losses(last, answer, distractor, "cross_entropy")
    assert found.shape == (2, 2)
    assert found[1, 0].item() == pytest.approx(-np.log(np.exp(2) / np.exp([1, 2, 0.5]).sum()))
    binary = outcomes.losses(last, answer, distractor, "binary")
    assert binary[0, 1].item() == pytest.approx(np.log1p(np.exp(-3)))
    assert outcomes.loss_kind("preferred") == "binary" and outcomes.loss_kind("top1") == "cross_entropy"


def test_sites_are_masked_where_they_say(model, batch):
    """A silent MLP output is an MLP ablated; the bias of attention alone is its heads ablated."""
    everything = torch.ones(1, nodes.total(model))
    zeros = torch.zeros(nodes.total(model))
    whole = models.logits(model, batch.clean)
    torch.testing.assert_close(nodes.masked(model, batch.clean, everything, zeros)[0], whole, rtol=1e-4, atol=1e-4)
    _, clean = interventions.run(model, batch.clean)
    instead = clean.like(torch.zeros_like)
    sites = {(site.layer, site.location): site for site in nodes.sites(model)}
    for layer in range(model.space.layers):
        out, attended = sites[layer, "mlp_out"], sites[layer, "attn_out"]
        mask = everything.clone()
        mask[:, out.part] = 0
        expected = interventions.replace(model, interventions.Base(batch.clean), [[f"m{layer}"]], instead)
        torch.testing.assert_close(nodes.masked(model, batch.clean, mask, zeros)[0], expected, rtol=1e-4, atol=1e-4)
        mask, bias = everything.clone(), zeros.clone()
        mask[:, attended.part] = 0
        bias[attended.part] = model.bridge.blocks[layer].attn.o.original_component.bias
        heads = [f"a{layer}.h{head}" for head in range(model.space.heads)]
        expected = interventions.replace(model, interventions.Base(batch.clean), [heads], instead)
        torch.testing.assert_close(nodes.masked(model, batch.clean, mask, bias)[0], expected, rtol=1e-4, atol=1e-4)


def test_every_site_reaches_the_logits(model, batch):
    whole, zeros = models.logits(model, batch.clean), torch.zeros(nodes.total(model))
    states = torch.zeros(len(nodes.sites(model)), nodes.total(model), dtype=torch.uint8)
    for place, site in enumerate(nodes.sites(model)):
        states[place, site.part] = nodes.REPLACED
    moved = (nodes.run(model, batch.clean, states, zeros) - whole).abs().amax((1, 2))
    assert (moved > 1e-3).all()
    assert len({site.width for site in nodes.sites(model)}) == 2


def test_a_mask_of_another_study_is_read_by_its_own_names(model, tmp_path):
    """Active from 0 on, by layer and location; what has no tensor is kept; what does not fit is named, all at once."""
    sites = {(site.layer, site.location): site for site in nodes.sites(model)}
    tau = {
        "masks.layer1_attn_q.tau": np.linspace(-1, 1, sites[1, "q"].width, dtype=np.float32),
        "masks.layer1_attn_q.mean_activation": np.zeros(sites[1, "q"].width, dtype=np.float32),
        "layer0_mlp_neuron": np.full(sites[0, "mlp_neuron"].width, -0.5, dtype=np.float32),
    }
    path = tmp_path / "masks.safetensors"
    save_file(tau, path)
    values, active = tau_files.of_file(path, nodes.sites(model))
    assert (active[sites[1, "q"].part] == (tau["masks.layer1_attn_q.tau"] >= 0)).all()
    assert not active[sites[0, "mlp_neuron"].part].any() and active[sites[2, "v"].part].all()
    assert np.isnan(values[sites[2, "v"].part]).all()
    wrong = {"layer9_attn_in": np.zeros(4), "layer0_attn_in.tau": np.zeros(3), "layer0_v_out": np.zeros(2)}
    with pytest.raises(mask_files.MaskFileError) as raised:
        tau_files.of_tensors(wrong, nodes.sites(model))
    assert all(name in str(raised.value) for name in wrong) and "layers 0 to 2" in str(raised.value)
    # What is no tau, a location twice, and a mask that leaves nothing.
    width = sites[0, "attn_in"].width
    for tensor, reason in (
        (np.arange(width) % 2, "holds only 0 and 1, which is a mask"),
        ((np.arange(width) % 2).astype(np.float32), "holds only 0 and 1, which is a mask"),
        (np.arange(width) - 3, "is of type int64"),
    ):
        with pytest.raises(mask_files.MaskFileError, match=reason):
            tau_files.of_tensors({"layer0_attn_in": tensor}, nodes.sites(model))
    assert tau_files.of_tensors({"layer0_attn_in": np.arange(width) % 2 == 0}, nodes.sites(model))[1].any()
    twice = dict.fromkeys(("a.layer0_attn_in", "b.layer0_attn_in.tau"), np.full(width, 0.5))
    with pytest.raises(mask_files.MaskFileError, match=r"b\.layer0_attn_in\.tau is the location of a\.layer0_attn_in"):
        tau_files.of_tensors(twice, nodes.sites(model))
    nothing = {f"layer{site.layer}_{site.location}": np.full(site.width, -0.5) for site in nodes.sites(model)}
    with pytest.raises(mask_files.MaskFileError, match="no node of it is active"):
        tau_files.of_tensors(nothing, nodes.sites(model))
    save_file({"vocab_mask.tau": np.zeros(3, dtype=np.float32)}, path)
    with pytest.raises(mask_files.MaskFileError, match=r"vocab_mask\.tau is no name"):
        tau_files.read(path)
    path.write_bytes(b"PK a pickle")
    with pytest.raises(mask_files.MaskFileError, match="cannot be read as safetensors"):
        tau_files.read(path)


def test_a_sweep_in_a_notebook_is_that_of_the_weights_by_hand(model):
    """All of a circuit's weights gone: the loss of a model without them; nothing gone: the intact model's."""
    examples = examples_for("ioi", 12).assign(used=True)
    tau = {f"layer{site.layer}_{site.location}": np.full(site.width, -1.0) for site in nodes.sites(model)}
    for name, kept in (("layer1_mlp_in", 30), ("layer1_mlp_neuron", 20)):
        tau[name][:kept] = 1
    active = api.node_mask(model, tau)
    table = api.weight_sweep(model, examples, active, ["non_circuit"], points=3, trials=2)
    assert set(table["condition"]) == {"circuit", "non_circuit"} and set(table["share"]) == {0, 0.5, 1}
    held_out = examples[examples["split"] == "held_out"].reset_index(drop=True)
    weights = matrices.joins(matrices.matrices(model), active) & (matrices.flat(model) != 0)
    by_share = table[table["condition"] == "circuit"].groupby("share")["loss"].mean()
    for share, removed in ((0, np.zeros_like(weights)), (1, weights)):
        losses = []
        for batch in batching.batches(held_out, 10**6):
            last = matrices.run(model, batch.clean, [removed])
            losses += outcomes.losses(last, batch.answer, batch.distractor, "cross_entropy")[0].tolist()
        assert by_share[share] == pytest.approx(np.mean(losses), rel=1e-4)
    with pytest.raises(ValueError, match="Did you mean quantile"):
        api.weight_sweep(model, examples, active, ["quantiles"])


def test_states_are_masks_and_unpruned_values_are_the_untouched_run(model, batch):
    rng = torch.Generator().manual_seed(0)
    kept = torch.rand(3, nodes.total(model), generator=rng) < 0.7
    mean = nodes.moments(model, [batch.clean])[0]
    soft = nodes.masked(model, batch.clean, kept.float(), mean)
    states = torch.where(kept, nodes.OWN, nodes.REPLACED)
    torch.testing.assert_close(nodes.run(model, batch.clean, states, mean), soft, rtol=1e-4, atol=1e-4)
    unpruned = nodes.values(model, batch.clean)
    put_in = torch.full((1, nodes.total(model)), nodes.UNPRUNED)
    last = nodes.run(model, batch.clean, put_in, mean, unpruned)[0]
    torch.testing.assert_close(last, models.logits(model, batch.clean), rtol=1e-4, atol=1e-4)
    # Of a site that is unpruned at the end, nothing before it matters.
    states = torch.full((1, nodes.total(model)), nodes.REPLACED)
    final = [s for s in nodes.sites(model) if s.layer == model.space.layers - 1]
    for site in final:
        states[:, site.part] = nodes.UNPRUNED
    assert not torch.allclose(
        nodes.run(model, batch.clean, states, mean, unpruned)[0], models.logits(model, batch.clean), atol=1e-2
    )


def test_means_are_over_all_positions(model, batch):
    site = nodes.sites(model)[3]
    kept = {}
    with model.bridge.hooks(fwd_hooks=interventions.keepers(kept, site.hook)):
        models.logits(model, batch.clean)
    expected = kept[site.hook].flatten(2).mean((0, 1))
    torch.testing.assert_close(nodes.moments(model, [batch.clean])[0][site.part], expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The planted model and its prompts."""
    model = planted_weights.build(tmp_path_factory.mktemp("planted_masks"))
    return model, planted_weights.batch(model, 64)


def test_a_planted_mask_is_learned(planted):
    """All that is kept is of the planted circuit, it does the task, masks side by side do not matter."""
    model, batch = planted
    mean = nodes.moments(model, [batch.clean])[0]

    def train(*coefficients):
        settings = masks.Settings(coefficients, 300, 64, 0.02)
        return masks.train(model, [batch], mean, "cross_entropy", settings, np.random.default_rng(0))

    tau, history = train(3e-3, 1e-2)
    assert ((train(1e-2)[0][0] >= 0) == (tau[1] >= 0)).float().mean() > 0.99
    assert {row["coefficient"] for row in history} == {3e-3, 1e-2}
    job, truth = Planted(model, batch), planted_weights.truth(model)
    everything, none = np.ones_like(truth), np.zeros_like(truth)
    kept = [(row >= 0).numpy() for row in tau]
    states = np.stack([stage_nodes.state(own) for own in (everything, none, truth, *kept)])
    full, empty, planted_loss, *losses = job.runs(torch.tensor(states), job.testing).loss.mean(1)
    assert planted_loss < full + 0.1 and empty > full + 0.5
    for mask, loss in zip(kept, losses, strict=True):
        assert not (mask & ~truth).any()
        assert 8 <= mask.sum() < truth.sum() and loss < full + 0.25


def test_a_mask_is_the_smallest_on_its_curve_that_reaches_the_target():
    tau = torch.linspace(1, -1, 400)
    loss = {}

    def loss_of(kept):
        found = [max(0.0, 1 - int(mask.sum()) / 100) + 0.001 for mask in kept]
        loss.update({int(mask.sum()): value for mask, value in zip(kept, found, strict=True)})
        return found

    mask, curve = masks.discretise(tau, loss_of, 0.25)
    assert loss[int(mask.sum())] <= 0.25 and 76 <= mask.sum() <= 80
    assert mask[: int(mask.sum())].all()
    assert all(row["loss"] > 0.25 for row in curve if row["n_nodes"] < mask.sum())
    with pytest.raises(ValueError, match=r"no mask reaches the target loss of 0.000.*weights.masks.target"):
        masks.discretise(tau, loss_of, 0.0001)


def test_an_answer_is_right_where_it_is_first_or_before_the_distractor(batch):
    rng = torch.Generator().manual_seed(0)
    last = torch.rand(2, len(batch.rows), 1463, generator=rng)
    rows = torch.arange(len(batch.rows))
    last[0, rows, batch.answer] = 2.0
    last[1, rows, batch.answer] = 0.9
    last[1, rows[:, None], batch.distractor.view(len(rows), -1)] = 0.1
    _, metric, right = outcomes.judged(last, batch, ASKED)
    assert right[0].all() and not right[1].any()
    np.testing.assert_allclose(metric[1], 0.8, atol=1e-6)
    preferred = outcomes.Asked("binary", "logit_difference", "preferred")
    assert outcomes.judged(last, batch, preferred)[2].all()
    # A tie counts against the answer.
    last[0, rows, (batch.answer + 1) % 1463] = 2.0
    assert not outcomes.judged(last, batch, ASKED)[2][0].any()


class Planted:
    """What the stages ask of a task, for the planted model."""

    def __init__(self, model, batch):
        self.model, self.testing, self.asked, self.tokens = model, [batch], ASKED, 2048
        self.replacement = nodes.moments(model, [batch.clean])[0]

        self.choosing = self.testing

    runs, losses, all_nodes = (
        stage_masks.MaskedTask.runs,
        stage_masks.MaskedTask.losses,
        stage_masks.MaskedTask.all_nodes,
    )


def test_a_target_that_the_empty_mask_meets_or_the_whole_model_misses_is_left_out(planted):
    job = Planted(*planted)
    empty, full = (job.losses(kept)[0] for kept in (~job.all_nodes(), job.all_nodes()))
    for target in (empty - 0.01, full):
        stage_masks.check_target(job, target, "digits")
    for target, loss in ((empty + 0.01, empty), (full - 0.001, full)):
        with pytest.raises(LeftOut, match=rf"'digits'.*{loss:.3f} nats.*weights.masks.target"):
            stage_masks.check_target(job, target, "digits")


def run_plan(job, plan):
    """Mean loss of each intervention of a plan."""
    unpruned = [nodes.values(job.model, batch.clean) for batch in job.testing]
    states = torch.tensor(np.stack([each[-1] for each in plan]))
    return job.runs(states, job.testing, unpruned).loss.mean(1)


def test_ends_of_the_node_curves_meet(planted):
    """Nothing interchanged is the pruned run, all masked nodes on is the full one, and so on."""
    job, active = Planted(*planted), planted_weights.truth(planted[0])
    active[::7] = True
    cfg = {"points": 3, "trials": 2, "fractions": [0, 0.5, 1], "node_trials": 2}
    draws = lambda *names: np.random.default_rng(len(str(names)))  # noqa: E731
    layer = np.zeros(len(active), dtype=int)
    plan = [
        *stage_nodes.fixed(active),
        *stage_nodes.interchanges(active, layer, cfg, draws),
        *stage_nodes.sweeps(active, cfg, draws),
    ]
    loss = run_plan(job, plan)
    named = {}
    for (condition, where, trial, share, _, _), value in zip(plan, loss, strict=True):
        named[condition, where, trial, share] = value
    fixed = {name: named[name, None, 0, 1.0] for name in ("sufficiency", "necessity", "none")}
    clean = named["clean", None, 0, 0.0]
    for trial in range(2):
        assert named["interchange", None, trial, 0] == pytest.approx(fixed["sufficiency"], abs=1e-5)
        assert named["interchange", 0, trial, 1] == pytest.approx(named["interchange", None, trial, 1], abs=1e-5)
        assert named["relaxation", None, trial, 0.0] == pytest.approx(fixed["sufficiency"], abs=1e-5)
        assert named["relaxation", None, trial, 1.0] == pytest.approx(clean, abs=1e-5)
        assert named["nodes_circuit", None, trial, 1.0] == pytest.approx(fixed["necessity"], abs=1e-5)
        assert named["nodes_all", None, trial, 0.0] == pytest.approx(clean, abs=1e-5)
    counts = {(c, s): n for c, _, _, s, n, _ in plan if c.startswith("nodes_")}
    assert counts["nodes_circuit", 1.0] == counts["nodes_all", 1.0] == active.sum()


def test_importance_is_exact_alone_and_integrated_gradients_sum_to_all(planted):
    job, active = Planted(*planted), planted_weights.truth(planted[0])
    rows = stage_nodes.importance(job, active, 60, 10**6, None)
    both = np.stack([stage_nodes.state(active), stage_nodes.state(np.zeros_like(active))])
    kept, none = job.runs(torch.tensor(both), job.testing).loss.mean(1)
    assert sum(row["attribution"] for row in rows) == pytest.approx(none - kept, rel=0.03)
    assert len(rows) == active.sum()
    first = np.flatnonzero(active)[5]
    without = active.copy()
    without[first] = False
    alone = job.runs(torch.tensor(stage_nodes.state(without))[None], job.testing).loss.mean()
    assert rows[5]["importance"] == pytest.approx(alone - kept, abs=1e-5)
    # Some of them: the same numbers, of the largest attribution and of some others; the rest are not known.
    some = stage_nodes.importance(job, active, 60, 7, lambda name: np.random.default_rng(0))
    assert [row["node"] for row in some] == [row["node"] for row in rows]
    run = [n for n, row in enumerate(some) if row["importance"] is not None]
    largest = sorted(range(len(rows)), key=lambda n: -abs(rows[n]["attribution"]))[:3]
    assert len(run) == 7 and set(largest) <= set(run)
    assert [some[n]["importance"] for n in run] == pytest.approx([rows[n]["importance"] for n in run], abs=1e-5)


def test_unexplained_variance(planted):
    """None with everything kept; of a circuit that misses what its nodes read, the definition."""
    job = Planted(*planted)
    everything = np.ones(nodes.total(job.model), dtype=bool)
    rows = stage_nodes.unexplained(job, everything)
    assert all(row["fvu"] == pytest.approx(0, abs=1e-9) for row in rows if row["fvu"] is not None)
    active = everything.copy()
    sites = {site.location: site for site in nodes.sites(job.model)}
    active[sites["mlp_in"].part] = False
    rows = {row["location"]: row for row in stage_nodes.unexplained(job, active) if row["layer"] == 0}
    assert rows["mlp_in"]["fvu"] is None and rows["mlp_in"]["n_nodes"] == 0
    full = torch.cat(nodes.values(job.model, job.testing[0].clean, whole=True), -1)
    states = torch.tensor(stage_nodes.state(active))
    pruned = torch.cat(nodes.values(job.model, job.testing[0].clean, states, job.replacement, True), -1)
    part = sites["mlp_neuron"].part
    error = (full - pruned)[..., part].flatten(0, 1).double().square().mean(0)
    variance = full[..., part].flatten(0, 1).double().var(0, unbiased=False)
    varies = variance > 1e-9 * full[..., part].flatten(0, 1).double().square().mean(0)
    error, variance = error[varies], variance[varies]
    assert rows["mlp_neuron"]["fvu"] == pytest.approx(float((error / variance).mean()), rel=1e-4)
    assert rows["mlp_neuron"]["pooled"] == pytest.approx(float(error.sum() / variance.sum()), rel=1e-4)


def saved_mask(path, names, active, made_for, told=None):
    """A masks table."""
    kept = [name for name, on in zip(names, active, strict=True) if on]
    rows = [
        {
            "coefficient": None,
            "layer": 0,
            "location": "q",
            "channel": 0,
            "node": name,
            "tau": None,
            "active": bool(on),
            "chosen": True,
            "mask": told or weight_sets.mask_hash(made_for, kept),
        }
        for name, on in zip(names, active, strict=True)
    ]
    tables.write(path, schemas.MASKS, rows, model=made_for)


def test_a_mask_of_another_model_is_refused(tmp_path):
    names, path = ["0.q.0", "0.q.1", "0.k.0"], tmp_path / "masks.parquet"
    saved_mask(path, names, [True, False, True], "here")
    active, _ = mask_files.chosen(path, "here", names)
    assert list(active) == [True, False, True]
    with pytest.raises(mask_files.MaskFileError, match="made for the model with fingerprint here, not there"):
        mask_files.chosen(path, "there", names)
    with pytest.raises(mask_files.MaskFileError, match=r"has 3 nodes, from 0.q.0; the model has 2"):
        mask_files.chosen(path, "here", names[1:])
    saved_mask(path, names, [True, False, True], "here", told="changed")
    with pytest.raises(mask_files.MaskFileError, match="it was changed"):
        mask_files.chosen(path, "here", names)
    saved_mask(path, names, [False] * 3, "here")
    with pytest.raises(mask_files.MaskFileError, match="no node is active"):
        mask_files.read_mask(path, "here", names, "digits")
    path.write_text("no table")
    with pytest.raises(mask_files.MaskFileError, match="is no masks table"):
        mask_files.chosen(path, "here", names)


def test_outcomes_do_not_depend_on_how_many_run_at_once(model):
    examples = examples_for("digits", 12)
    batches = list(batching.batches(examples, 100))
    rng = torch.Generator().manual_seed(0)
    kept = torch.rand(5, nodes.total(model), generator=rng) < 0.9
    mean = nodes.moments(model, [batch.clean for batch in batches])[0]
    run = lambda n, batch, items: nodes.run(model, batch.clean, torch.stack(items), mean)  # noqa: E731
    states = list(torch.where(kept, nodes.OWN, nodes.REPLACED))
    few, many = (outcomes.evaluate(batches, states, run, ASKED, tokens) for tokens in (1, 4096))
    np.testing.assert_allclose(few.loss, many.loss, atol=1e-4)
    np.testing.assert_allclose(few.metric, many.metric, atol=1e-4)
    assert (few.correct == many.correct).all() and few.loss.shape == (5, 12)


def test_the_sparse_model_is_sparse_and_dense_ones_are_not():
    from circuit_reuse.studies.weights import matrices
    from circuit_reuse.training.train import SIZES

    counts = []
    for name, share in (("tiny-gpt2-sparse", SIZES["sparse"]["density"]), ("tiny-gpt2-medium", 1.0)):
        model = models.load(MODELS / name, "cpu", threads=1)
        values = matrices.flat(model)
        assert (values != 0).mean() == pytest.approx(share, abs=0.005)
        counts.append(len(values))
    assert counts[0] == counts[1]


def test_held_out_examples_are_of_few_lengths_and_those_of_a_length_in_their_order():
    table = pd.DataFrame({"example": range(7), "length": [9, 7, 8, 7, 9, 7, 8]})
    assert list(stage_masks.of_few_lengths(table)["example"]) == [1, 3, 5, 2, 6, 0, 4]
