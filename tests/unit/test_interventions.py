"""The batched engine against one hook a component and one example at a time."""

import pandas as pd
import pytest
import torch
from circuit_reuse.data import components
from circuit_reuse.engine import ablation_values, batching, effects, interventions, models, prepared
from support import examples_for

close = torch.testing.assert_close
SETS = [[], ["a0.h1"], ["m1", "a2.h0", "a1.h3"], ["input"], ["a0.h0", "a0.h1", "m0", "m2"]]


def slowly(model, tokens, names, instead, row):
    """One example, one hook a component, nothing batched."""
    hooks = []
    for name in names:
        layer, head = components.place(name)
        if layer is None:
            hooks.append(("embed.hook_out", lambda t, hook: instead.embedding[row : row + 1]))
        elif head is None:
            hooks.append((f"blocks.{layer}.hook_mlp_out", lambda t, hook, v=instead.mlp[layer]: v[row : row + 1]))
        else:

            def one(tensor, hook, head=head, value=instead.z[layer]):
                tensor = tensor.clone()
                tensor[:, :, head] = value[row : row + 1, :, head]
                return tensor

            hooks.append((f"blocks.{layer}.attn.hook_z", one))
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=hooks):
        return models.logits(model, tokens[row : row + 1])[0]


def test_many_interventions_in_one_batch_equal_one_at_a_time(model, batch):
    _, corrupt = interventions.run(model, batch.corrupt)
    last = interventions.replace(model, interventions.Base(batch.clean), SETS, corrupt)
    last = last.view(len(SETS), len(batch.rows), -1)
    for place, names in enumerate(SETS):
        for row in range(len(batch.rows)):
            close(last[place, row], slowly(model, batch.clean, names, corrupt, row), rtol=1e-4, atol=1e-4)


def test_removing_nothing_is_the_clean_run_and_everything_is_what_was_put_in(model, batch):
    last, _clean = interventions.run(model, batch.clean)
    other, corrupt = interventions.run(model, batch.corrupt)
    close(interventions.replace(model, interventions.Base(batch.clean), [[]], corrupt), last)
    everything = interventions.replace(model, interventions.Base(batch.clean), [model.space.names], corrupt)
    close(everything, other, rtol=1e-4, atol=1e-4)


def test_hooks_are_gone_after_a_run_even_if_it_fails(model, batch):
    before, clean = interventions.run(model, batch.clean)
    with pytest.raises(RuntimeError):
        interventions.replace(
            model,
            interventions.Base(batch.clean),
            [["a0.h0"]],
            clean.rows(torch.tensor([0])).like(lambda t: t[:, :1].expand(99, -1, *t.shape[2:])),
        )
    after, _ = interventions.run(model, batch.clean)
    close(after, before, rtol=0, atol=0)


def test_a_component_that_the_model_lacks_is_named(model, batch):
    with pytest.raises(ValueError, match=r"no a9\.h9"):
        interventions.masks(model.space, [["a9.h9"]])


def test_means_are_those_of_each_position_over_the_reference(model):
    examples = examples_for("digits", 9)
    means = ablation_values.reference_mean(model, examples, 40)
    length = int(examples["length"].iloc[0])
    whole = batching.batch_of(examples, list(range(9)), "cpu")
    _, acts = interventions.run(model, whole.corrupt)
    close(means[length].z[1][0], acts.z[1].mean(0), rtol=1e-4, atol=1e-5)
    close(means[length].mlp[2][0], acts.mlp[2].mean(0), rtol=1e-4, atol=1e-5)


def test_a_donor_is_another_example_of_the_same_length():
    examples = examples_for("ioi", 40)
    other = ablation_values.donors(examples, 3)
    assert (other != range(40)).all() and sorted(other) == list(range(40))
    lengths = examples["length"].to_numpy()
    assert (lengths[other] == lengths).all()
    with pytest.raises(ValueError, match="resample ablation needs two"):
        ablation_values.donors(examples[:1], 3)


def evaluator(model, replacement, rows=16, count=16):
    examples = examples_for("ioi", count)
    return effects.Evaluator(
        model, examples, examples, replacement, "logit_difference", model.space.of_kinds(["head"]), "top1", 20 * rows, 0
    )


def test_resampled_activations_are_those_of_the_donors(model):
    examples = examples_for("ioi", 16)
    donors = ablation_values.donors(examples, 0)
    for ready in prepared.prepared(model, examples, examples, "resample", 400):
        other = batching.batch_of(examples, list(donors[ready.batch.rows]), "cpu")
        own = interventions.run(model, ready.batch.clean)[1]
        close(ready.instead.z[1], interventions.run(model, other.clean)[1].z[1], rtol=0, atol=0)
        assert (ready.instead.z[1] - own.z[1]).abs().max() > 0.01


@pytest.mark.parametrize("replacement", ["zero", "mean", "corrupt", "resample"])
def test_keeping_a_circuit_is_removing_the_rest(model, replacement):
    run = evaluator(model, replacement)
    circuit = ["a0.h0", "a1.h2"]
    rest = [name for name in run.universe if name not in circuit]
    kept = run(effects.Intervention("c", "keep", [(None, circuit)]))
    removed = run(effects.Intervention("c", "remove", [(None, rest)]))
    close(torch.tensor(kept["metric"]), torch.tensor(removed["metric"]), rtol=1e-5, atol=1e-5)


def test_untouched_rows_have_no_divergence_and_the_metric_of_the_plain_run(model):
    run = evaluator(model, "corrupt")
    rows = run(effects.Intervention(None, "none", [(None, [])]))
    assert rows["kl"].abs().max() < 1e-5
    for batch in batching.batches(run.examples, 320):
        plain = models.metric_values(models.logits(model, batch.clean), *batch.targets(), "logit_difference")
        mine = rows.set_index("example").loc[run.examples["example"].iloc[batch.rows], "metric"]
        close(torch.tensor(mine.to_numpy()), plain, rtol=1e-5, atol=1e-5)


def test_rows_kept_from_an_earlier_file_equal_a_clean_run_exactly(model):
    run = evaluator(model, "corrupt")
    calls = []

    def evaluate(unit):
        calls.append(unit.circuit)
        return run(unit)

    first = {"c1": (["a0.h1"], [["a1.h1"], ["a1.h2"]])}
    both = first | {"b2": (["a2.h1"], [["a0.h4"], ["a0.h5"]])}
    units = effects.interventions_of(both, ["remove", "keep"], 1)
    before, _, _ = effects.update(None, effects.interventions_of(first, ["remove", "keep"], 1), "x", evaluate)
    calls.clear()
    grown, kept, new = effects.update(before, units, "x", evaluate)
    assert (kept, new) == (4, 2) and calls == ["b2", "b2"]
    clean, _, _ = effects.update(None, units, "x", evaluate)
    assert grown.equals(clean)
    _changed, kept, new = effects.update(before, units, "another model", evaluate)
    assert kept == 0


def test_examples_without_a_counterpart_of_their_length_are_left_out():
    import logging

    import pandas as pd
    from circuit_reuse.engine.ablation import replaceable

    log = logging.getLogger()
    tested, train = pd.DataFrame({"length": [5, 5, 7]}), pd.DataFrame({"length": [5, 6]})
    assert len(replaceable(tested, train, "corrupt", log)) == 3
    assert replaceable(tested, train, "mean", log)["length"].tolist() == [5, 5]
    assert replaceable(tested, train, "resample", log)["length"].tolist() == [5, 5]
    with pytest.raises(ValueError, match="no held-out example"):
        replaceable(tested[2:], train, "mean", log)


def test_rank_correctness_and_divergence_by_hand():
    last = torch.tensor([[1.0, 3.0, 2.0], [5.0, 1.0, 2.0]])
    clean = torch.tensor([[1.0, 3.0, 2.0], [1.0, 5.0, 2.0]]).log_softmax(-1)
    answer, distractor = torch.tensor([1, 1]), torch.tensor([0, 2])
    found = effects.outcomes(last, clean, (answer, distractor, None), "logit_difference", "top1")
    assert found["metric"].tolist() == [2.0, -1.0]
    assert found["rank"].tolist() == [1, 3] and found["correct"].tolist() == [True, False]
    expected = sum(p * (p.log() - q) for p, q in zip(clean[1].exp(), last[1].log_softmax(-1), strict=True))
    close(torch.tensor(found["kl"][1]), expected, rtol=1e-5, atol=1e-6)


def test_what_effects_depend_on_has_all_answers_where_examples_have_them(tmp_path):
    """Also of a table that was read, whose lists are arrays."""
    frame = examples_for("greater_than", 4).assign(choices=[[[1, 2], [3]]] * 4)
    frame[["example", "clean_tokens", "corrupt_tokens", "answer", "distractors", "choices"]].to_parquet(
        tmp_path / "x.parquet"
    )
    read = pd.read_parquet(tmp_path / "x.parquet")

    def context(table, metric="probability_difference"):
        return effects.context_of("model", table, table, "mean", metric, [], "code", 0)

    other = frame.assign(choices=[[[1, 2], [4]]] * 4)
    assert context(frame) == context(read) != context(other)
    # Whatever the metric: the accuracy may go by them.
    assert context(frame, "logit_difference") != context(other, "logit_difference")
    assert context(frame.assign(choices=None)) not in (context(frame), context(other))
    # Kept rows hold the examples' numbers: the same prompts further down in a file are run again.
    assert context(frame.assign(example=frame["example"] + 1)) != context(frame)
