"""Comparing two circuits: the published pairs, slow twins of every statistic, chance by simulation."""

import itertools

import numpy as np
import pytest
from circuit_reuse.data import circuit_files
from circuit_reuse.data.circuit_files import Circuit
from circuit_reuse.data.components import Space
from circuit_reuse.stats import circuits, similarity
from support import PROJECT

GPT2, TINY = Space(12, 12, 768, 64), Space(2, 3, 12, 4)
PUBLISHED = PROJECT / "resources" / "published" / "sarcasm-circuits"


def published(first, second):
    read = [circuit_files.read(PUBLISHED / f"{name}.json", GPT2) for name in (first, second)]
    return similarity.compare(*read, GPT2)


def test_the_published_replication():
    """51 of 54 components, Jaccard .895; heads 40 of 43, .870, where chance shares 12.8."""
    values, bounds = published("original", "replication_54")
    assert (values["n_shared"], values["n_components_first"], values["n_components_second"]) == (51, 54, 54)
    assert values["jaccard"] == pytest.approx(0.895, abs=5e-4)
    assert (values["n_shared_heads"], values["n_shared_mlps"]) == (40, 10)
    assert values["jaccard_heads"] == pytest.approx(0.870, abs=5e-4)
    assert values["n_shared_heads_null"] == pytest.approx(12.8, abs=0.05)
    assert values["cost_first"] == values["cost_second"] == 11_200
    assert values["same_mlps"] == 1 and values["p_overlap"] < 1e-12
    # The three named scores: m2 97 %, m11 99.9 %; 13 that both files have.
    assert values["n_scored_in_both"] == 13 and values["score_difference_largest"] == pytest.approx(0.0991, abs=1e-4)
    # The file does not say in which order its components were chosen.
    assert np.isnan(values["rank_biased_overlap"]) and np.isnan(values["n_shared_top_5_heads"])
    low, high = bounds["jaccard_null"]
    assert low < values["jaccard_null"] < high < 0.4


def test_the_published_reproduction_of_43_components():
    values, _ = published("original", "replication_43")
    assert (values["n_shared"], values["n_components_second"], values["n_shared_heads"]) == (40, 43, 29)
    assert values["jaccard"] == pytest.approx(0.702, abs=5e-4)
    assert values["same_mlps"] == 0 and values["n_mlps_second"] == 11 and values["n_shared_top_5_heads"] == 4


def test_margins_at_the_boundary():
    original = circuit_files.read(PUBLISHED / "original.json", GPT2)
    again = circuit_files.read(PUBLISHED / "replication_54.json", GPT2)
    # m0 7.33 in, m4 6.68 out; a3.h7 .8319 in, a3.h6 .8009 out.
    assert similarity.margin(original, "mlp") == pytest.approx((7.33 - 6.68) / 7.33)
    assert similarity.margin(again, "head") == pytest.approx((0.8319 - 0.8009) / 0.8319)
    assert np.isnan(similarity.margin(original, "head"))


def test_chance_is_that_of_random_circuits_of_the_same_make():
    rng, names = np.random.default_rng(0), TINY.names
    first, second = ["input", "m0", "a0.h0", "a1.h1"], ["input", "m0", "a0.h0", "a0.h1", "a1.h1"]
    heads, mlps = TINY.of_kinds(["head"]), TINY.of_kinds(["mlp"])
    drawn = []
    for _ in range(20_000):
        other = ["input", *rng.choice(heads, 3, replace=False), *rng.choice(mlps, 1)]
        drawn.append((len(set(first) & set(other)), circuits.jaccard(first, other)))
    shared, jaccard = np.array(drawn).T
    found = similarity.chance(first, second, TINY)
    assert found["shared"] == pytest.approx(shared.mean(), abs=0.02)
    assert found["jaccard"] == pytest.approx(jaccard.mean(), abs=0.01)
    assert found["p_value"] == pytest.approx(np.mean(shared >= 4), abs=0.01)
    assert found["jaccard_low"] == pytest.approx(np.quantile(jaccard, 0.025, method="inverted_cdf"))
    assert len(names) == 9


def test_an_overlap_that_cannot_vary_has_no_p():
    """All heads are in the second circuit, so every circuit shares as many with it."""
    second = ["input", *TINY.of_kinds(["head"])]
    assert np.isnan(similarity.chance(["input", "a0.h0"], second, TINY)["p_value"])


def test_overlap_beyond_chance_is_nought_for_random_circuits_and_one_for_the_same():
    rng, heads = np.random.default_rng(1), GPT2.of_kinds(["head"])
    mlps = GPT2.of_kinds(["mlp"])
    first = ["input", *heads[:43], *mlps[:10]]
    random = [
        ["input", *rng.choice(heads, 31, replace=False), *rng.choice(mlps, 11, replace=False)] for _ in range(400)
    ]
    found = [similarity.beyond_chance(first, other, GPT2) for other in random]
    assert np.mean(found) == pytest.approx(0, abs=0.02)
    assert similarity.beyond_chance(first, first, GPT2) == pytest.approx(1)
    assert similarity.beyond_chance(first, first[:20], GPT2) == pytest.approx(1)
    assert np.isnan(similarity.beyond_chance(GPT2.names, GPT2.names, GPT2))
    # Every size of a model: whole, the overlap of random circuits is certain, whatever rounding makes of that.
    for layers, heads in itertools.product(range(1, 30), range(1, 20)):
        space = Space(layers=layers, heads=heads, d_model=8, d_head=1)
        assert np.isnan(similarity.beyond_chance(space.names, space.names, space)), (layers, heads)
        assert np.isnan(similarity.chance(space.names, space.names, space)["p_value"]), (layers, heads)


def endless(first, second, p, tail):
    """Rank-biased overlap by its definition, sum of (1 - p) p^(d - 1) A_d, of lists that go on.

    tail: what both share at depth d beyond their ends, as a share of d
    """
    total, seen = 0.0, max(len(first), len(second))
    for depth in range(1, 4000):
        agree = len(set(first[:depth]) & set(second[:depth])) / depth if depth <= seen else tail
        total += (1 - p) * p ** (depth - 1) * agree
    return total


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_rank_biased_overlap_is_its_sum(p):
    """Lists of one length, extrapolated at the agreement of their ends (Webber et al., equation 30)."""
    for first, second in itertools.permutations(["abcde", "bcaed", "xyabc", "edcba"], 2):
        shared = len(set(first) & set(second)) / 5
        found = similarity.rank_biased_overlap(first, second, p)
        assert found == pytest.approx(endless(first, second, p, shared), abs=1e-9)


def test_rank_biased_overlap_of_lists_of_two_lengths():
    """The worked shape of equation 32: a list that begins another agrees with it wholly."""
    assert similarity.rank_biased_overlap("abc", "abcdef") == pytest.approx(1)
    assert similarity.rank_biased_overlap("abcdef", "abc") == pytest.approx(1)
    assert similarity.rank_biased_overlap("abc", "xyz") == 0
    assert similarity.rank_biased_overlap("", "") == 1 and similarity.rank_biased_overlap("", "a") == 0
    # Agreement at the top counts for more than at the end.
    assert similarity.rank_biased_overlap("abcd", "abdc") > similarity.rank_biased_overlap("abcd", "bacd")


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_rank_biased_overlap_beyond_the_shorter_list(p):
    """Where the shorter list has ended, it is taken to go on agreeing as it did (equation 32)."""
    short, long = "badx", "abcdefgh"
    x = [len(set(short[:d]) & set(long[:d])) for d in range(1, 9)]
    total = 0.0
    for depth in range(1, 4000):
        more = x[3] * max(0, min(depth, 8) - 4) / 4
        at = (x[min(depth, 8) - 1] + more) / min(depth, 8)
        if depth > 8:
            at = (x[7] - x[3]) / 8 + x[3] / 4
        total += (1 - p) * p ** (depth - 1) * at
    for pair in ((short, long), (long, short)):
        assert similarity.rank_biased_overlap(*pair, p) == pytest.approx(total, abs=1e-9)


def test_rank_correlation_is_of_what_both_have():
    first, second = {"a": 3, "b": 2, "c": 1, "d": 9}, {"c": 10, "a": 30, "b": 20, "e": 1}
    assert similarity.rank_correlation(first, second) == (pytest.approx(1), 3)
    value, both = similarity.rank_correlation({"a": 1, "b": 2}, {"a": 1, "b": 2})
    assert np.isnan(value) and both == 2


def test_a_circuit_agrees_with_itself_and_edges_are_compared():
    circuit = Circuit({"input": None, "m0": 2.0, "a0.h1": 1.0}, edges={("m0", "logits"): 1.0})
    values, _ = similarity.compare(circuit, circuit, TINY)
    for name in ("jaccard", "beyond_chance", "rank_biased_overlap", "jaccard_edges", "overlap", "same_mlps"):
        assert values[name] == pytest.approx(1)
    other = Circuit(circuit.nodes, edges={("m0", "logits"): 1.0, ("input", "m0"): 1.0})
    assert similarity.compare(circuit, other, TINY)[0]["jaccard_edges"] == 0.5


def test_components_side_by_side():
    first = Circuit({"input": None, "m0": 2.0}, outside={"a0.h0": 0.5})
    second = Circuit({"input": None, "a0.h0": 4.0}, outside={"m0": 1.0, "m1": 0.1})
    rows = {row["component"]: row for row in similarity.side_by_side(first, second, TINY)}
    assert set(rows) == {"input", "m0", "a0.h0"}
    assert rows["m0"] == {
        "component": "m0",
        "in_first": True,
        "in_second": False,
        "rank_first": 2,
        "rank_second": None,
        "score_first": 2.0,
        "score_second": 1.0,
    }
