"""Differences between two sets of texts: a slow twin, invariances, artefacts of length, planted models."""

import logging
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from circuit_reuse.data import components
from circuit_reuse.engine import batching, interventions
from circuit_reuse.stats import statistics, testing
from circuit_reuse.studies.common import scoring as batch_scores
from circuit_reuse.studies.contrast import differences as measure
from circuit_reuse.studies.contrast import findings, measures, pooling, stage_differences, streaming, texts, verdict
from circuit_reuse.validate import planted_recovery, planted_tasks
from support import MODELS, examples_for

POOLS = ("all", "words", "start", "end", "last", "matched")
SCORINGS = {
    "published": {"positions": "all", "score": "mean_of_norms", "scale": "none"},
    "aligned": {"positions": "start", "score": "distance", "scale": "spread"},
    "per_dimension": {"positions": "words", "score": "distance", "scale": "dimension"},
}
STREAM = (0, "test")


def conditioned(pairs, name, starts=1, filler=(), longest=4, clusters=None):
    """The pairs of a condition, each its own cluster unless told."""
    clusters = clusters or [f"pair {n}" for n in range(len(pairs))]
    return texts.condition(pairs, clusters, name, starts, list(filler), longest, STREAM)


@pytest.fixture(scope="module")
def unequal():
    """Real pairs of unequal length, a BOS token in front of each."""
    table = examples_for("sarcasm", 24)
    pairs = texts.of_task(table, "sarcastic")
    return conditioned(pairs, "padded", filler=[pairs[0][1][1]])


def run(model, pairs, flips=99, draws=40, used=POOLS, tokens=512):
    return measure.measure(model, pairs, list(used), flips, draws, STREAM, tokens)[0]


@torch.no_grad()
def slow_means(model, tokens, pool, other, starts):
    """One text at a time, each component by its own hook, positions averaged in words."""
    _, acts = interventions.run(model, torch.tensor([tokens]))
    length, words = len(tokens), len(tokens) - starts
    shared = min(words, other - starts)
    places = {
        "all": range(length),
        "words": range(starts, length),
        "matched": range(starts, length),
        "start": range(starts, starts + shared),
        "end": range(length - shared, length),
        "last": [length - 1],
    }[pool]
    found = {}
    for name in model.space.names:
        layer, head = components.place(name)
        output = acts.embedding if layer is None else acts.mlp[layer] if head is None else acts.z[layer][:, :, head]
        found[name] = torch.stack([output[0, place].double() for place in places]).mean(0).numpy()
    return found


@pytest.mark.parametrize("pool", POOLS)
def test_scores_are_those_of_a_slow_twin(model, unequal, pool):
    pairs = [p for p in unequal if pool != "matched" or len(p.first) == len(p.second)]
    sums = run(model, unequal, used=[pool])[pool]
    means = [
        (slow_means(model, p.first, pool, len(p.second), 1), slow_means(model, p.second, pool, len(p.first), 1))
        for p in pairs
    ]
    norms, distance = sums.mean_of_norms("none")[0], sums.distance("spread")[0][0]
    for place, name in enumerate(model.space.names):
        first, second = (np.array([each[side][name] for each in means]) for side in (0, 1))
        change = first - second
        assert norms[place] == pytest.approx(np.linalg.norm(change, axis=1).mean(), rel=1e-4, abs=1e-6)
        n = len(change)
        cross = sum(change[i] @ change[j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        spread = (first.var(0, ddof=1).sum() + second.var(0, ddof=1).sum()) / 2
        if spread > 1e-9:
            expected = np.sign(cross) * np.sqrt(abs(cross) / spread)
            assert distance[place] == pytest.approx(expected, rel=1e-2, abs=2e-3)


def test_no_result_depends_on_batches_or_on_what_else_is_compared(model, unequal, monkeypatch):
    whole = run(model, unequal)
    monkeypatch.setattr(measure, "CHUNK", 4)
    parts = run(model, unequal, tokens=20, used=["start", "all"])
    for pool in ("start", "all"):
        for one, other in zip(whole[pool].distance("none"), parts[pool].distance("none"), strict=True):
            assert np.abs(one - other).max() < 1e-4
        assert parts[pool].p_distance() == pytest.approx(whole[pool].p_distance())
        assert parts[pool].excess("none")[0] == pytest.approx(whole[pool].excess("none")[0], abs=1e-5)


def test_scaling_by_spread_does_not_know_units(model, unequal):
    """A component in other units, or of more dimensions that do nothing, has the same score."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 1, (40, 5)), rng.normal(0, 1, (40, 5))
    owner = torch.tensor([0] * 5 + [1] * 5 + [2] * 8)
    wide = [np.hstack([each, 100 * each, each, np.zeros((40, 3))]) for each in (first, second)]
    sums = filled(owner, 3, *wide)
    for scores in (sums.distance("spread")[0][0], sums.mean_of_norms("spread")[0]):
        assert scores[1] == pytest.approx(scores[0], rel=1e-4)
        assert scores[2] == pytest.approx(scores[0], rel=1e-4)
    norms = sums.mean_of_norms("none")[0]
    assert norms[1] == pytest.approx(100 * norms[0], rel=1e-4)


def filled(owner, count, first, second, flips=199, draws=200, seed=0, clusters=None):
    """Running sums of given activations."""
    sums = streaming.Sums(owner, count, flips, draws, 1e-5, clusters and max(clusters) + 1)
    names = list(range(len(first))) if clusters is None else list(clusters)
    signs, weights = measure.signs_and_weights(("sums", seed), names, flips, draws)
    both = (torch.tensor(each, dtype=torch.float32) for each in (first, second))
    sums.add(*both, signs, weights, None if clusters is None else np.array(clusters))
    return sums


def test_p_values_are_uniform_where_labels_mean_nothing():
    """Of both statistics, for correlated pairs of skewed activations."""
    rng, found = np.random.default_rng(3), []
    owner = torch.arange(50).repeat_interleave(3)
    for seed in range(16):
        base = rng.normal(size=(16, 150)) ** 3
        first, second = (base + rng.normal(size=base.shape) ** 3 for _ in range(2))
        sums = filled(owner, 50, first, second, seed=seed)
        found.append(np.concatenate([sums.p_distance(), sums.excess("none")[1]]))
    found = np.array(found)
    for rate in (0.05, 0.2, 0.5):
        # 1,600 p-values; those of one draw of labels hang together a little.
        assert np.mean(found <= rate) == pytest.approx(rate, abs=0.025)


@pytest.mark.parametrize(("words", "expected"), [(10, 0.05), (None, 0.4)])
def test_pairs_that_share_words_are_one_piece_of_evidence(words, expected):
    """Differences that hang on the words, without any between the sets: flipped together they mean nothing;
    pair by pair, most comparisons of 80 pairs come out significant."""
    rng, owner, found = np.random.default_rng(11), torch.arange(60).repeat_interleave(2), []
    for seed in range(12):
        cluster = np.arange(80) % 10
        of_word = rng.normal(size=(10, 120))[cluster]
        first, second = of_word + rng.normal(size=(80, 120)) * 0.5, np.zeros((80, 120))
        told = None if words is None else cluster.tolist()
        sums = filled(owner, 60, first, second, seed=seed, flips=99, draws=20, clusters=told)
        found.append(sums.p_distance())
        if words is not None:
            # Nor does what pairs of a word share make the distance longer.
            assert abs(np.median(sums.distance("none")[0][0] ** 2 * np.sign(sums.distance("none")[0][0]))) < 0.25
    rate = np.mean(np.array(found) <= 0.05)
    assert rate == pytest.approx(expected, abs=0.03) if words is not None else rate > expected


def test_clusters_are_pairs_that_share_words_directly_or_not():
    pairs = [
        ("a", [0, 1, 5], [0, 2, 5]),
        ("b", [0, 2, 6], [0, 3, 6]),
        ("c", [0, 7, 5], [0, 8, 5]),
        ("d", [0, 8], [0, 7]),
    ]
    found = texts.clusters_of(pairs)
    assert found[0] == found[1] != found[2] == found[3]
    balanced = texts.of_task(examples_for("sarcasm_balanced", 60), "sarcastic")
    assert len(set(texts.clusters_of(balanced))) == 8
    crossed = texts.of_task(examples_for("sarcasm", 60), "sarcastic")
    assert len(set(texts.clusters_of(crossed))) == 1


def test_a_distance_of_clusters_is_that_of_a_slow_twin():
    rng, owner = np.random.default_rng(2), torch.tensor([0] * 4)
    first, second = rng.normal(size=(12, 4)), rng.normal(size=(12, 4))
    clusters = [0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5]
    change, total, count = first - second, 0.0, 0
    for i in range(12):
        for j in range(12):
            if clusters[i] != clusters[j]:
                total, count = total + change[i] @ change[j], count + 1
    sums = filled(owner, 1, first, second, clusters=clusters)
    expected = np.sign(total) * np.sqrt(abs(total) / count)
    assert sums.clusters == 6 and sums.distance("none")[0][0] == pytest.approx(expected, rel=1e-4)


def test_a_draw_of_clusters_is_that_of_a_slow_twin():
    """Each cluster counts as often as its weight says, and is never paired with itself."""
    rng, owner = np.random.default_rng(6), torch.tensor([0] * 4)
    first, second = rng.normal(size=(2, 12, 4))
    clusters = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5])
    sums = filled(owner, 1, first, second, draws=30, clusters=clusters.tolist())
    _, weights = measure.signs_and_weights(("sums", 0), clusters.tolist(), 199, 30)
    found = sums.distance("none")[0][1:, 0]
    assert np.isfinite(found).sum() > 20
    apart = clusters[:, None] != clusters[None, :]
    change = first - second
    for value, weight in zip(found, weights, strict=True):
        if np.isfinite(value):
            both = np.outer(weight, weight) * apart
            u = (both * (change @ change.T)).sum() / both.sum()
            assert value == pytest.approx(np.sign(u) * np.sqrt(abs(u)), rel=1e-3, abs=1e-4)


def test_what_is_the_same_by_construction_counts_as_none_whatever_rounding_says():
    rng, owner = np.random.default_rng(8), torch.tensor([0] * 4)
    first = rng.normal(size=(10, 4))
    signs, weights = measure.signs_and_weights(STREAM, range(10), 19, 20)
    sums = streaming.Sums(owner, 1, 19, 20, 1e-5)
    both = (torch.tensor(each, dtype=torch.float32) for each in (first, first + 0.01))
    norms = sums.add(*both, signs, weights, same=np.ones(10, dtype=bool))
    assert (norms == 0).all() and sums.p_distance()[0] == 1


def test_a_draw_of_too_few_pairs_has_no_distance():
    rng, owner = np.random.default_rng(4), torch.tensor([0] * 6)
    sums = filled(owner, 1, *rng.normal(size=(2, 5, 6)), draws=400)
    scores = sums.distance("spread")[0][1:, 0]
    assert np.isnan(scores).any() and np.nanmax(np.abs(scores)) < 50


def test_what_both_texts_begin_with_is_the_same_by_construction():
    one = texts.Pair("a", "a", [0, 1, 2, 3], [0, 1, 2], 1)
    two = texts.Pair("b", "b", [0, 1, 2, 3], [0, 2, 3], 1)
    assert measure.identical("start", one) and not measure.identical("start", two)
    assert not measure.identical("all", one) and not measure.identical("end", one)


def test_a_text_without_its_beginning_differs_to_every_scoring(model):
    """Positions counted from the front hold other words then: this control can fail, and does."""
    real = texts.of_task(examples_for("sarcasm", 30), "sarcastic")
    pairs = conditioned(real, "left_truncated")
    assert all(p.first[-1] == p.second[-1] and p.first[0] == p.second[0] for p in pairs)
    sums = run(model, pairs)
    for pool in ("all", "start", "end"):
        assert np.nanmedian(sums[pool].distance("spread")[0][0]) > 0.2


def test_a_difference_without_noise_is_found_and_one_of_noise_is_not():
    """The distance is not larger the more dimensions or spread a component has."""
    rng = np.random.default_rng(5)
    owner = torch.tensor([0] * 4 + [1] * 400)
    scores = []
    for seed in range(40):
        first, second = rng.normal(size=(30, 404)), rng.normal(size=(30, 404))
        first[:, 0] += 2
        scores.append(filled(owner, 2, first, second, seed=seed).distance("spread")[0][0])
    mean = np.mean(scores, axis=0)
    # Two units apart, in units of the root of 4 variances; the other not at all.
    assert mean[0] == pytest.approx(1, abs=0.1) and abs(mean[1]) < 0.02
    norms = filled(owner, 2, first, second).mean_of_norms("none")[0]
    assert norms[1] > 5 * norms[0]


def test_intervals_hold_what_they_say():
    rng, owner, inside = np.random.default_rng(7), torch.tensor([0] * 6), 0
    scoring = SCORINGS["aligned"]
    for seed in range(150):
        first, second = rng.normal(size=(40, 6)) + 0.5, rng.normal(size=(40, 6))
        sums = filled(owner, 1, first, second, flips=19, draws=300, seed=seed)
        row = stage_differences.scored(sums, scoring, Flat)[0].iloc[0]
        inside += row["score_low"] <= 0.5 <= row["score_high"]
    assert 0.9 <= inside / 150 <= 1


@pytest.mark.parametrize("pairs", [5, 6])
def test_a_difference_of_few_clusters_has_a_score_and_neither_p_nor_interval(pairs):
    """Of five pairs no sign flip can give a p below .05, so there is none, and no interval; of six there are."""
    rng = np.random.default_rng(1)
    sums = filled(torch.tensor([0] * 6), 1, rng.normal(size=(pairs, 6)) + 3, rng.normal(size=(pairs, 6)))
    for scoring in SCORINGS.values():
        row = stage_differences.scored(sums, scoring, Flat)[0].iloc[0]
        assert row["score"] > 0
        missing = np.isnan(row[["p_value", "q_value", "score_low", "score_high"]].astype(float))
        assert missing.all() if pairs == 5 else not missing.any()
        assert np.isnan(row["p_excess"]) or pairs == 6


class Flat:
    """A component space of one component."""

    names = ("input",)

    @staticmethod
    def write_cost(name):
        return 6


def test_a_pair_is_left_out_only_where_its_lengths_differ(unequal):
    for pair in unequal:
        for pool in POOLS:
            sides = [(len(pair.first), len(pair.second)), (len(pair.second), len(pair.first))]
            found = [pooling.weights(pool, *side, 1) for side in sides]
            if pool == "matched" and len(pair.first) != len(pair.second):
                assert found == [None, None]
                continue
            for weights in found:
                assert weights.sum() == pytest.approx(1)
                assert pool == "all" or weights[0] == 0
            counts = [np.count_nonzero(each) for each in found]
            assert pool in ("all", "words") or counts[0] == counts[1]


def test_length_alone_is_a_difference_to_the_published_scoring_only(model):
    """The same texts, right_truncated: everything that the published score finds is length."""
    real = texts.of_task(examples_for("sarcasm", 40), "sarcastic")
    pairs = conditioned(real, "right_truncated", 1)
    assert all(p.first[: len(p.second)] == p.second and len(p.first) > len(p.second) for p in pairs)
    sums = run(model, pairs)
    aligned = sums["start"].distance("spread")[0][0]
    assert np.nanmax(np.abs(aligned)) == 0 and (sums["start"].p_distance() == 1).all()
    published, p = sums["all"].excess("none")
    scores = sums["all"].mean_of_norms("none")[0]
    mlps = [model.space.names.index(f"m{layer}") for layer in range(model.space.layers)]
    assert (p[mlps] < 0.05).all() and (scores[mlps] > 0.3).all() and (published[mlps] > 0).all()


def test_leaving_bos_out_of_a_mean_is_not_enough(model):
    """What was cut off was part of the mean, too: only positions that both texts have can be compared."""
    real = texts.of_task(examples_for("sarcasm", 40), "sarcastic")
    sums = run(model, conditioned(real, "right_truncated", 1))
    assert sums["words"].mean_of_norms("none")[0].max() > 0.3
    assert sums["start"].mean_of_norms("none")[0].max() == 0


def test_shuffled_labels_change_no_published_score_and_leave_no_distance(model):
    real = texts.of_task(examples_for("sarcasm", 40), "sarcastic")
    kept, shuffled = (run(model, conditioned(real, name, 1), used=["all", "start"]) for name in ("real", "shuffled"))
    before, after = (each["all"].mean_of_norms("none")[0] for each in (kept, shuffled))
    assert after == pytest.approx(before, rel=1e-4)
    assert np.nanmedian(kept["start"].distance("spread")[0][0]) > 0.2
    assert np.nanmedian(shuffled["start"].distance("spread")[0][0]) < 0.1


def test_unrelated_texts_are_each_in_one_pair():
    real = [(str(n), [0, n], [0, 100 + n]) for n in range(14)]
    pairs = conditioned(real, "unrelated", 1)
    used = [tuple(side) for pair in pairs for side in (pair.first, pair.second)]
    numbers = [token % 100 for _, token in used]
    assert len(numbers) == len(set(numbers)) >= 12
    assert all((p.first[1] < 100) == (p.second[1] < 100) for p in pairs)


def test_halves_share_no_text():
    real = [(str(n), [0, n], [0, 100 + n]) for n in range(9)]
    halves = [{p.name for p in conditioned(real, f"half_{h}", 1)} for h in (1, 2)]
    assert not halves[0] & halves[1] and len(halves[0] | halves[1]) == 9


@cache
def planted(seed=4):
    """A model with a known circuit, texts of two classes of answers, and what the study says of them."""
    model, circuit = planted_recovery.load("selector", "gpt2", seed)
    table = planted_tasks.examples("selector", 240, seed)
    # First texts have an answer of the first six symbols, second texts one of the others.
    low = table["answer"] < planted_tasks.SYMBOLS // 2
    table = table[low != (table["distractors"].str[0] < planted_tasks.SYMBOLS // 2)].assign(split="held_out", used=True)
    pairs = [
        (
            row.id,
            *sorted(
                [row.clean_tokens, row.corrupt_tokens],
                key=lambda t, r=row: (t == r.clean_tokens) != (r.answer < planted_tasks.SYMBOLS // 2),
            ),
        )
        for row in table.itertuples()
    ]
    sums, _ = measure.measure(model, conditioned(pairs, "real", 0), ["all", "start"], 199, 100, STREAM, 4096)
    frames = []
    for name, chosen in list(SCORINGS.items())[:2]:
        rows, _ = stage_differences.scored(sums[chosen["positions"]], chosen, model.space)
        frames.append(rows.assign(model="planted", set="classes", condition="real", scoring=name))
    batch = batching.batch_of(table.head(60).reset_index(drop=True), range(60), "cpu")
    exact = batch_scores.score(model, batch, "patching", "logit_difference").numpy()
    return model, circuit, table.head(60), pd.concat(frames, ignore_index=True), exact


CFG = {
    "seed": 0,
    "margin": 0.02,
    "scorings": SCORINGS,
    "scoring_names": list(SCORINGS),
    "tests": {"bootstrap": 200, "permutations": 999, "alpha": 0.05},
}


def told():
    """The components table of the planted model, and what the page says of it."""
    model, circuit, table, differences, exact = planted()
    names = model.space.names
    scores = pd.DataFrame(
        {
            "example": np.repeat(table["example"].to_numpy(), len(names)),
            "component": pd.Categorical(names * len(table), categories=names),
            "score": exact.ravel(),
        }
    )
    clean, corrupt = exact[:, 0] * 0, exact[:, 0]
    frame = table.assign(clean_metric=clean, corrupt_metric=corrupt)
    single = pd.DataFrame(measures.singles(scores, frame, CFG, STREAM)).assign(model="planted", set="classes")
    for name in ("effect", "absent"):
        single[f"q_{name}"] = statistics.false_discovery(single[f"p_{name}"])
    joined = measures.joined(differences, single, CFG)
    return circuit, joined, findings.singles({"components": joined}, CFG)


def test_differences_find_decoys_and_patching_does_not():
    """Components that are busy and do nothing: activation cannot tell them from the circuit."""
    model, circuit, _, differences, exact = planted()
    names = np.array(model.space.names)
    truth = np.isin(names, circuit)
    assert np.abs(exact).mean(0)[~truth & (names != "input")].max() < 0.01 * np.abs(exact).mean(0)[truth].min()
    for scoring in ("published", "aligned"):
        mine = differences[differences["scoring"] == scoring].set_index("component")
        decoys = mine.loc[names[~truth & (names != "input")]]
        assert (decoys["q_value"] < 0.05).mean() > 0.8
        assert (decoys["score"] > mine.loc[circuit, "score"].min()).any()


def test_the_report_says_which_components_are_busy_and_do_nothing():
    circuit, joined, text = told()
    aligned = joined[joined["scoring"] == "aligned"].set_index("component")
    assert (aligned.loc[circuit, "interpretation"] == "does").all()
    idle = set(aligned.index[aligned["interpretation"] == "idle"])
    assert len(idle) > 10 and not idle & set(circuit)
    line = next(line for line in text.splitlines() if line.startswith("- `aligned`"))
    assert "nothing alone" in line and any(name in line for name in idle)
    assert not any(f" {name}," in line or f" {name} do" in line for name in circuit)


@pytest.mark.parametrize(
    ("low", "high", "q_absent", "q_effect", "q_value", "expected"),
    [
        (0.1, 0.2, 0.9, 0.001, 0.001, "does"),
        (0.1, 0.2, 0.9, 0.2, 0.001, "open"),
        (-0.01, 0.01, 0.01, 0.5, 0.001, "idle"),
        (-0.01, 0.05, 0.2, 0.5, 0.001, "open"),
        (0.1, 0.2, 0.9, 0.001, 0.5, "silent"),
        (-0.01, 0.01, 0.01, 0.5, 0.5, "none"),
        (-0.3, -0.1, 0.9, 0.001, 0.001, "does"),
        (0.005, 0.015, 0.01, 0.001, 0.001, "idle"),
        # It helps some examples as much as it harms others: its mean is nothing, it is not.
        (-0.01, 0.01, 0.9, 0.5, 0.001, "open"),
        # A q of exactly alpha is enough, as in every study: it is the least q that as many draws as are asked for can give.
        (0.1, 0.2, 0.9, 0.05, 0.05, "does"),
    ],
)
def test_readings(low, high, q_absent, q_effect, q_value, expected):
    row = {
        "effect_share": (low + high) / 2,
        "effect_share_low": low,
        "effect_share_high": high,
        "q_absent": q_absent,
        "q_effect": q_effect,
        "q_value": q_value,
    }
    assert measures.interpretation(row, CFG) == expected


def test_effects_that_cancel_are_seen_in_their_size():
    effects = np.tile([0.5, -0.5], 12)
    frame = pd.DataFrame(
        {
            "example": range(24),
            "cluster": range(24),
            "used": True,
            "split": "held_out",
            "clean_metric": 0.0,
            "corrupt_metric": -5.0,
        }
    )
    scores = pd.DataFrame({"example": range(24), "component": pd.Categorical(["m0"] * 24), "score": effects})
    row = measures.singles(scores, frame, CFG, STREAM)[0]
    assert row["effect_share"] == pytest.approx(0) and row["effect_share_absolute"] == pytest.approx(0.1)
    assert row["p_effect"] > 0.5 and row["p_absent"] == 1
    # A share of a whole that goes the other way is none.
    assert "effect_share" not in measures.singles(scores, frame.assign(corrupt_metric=5.0), CFG, STREAM)[0]


def test_scores_below_nothing_are_no_share_of_one_another():
    """Differences of noise may be negative: one negative score over another is not "twice as much"."""
    about = {"n_pairs": 9, "n_clusters": 9, "q_value": np.nan}
    real, other = (
        pd.DataFrame({"component": ["m0", "m1", "m2", "m3"], "score": score} | about).set_index("component")
        for score in ([-0.2, -0.1, 0.05, 0.1], [-0.4, -0.3, 0.1, -0.1])
    )
    found = measures.beside(other, real, "left_truncated", SCORINGS["aligned"], 0.05)
    assert found["ratio"] == pytest.approx(1)  # of 2 and 0


def test_halves_are_one_family():
    """A p below the level among many comparisons is not enough to say that the difference shapes what is found."""
    rows = [
        {"pair": f"m, s{n}: aligned, two halves", "kind": "halves", "statistic": name, "value": value}
        for n in range(4)
        for name, value in (("jaccard", 0.5), ("jaccard_labels", 0.4), ("p_labels", 0.04 if n == 0 else 0.6))
    ]
    table, cfg = pd.DataFrame(rows), {"alpha": 0.05, "thresholds": {"jaccard": None}, "scorings": SCORINGS}
    assert "The difference shapes" not in verdict.worth(table, cfg)
    assert "The difference shapes" in verdict.worth(table[table["pair"].str.contains("s0")], cfg)


def test_a_component_without_a_measured_effect_has_no_reading():
    assert measures.interpretation({"effect_share": float("nan")}, CFG) is None


def test_texts_that_do_not_fit_are_named():
    pairs = [texts.Pair("good", "a", [0, 1], [0, 2], 1), texts.Pair("long", "b", [0] * 9, [0, 1], 1)]
    with pytest.raises(texts.TextError, match="'long' has a text of 9 tokens, and the model has 8"):
        texts.check_length(pairs, 8)


def test_pairs_of_a_file_are_told_apart_by_their_cluster_if_it_has_one(tmp_path):
    from circuit_reuse.data.examples import load_tokenizer

    tokenizer, bos = load_tokenizer(MODELS / "tiny-gpt2-medium")
    path = tmp_path / "texts.csv"
    path.write_text("first,second\n" + "".join(f"the printer {n},a phone {n}\n" for n in range(8)))
    pairs, clusters, left = texts.of_file(path, 0.5, None, tokenizer, bos, STREAM)
    assert len(pairs) == len(set(clusters)) == 4 and left == 0
    assert all(first[0] == second[0] == bos and first != second for _, first, second in pairs)
    path.write_text("first,second,cluster\n" + "".join(f"the printer {n},a phone {n},{n % 3}\n" for n in range(8)))
    _, clusters, _ = texts.of_file(path, 0.001, None, tokenizer, None, STREAM)
    assert clusters == ["0", "1", "2", "0", "1", "2", "0", "1"]
    # As asked for: every pair by itself, whatever the file says.
    cfg = {"paired": True, "first": None, "second": None, "held_out_share": 0.001}
    for cluster, count in (("auto", 3), ("pair", 8)):
        asked = cfg | {"cluster": cluster}
        found = stage_differences.pairs_of(
            SimpleNamespace(file=str(path)), asked, tokenizer, None, STREAM, "own", logging
        )
        assert len(set(found[1])) == count and len(found[0]) == 8


def test_unpaired_texts_are_paired_by_length_first(tmp_path):
    from circuit_reuse.data.examples import load_tokenizer

    tokenizer, bos = load_tokenizer(MODELS / "tiny-gpt2-medium")
    # Texts of two and of three words, all different.
    words = "the my our".split()
    rows = [
        (f"{w} {t}", n)
        for w in words
        for t, n in (("printer", "x"), ("red printer", "x"), ("phone", "y"), ("blue phone", "y"), ("new", "y"))
    ]
    path = tmp_path / "texts.csv"
    path.write_text("text,set\n" + "".join(f"{text},{name}\n" for text, name in rows))
    pairs, clusters, left = texts.of_file(path, 0.001, ("x", "y"), tokenizer, bos, STREAM)
    assert len(pairs) == len(set(clusters)) == 6 and left == 3
    assert all(len(first) == len(second) and first[0] == bos for _, first, second in pairs)


def effects_of(full, floor, kept):
    """Outcomes of one circuit kept alone and removed on 12 examples, and of 19 random ones of its composition."""
    rng, frames = np.random.default_rng(0), []

    def run(circuit, direction, metric, control=None):
        rows = {"example": range(12), "cluster": range(12), "metric": metric + 0.01 * rng.normal(size=12)}
        named = {"circuit": circuit, "direction": direction, "control": control}
        frames.append(pd.DataFrame(rows | {"correct": True, "kl": 0.0, "rank": 1}).assign(**named))

    run(None, "none", full)
    run("empty", "keep", floor)
    for direction in ("keep", "remove"):
        run("c", direction, kept)
        for number in range(19):
            run("1 head", direction, floor + 0.1 * number, number)
    frame = pd.concat(frames, ignore_index=True)
    return testing.Outcomes(frame.assign(control=frame["control"].astype("Int32")))


def test_what_a_circuit_keeps_is_its_share_of_the_way_from_everything_removed():
    for full, floor, kept, share in ((3.0, 0.0, 1.5, 0.5), (4.0, 2.0, 3.5, 0.75)):
        outcomes = effects_of(full, floor, kept)
        found = testing.kept_columns(outcomes, "c", outcomes.baseline("metric"), 50, 0)
        assert found["faithfulness"] == pytest.approx(share, abs=0.03)
    outcomes = effects_of(-0.2, 0.1, 0.0)
    assert testing.kept_columns(outcomes, "c", outcomes.baseline("metric"), 50, 0) == {}


def test_a_share_of_a_way_that_goes_the_wrong_way_is_none():
    """A model that is better with everything corrupted: a circuit that is worse than both keeps nothing, and is not the best of all."""
    space = components.Space(2, 12, 24, 2)
    chosen = pd.DataFrame(
        {"condition": ["real"], "main": True, "scored_by": "published", "rule": "ratio", "circuit": "c", "cost": 1}
        | {"dimensions": 24, "budget": 0.5, "components": [["a0.h0"]]}
    )
    cfg = {"attribution": "eap-ig", "random_sets": 19, "tests": {"bootstrap": 100, "permutations": 99}}
    for full, floor, known in ((3.0, 0.0, True), (-0.2, 0.1, False)):
        outcomes = effects_of(full, floor, -0.5)
        (row,) = measures.tested(outcomes, chosen, space, cfg, ("s", "m", "set", "contrast"))
        shares = [row[name] for name in ("faithfulness", "p_faithfulness", "effect_share", "p_effect_share")]
        assert all((value is not None) is known for value in shares)
        assert row["n_random"] == 19 and row["accuracy_kept"] == 1
    # Best of all when kept, and doing least of all when removed.
    (row,) = measures.tested(effects_of(3.0, 0.0, 2.9), chosen, space, cfg, ("s", "m", "set", "contrast"))
    assert (row["p_faithfulness"], row["p_effect_share"]) == (1 / 20, 1)
    # Of a way of 4, one keeps a half and the other a quarter.
    assert measures.lead(*(np.full(4, value) for value in (2.0, 1.0, 0.0, 4.0)), axis=0) == 0.25
    assert measures.budget_sweep(outcomes, chosen, cfg, ("s", "m", "set", "contrast")) == []
