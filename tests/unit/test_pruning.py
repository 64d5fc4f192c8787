"""Iterative pruning: against a plain loop, on planted circuits, and on made-up scores."""

import contextlib
import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch
from circuit_reuse.data import jobs
from circuit_reuse.engine import ablation_values, batching, interventions, models
from circuit_reuse.studies.common import scoring
from circuit_reuse.studies.sequences import evaluator, pruning, shares, stage_prune
from circuit_reuse.validate import planted_recovery, planted_tasks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MODELS, examples_for
from two_tasks import examples as two_examples
from two_tasks import load as load_two

LOG = logging.getLogger("test")
METRIC = "logit_difference"
CFG = {
    "thresholds": [0.2],
    "two_sided": True,
    "strategies": list(pruning.STRATEGIES[:5]),
    "strategy": "backward_first",
    "random_orders": 3,
    "draws": 2,
    "add_back": False,
}


@pytest.fixture(scope="module")
def small():
    return models.load(MODELS / "tiny-gpt2-small", "cpu", threads=1)


@pytest.fixture(scope="module")
def digits():
    return examples_for("digits", 12, MODELS / "tiny-gpt2-small")


def keeper_of(model, examples, tokens=512, **more):
    return evaluator.CircuitEvaluator(model, examples, examples, "mean", METRIC, tokens, **more)


def prune(evaluate, cfg=CFG, states=True, names=None):
    names = names or evaluate.model.space.of_kinds()
    scores = {name: float(place % 5) for place, name in enumerate(names)}
    pruning_runs = pruning.planned(cfg, evaluate.examples["cluster"], ("t",))
    generators = [
        pruning.steps(
            pruning_run,
            pruning.passes(pruning_run.strategy, names, scores, ("t", pruning_run.order)),
            evaluate.full,
            cfg["add_back"],
        )
        for pruning_run in pruning_runs
    ]
    return pruning_runs, evaluator.run(pruning_runs, generators, evaluate, LOG, states)


def plain_loop(model, examples, orders, limit, weights):
    """Pruning as one would write it down: every candidate alone, means taken again, all logits."""
    removed, names = set(), model.space.of_kinds()

    def score(out):
        values = np.empty(len(examples))
        full = np.empty(len(examples))
        means = ablation_values.reference_mean(model, examples, 10**6)
        for batch in batching.batches(examples, 10**6):
            instead = ablation_values.repeated(means[batch.clean.shape[1]], len(batch.rows))
            base = interventions.Base(batch.clean)
            for sets, found in (([sorted(out)], values), ([[]], full)):
                last = interventions.replace(model, base, sets, instead)
                found[batch.rows] = models.metric_values(last, *batch.targets(), METRIC)
        return (values @ weights) / (full @ weights)

    for order in orders:
        before = set(removed)
        for name in order:
            if name not in removed and limit.holds(score(removed | {name})):
                removed.add(name)
        if removed == before:
            break
    return set(names) - removed


def test_a_score_by_divergence_is_that_of_the_predictions_by_hand(small, digits):
    """1 - KL(intact || circuit) / KL(intact || empty): the intact model has 1, the empty circuit 0, whatever the answer is."""
    evaluate = evaluator.CircuitEvaluator(small, digits, digits, "mean", "kl", 512)
    names = small.space.of_kinds()
    sets = [frozenset(), frozenset(names), frozenset(names[:3])]
    scores = evaluate(sets).mean(1) / evaluate.full.mean()
    assert scores[0] == pytest.approx(1, abs=1e-5) and scores[1] == pytest.approx(0, abs=1e-5) and scores[2] < 1

    def predictions(removed):
        found = {}
        means = ablation_values.reference_mean(small, digits, 10**6)
        for batch in batching.batches(digits, 10**6):
            instead = ablation_values.repeated(means[batch.clean.shape[1]], len(batch.rows))
            last = interventions.replace(small, interventions.Base(batch.clean), [sorted(removed)], instead)
            found |= dict(zip(batch.rows, last.double().softmax(-1), strict=True))
        return torch.stack([found[row] for row in range(len(digits))])

    intact = predictions([])
    divergence = [(intact * (intact / predictions(each)).log()).sum(1).mean().item() for each in sets[1:]]
    assert scores[2] == pytest.approx(1 - divergence[1] / divergence[0], abs=1e-4)
    # What an earlier run knew is taken as it is, and changes nothing.
    known = dict(zip(sets, evaluate(sets).astype(np.float32), strict=True))
    resumed = evaluator.CircuitEvaluator(small, digits, digits, "mean", "kl", 512, known=known)
    further = frozenset(names[1:4])
    assert np.allclose(resumed([*sets, further]), evaluate([*sets, further])) and np.allclose(
        resumed.full, evaluate.full
    )
    # The answers do not enter it.
    other = digits.assign(answer=7, distractors=[[9]] * len(digits))
    again = evaluator.CircuitEvaluator(small, other, other, "mean", "kl", 512)
    assert np.allclose(again(sets), evaluate(sets))


def test_side_by_side_pruning_equals_the_plain_loop(small, digits):
    pruning_runs, _ = prune(
        keeper_of(small, digits), CFG | {"strategies": ["backward_first", "forward"], "random_orders": 1, "draws": 1}
    )
    names = small.space.of_kinds()
    for pruning_run in pruning_runs:
        orders = pruning.passes(pruning_run.strategy, names, {}, ("t", pruning_run.order))
        expected = plain_loop(small, digits, orders, pruning_run.limit, pruning_run.weights)
        assert set(names) - pruning_run.removed == expected, pruning_run.strategy


@pytest.mark.parametrize("folder", ["tiny-gpt2-small", "tiny-neox-small"])
def test_neither_batches_nor_where_a_run_begins_change_a_bit(folder, digits):
    model = models.load(MODELS / folder, "cpu", threads=1)
    found = []
    for tokens, states in ((2048, True), (2048, False), (300, True)):
        evaluate = keeper_of(model, digits, tokens)
        pruning_runs, _ = prune(evaluate, CFG | {"add_back": True}, states)
        found.append(([pruning_run.removed for pruning_run in pruning_runs], evaluate.used))
    first, second, third = found
    assert first[0] == second[0] == third[0]
    assert all(np.array_equal(first[1][key], value) for key, value in second[1].items())
    assert all(np.allclose(first[1][key], value, atol=1e-4) for key, value in third[1].items())


def test_what_is_known_is_not_run_again_and_the_rest_is_the_same(small, digits):
    first = keeper_of(small, digits)
    prune(first, CFG | {"thresholds": [0.1]})
    clean = keeper_of(small, digits)
    prune(clean, CFG | {"thresholds": [0.1, 0.2]})
    again = keeper_of(small, digits, known=first.used)
    prune(again, CFG | {"thresholds": [0.1, 0.2]})
    assert again.runs < clean.runs
    assert set(again.used) == set(clean.used)
    assert all(np.array_equal(again.used[key], clean.used[key]) for key in clean.used)
    assert keeper_of(small, digits, known=clean.used)([[]]).shape == (1, len(digits))


NECESSARY = ["successor", "induction", "chain", "and_gate"]


@pytest.mark.parametrize("architecture", ["gpt2", "neox"])
@pytest.mark.parametrize("name", NECESSARY)
def test_every_order_finds_a_planted_circuit_of_necessary_parts(name, architecture):
    model, truth = planted_recovery.load(name, architecture, 5)
    evaluate = keeper_of(model, planted_tasks.examples(name, 24, 5), 4096)
    pruning_runs, _ = prune(evaluate, CFG | {"add_back": True})
    assert {frozenset(set(model.space.of_kinds()) - pruning_run.removed) for pruning_run in pruning_runs} == {
        frozenset(truth)
    }


def test_of_two_heads_that_stand_in_for_each_other_any_order_leaves_one():
    model, truth = planted_recovery.load("or_gate", "gpt2", 5)
    pruning_runs, _ = prune(
        keeper_of(model, planted_tasks.examples("or_gate", 24, 5), 4096), CFG | {"random_orders": 8}
    )
    heads = [name for name in truth if "h" in name]
    left = [set(truth) - pruning_run.removed for pruning_run in pruning_runs]
    assert all(len(found & set(heads)) == 1 for found in left)
    # Which one is up to the order: that is what inclusion frequencies show.
    assert {name for found in left for name in found & set(heads)} == set(heads)
    rows = {
        row["component"]: row["frequency"]
        for row in pruning.inclusion(pruning_runs, model.space.of_kinds())
        if row["over"] == "orders"
    }
    assert 0 < rows[heads[0]] < 1 and rows[heads[0]] + rows[heads[1]] == 1


def test_scores_over_1_do_not_hide_a_head_that_works_against_the_task():
    model, examples = load_two("gpt2"), two_examples("first", 24)
    left = {}
    for two_sided in (True, False):
        cfg = CFG | {
            "two_sided": two_sided,
            "strategies": ["backward_first"],
            "thresholds": [0.1],
            "random_orders": 0,
            "draws": 0,
        }
        (pruning_run,), _ = prune(keeper_of(model, examples, 4096), cfg)
        left[two_sided] = set(model.space.of_kinds()) - pruning_run.removed
    # a1.h3 was planted to lower what a0.h1 and a2.h0 raise.
    assert "a1.h3" in left[True] and "a1.h3" not in left[False]
    assert {"a0.h1", "a2.h0"} <= left[True]


def test_the_published_order_of_computation_takes_mlp_means_with_the_heads_ablated(small, digits):
    evaluate = keeper_of(small, digits, means="published")
    removed = frozenset(["a0.h1", "a1.h0", "a2.h3", "m0", "m2"])
    found = evaluate([removed])[0]
    # By hand: corrupt prompts with those heads at their means, then the MLPs' means of these runs.
    (batch,) = batching.batches(digits, 10**6)
    _, corrupt = interventions.run(small, batch.corrupt)
    heads = corrupt.like(lambda tensor: tensor.mean(0, keepdim=True).expand_as(tensor))
    kept, hooks = {}, []
    names = interventions.hook_names(small)[2]
    for layer, head in ((0, 1), (1, 0), (2, 3)):

        def put(z, hook, layer=layer, head=head):
            z = z.clone()
            z[:, :, head] = heads.z[layer][:, :, head]
            return z

        hooks.append((f"blocks.{layer}.attn.hook_z", put))
    with torch.no_grad(), small.bridge.hooks(fwd_hooks=[*hooks, *interventions.keepers(kept, *names)]):
        models.logits(small, batch.corrupt)
    for layer in (0, 2):
        mean = kept[names[layer]].mean(0, keepdim=True)
        hooks.append((names[layer], lambda tensor, hook, mean=mean: mean.expand_as(tensor)))
    with torch.no_grad(), small.bridge.hooks(fwd_hooks=hooks):
        last = models.logits(small, batch.clean)
    expected = models.metric_values(last, *batch.targets(), METRIC)
    assert np.allclose(found[batch.rows], expected, atol=1e-4)
    assert not np.allclose(found, keeper_of(small, digits)([removed])[0], atol=1e-2)


class Made:
    """A evaluate of made-up scores: each component adds to the score, and pairs add more."""

    def __init__(self, names, single, pair):
        self.names, self.single, self.pair = names, single, pair
        self.full = np.ones(1)

    def score(self, removed):
        out = np.array([name in removed for name in self.names], dtype=float)
        return 1 - out @ self.single - out @ self.pair @ out

    def prune(self, pruning_run, strategy, add_back, seed=0):
        orders = pruning.passes(strategy, self.names, dict(zip(self.names, self.single, strict=True)), (seed,))
        generator = pruning.steps(pruning_run, orders, self.full, add_back)
        wanted = next(generator, None)
        while wanted is not None:
            values = np.array([[self.score(target)] for target in wanted])
            try:
                wanted = generator.send(values)
            except StopIteration:
                break


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(pruning.STRATEGIES[2:]), st.booleans())
def test_a_pruned_circuit_is_within_the_limit_and_nothing_more_can_go(seed, strategy, two_sided):
    rng = np.random.default_rng(seed)
    names = [f"a{layer}.h{head}" for layer in range(3) for head in range(3)] + ["m0", "m1", "m2"]
    made = Made(names, rng.normal(0.05, 0.08, 12), np.triu(rng.normal(0, 0.02, (12, 12)), 1))
    limit = pruning.Limit(0.2, two_sided)
    plain, better = (pruning.PruningRun(strategy, limit, np.ones(1)) for _ in range(2))
    made.prune(plain, strategy, False, seed)
    made.prune(better, strategy, True, seed)
    for pruning_run in (plain, better):
        score = made.score(pruning_run.removed)
        assert score == pytest.approx(pruning_run.score, abs=1e-8) and limit.holds(score)
    assert plain.removed == better.pruned
    for name in set(names) - plain.removed:
        assert not limit.holds(made.score(plain.removed | {name}))
    size = len(better.removed) - len(plain.removed)
    assert size > 0 or (size == 0 and limit.distance(better.score) <= limit.distance(plain.score))
    steps = stage_prune.steps_of([better], names)
    if steps:
        assert steps[-1]["n_components"] == 12 - len(better.removed)
        assert steps[-1]["score_train"] == pytest.approx(better.score)


def test_layers_go_from_the_last_with_the_mlp_first_or_from_the_first_with_the_heads_first():
    names = ["a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1"]
    assert pruning.layer_order(names, True) == ["m1", "a1.h0", "a1.h1", "m0", "a0.h0", "a0.h1"]
    assert pruning.layer_order(names, False) == names
    alternating = pruning.passes("forward_first", names, {}, ())
    assert next(alternating) == names and next(alternating)[0] == "m1"
    by_score = pruning.passes("attribution", names, dict(zip(names, [3, -1, 2, 0.5, -4, 1], strict=True)), ())
    assert next(by_score) == ["a1.h0", "a0.h1", "m1", "m0", "a0.h0", "a1.h1"] == next(by_score)
    random = [next(pruning.passes("random", names, {}, ("x", n))) for n in (0, 0, 1)]
    assert random[0] == random[1] != random[2]


def test_frequencies_frontier_and_stability_by_hand():
    names, limit = ["a0.h0", "a0.h1", "m0"], pruning.Limit(0.2)
    pruning_runs = [
        pruning.PruningRun("random", limit, np.ones(1), order=n, removed=frozenset(out))
        for n, out in enumerate([{"m0"}, {"m0", "a0.h1"}])
    ]
    rows = {row["component"]: row for row in pruning.inclusion(pruning_runs, names)}
    assert [rows[name]["frequency"] for name in names] == [1, 0.5, 0]
    assert rows["m0"]["frequency_low"] == 0 and rows["m0"]["frequency_high"] > 0.5
    assert pruning.frequent(list(rows.values()), 0.2, 0.5) == ["a0.h0", "a0.h1"]
    assert pruning.stability([{1, 2}, {2}, {1, 2}]) == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert pruning.pareto_front([(3, 5), (1, 9), (2, 9), (4, 1), (3, 4)]) == [(1, 9), (3, 4), (4, 1)]


def test_a_threshold_that_no_component_is_needed_for_is_an_error_with_the_score():
    cfg = CFG | {"thresholds": [0.03, 0.2, 0.25]}
    with pytest.raises(ValueError, match=r"still 81\.0 per cent.*thresholds: 0\.2, 0\.25"):
        stage_prune.check_empty(0.81, cfg, "digits")
    stage_prune.check_empty(0.5, cfg, "digits")
    with pytest.raises(ValueError, match="does not do digits"):
        shares.check_task(np.array([-1.0, 0.5]), "digits", "a model")


def test_held_out_examples_without_a_mean_of_their_length_are_left_out():
    used = pd.DataFrame({"split": ["train", "train", "held_out", "held_out"], "length": [5, 6, 6, 9]})
    train, held_out = jobs.replaceable_splits(used, "mean")
    assert len(train) == 2 and list(held_out["length"]) == [6]
    assert list(jobs.replaceable_splits(used, "corrupt")[1]["length"]) == [6, 9]


@pytest.mark.parametrize("seed", range(5))
def test_a_first_cut_keeps_the_limit_and_is_the_largest_of_its_order(seed):
    """Made-up scores that fall evenly: the cut is what trying every number would give."""
    rng = np.random.default_rng(seed)
    names = [f"a{layer}.h{head}" for layer in range(6) for head in range(8)]
    made = Made(names, rng.exponential(0.02, len(names)), np.zeros((len(names), len(names))))
    order = [names[n] for n in np.argsort(made.single)]
    pruning_run = pruning.PruningRun("attribution", pruning.Limit(0.2), np.ones(1))
    generator = pruning.first_cut(pruning_run, order, made.full)
    wanted, asked = next(generator), 0
    with contextlib.suppress(StopIteration):
        while True:
            asked += 1
            wanted = generator.send(np.array([[made.score(target)] for target in wanted]))
    largest = max(k for k in range(len(names)) if pruning_run.limit.holds(made.score(set(order[:k]))))
    said = pruning.cost("some-model", len(names), 1, 1, "always")
    assert asked <= int(re.search(r"at most (\d+) circuits a pruning run", said)[1]) == 6
    assert pruning_run.removed == frozenset(order[:largest])
    assert pruning_run.score == pytest.approx(made.score(pruning_run.removed))
    assert [name for _, action, name, _ in pruning_run.trace if action == "cut"] == order[:largest]


@pytest.mark.parametrize("strategy", ["backward_first", "attribution"])
def test_with_a_first_cut_a_circuit_is_within_the_limit_and_hardly_larger(small, digits, strategy):
    """Against the full pruning run on an embedded model: fewer candidates, the same limit."""
    found = {}
    names = small.space.of_kinds()
    values = scoring.score(small, next(batching.batches(digits, 10**6)), "atp", METRIC).mean(0)
    scores = dict(zip(small.space.names, values.tolist(), strict=True))
    for first in (False, True):
        evaluate = keeper_of(small, digits)
        pruning_run = pruning.PruningRun(strategy, pruning.Limit(0.2), np.ones(len(digits)))
        order = pruning.passes(strategy, names, scores, (0,))
        cut = next(pruning.passes("attribution", names, scores, ())) if first else ()
        generator = pruning.steps(pruning_run, order, evaluate.full, False, cut)
        evaluator.run([pruning_run], [generator], evaluate, LOG)
        score = evaluate([pruning_run.removed])[0].mean() / evaluate.full.mean()
        assert pruning_run.limit.holds(score)
        found[first] = (len(names) - len(pruning_run.removed), pruning_run.candidates)
    assert found[True][0] <= found[False][0] + 2
    assert found[True][1] <= found[False][1] + 5


def test_bootstrap_draws_take_whole_clusters():
    """Examples of a cluster are drawn together, and as many clusters as there are."""
    cfg = {
        "thresholds": [0.2],
        "two_sided": False,
        "strategies": [],
        "random_orders": 0,
        "draws": 20,
        "strategy": "backward_first",
    }
    clusters = np.array(list("aabbbc"))
    for each in pruning.planned(cfg, clusters, ("draws",)):
        of_cluster = [set(each.weights[clusters == name]) for name in "abc"]
        assert all(len(weights) == 1 for weights in of_cluster) and sum(map(max, of_cluster)) == 3
