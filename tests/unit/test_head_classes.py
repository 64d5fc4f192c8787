"""Classes of heads: found on a model in which they are known, and calibrated where nothing is."""

import logging

import numpy as np
import pandas as pd
import pytest
import two_tasks
from circuit_reuse.stats import mean_tests
from circuit_reuse.studies.scaling import classes, heroes, schemas, stage_scan, stage_trace, trends
from scipy import stats

LOG = logging.getLogger("test")
RULES = {"tau": 0.05, "unit": "base", "alpha": 0.05}
REPLACEMENTS = ["zero", "mean", "corrupt"]
CFG = {"replacements": REPLACEMENTS, "metric": "logit_difference", "accuracy": "top1"}


@pytest.fixture(scope="module", params=["gpt2", "neox"])
def planted(request):
    """The model, its scans by task, and its heads table."""
    model = two_tasks.load(request.param)
    scans = []
    for task in ("first", "second"):
        table = two_tasks.examples(task, 48)
        reference = table[table["split"] == "train"]
        scans.append(stage_scan.scan(model, table, reference, CFG, 4096, ("planted", task), LOG))
    return model, scans, classes.heads_table(scans, model.space, REPLACEMENTS, RULES)


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_planted_head_has_its_class_and_every_decoy_is_weak(planted, replacement, split):
    heads = planted[2]
    mine = heads[(heads["replacement"] == replacement) & (heads["split"] == split)]
    assert len(mine) == 16
    found = dict(zip(mine["component"], mine["category"], strict=True))
    assert found == {name: two_tasks.CLASSES.get(name, "weak") for name in found}
    against = dict(zip(mine["component"], mine["suppressing"], strict=True))
    for name in two_tasks.CLASSES:
        assert against[name] == two_tasks.SUPPRESSING.get(name, "none")


def test_the_heroes_are_the_planted_heads_and_suppressing_ones_are_marked(planted):
    rows = heroes.heroes(planted[2], "corrupt", 3)
    strong = {r["component"]: r for r in rows if r["category"] not in ("weak", "uncertain")}
    assert set(strong) == set(two_tasks.CLASSES)
    assert all(row["category_held_out"] == row["category"] for row in strong.values())
    assert {n for n, row in strong.items() if row["suppressing"] != "none"} == set(two_tasks.SUPPRESSING)


def test_tracing_puts_the_effect_into_the_head_and_the_position_that_carry_it(planted):
    model = planted[0]
    table = two_tasks.examples("first", 16)
    cfg = {"metric": "logit_difference", "parts": ["z", "v", "pattern"], "by_position": ["z"], "least": 0}
    places = [(layer, head) for layer in range(4) for head in range(4)]
    found = stage_trace.trace(model, table, cfg, places, 4096, LOG)
    restored = found[found["direction"] == "restore"].copy()
    restored["share"] = restored["influence"] / restored["gap"]
    restored["role"] = restored["role"].fillna("all")
    means = restored.groupby(["part", "layer", "head", "role"])["share"].mean()
    z = means["z"].xs("all", level="role")
    # 0.6 + 0.6 - 0.3: shares of what the three heads of the first task write.
    assert z[0, 1] == pytest.approx(2 / 3, abs=0.05) and z[2, 0] == pytest.approx(2 / 3, abs=0.05)
    assert z[1, 3] == pytest.approx(-1 / 3, abs=0.05) and abs(z[1, 2]) < 0.03
    # The head writes at the end, whatever it reads; the symbol comes through the values.
    assert means["z", 0, 1, "end"] == pytest.approx(z[0, 1], abs=0.02)
    assert abs(means["z", 0, 1, "marked"]) < 0.02
    assert means["v", 0, 1, "all"] == pytest.approx(z[0, 1], abs=0.03)
    assert abs(means["pattern", 0, 1, "all"]) < 0.03


def test_the_classes_by_hand():
    effect = np.array([-0.5, -0.06, 0.01, 0.04, 0.2, np.nan])
    q = np.array([0.001, 0.2, 0.9, 0.01, 0.01, np.nan])
    q_absent = np.array([1, 0.9, 0.01, 0.3, 1, np.nan])
    states = classes.states(effect, q, q_absent, 0.05, 0.05)
    assert list(states) == ["strong", "unclear", "absent", "unclear", "strong", "unclear"]
    both = classes.combined(
        ["strong", "strong", "absent", "absent", "unclear"], ["strong", "absent", "strong", "absent", "strong"]
    )
    assert list(both) == ["shared", "first_only", "second_only", "weak", "uncertain"]
    plain = classes.plain([-0.05, 0.04, 0.1, 0], [0.05, -0.2, 0, np.nan], 0.05)
    assert list(plain) == ["shared", "second_only", "first_only", "uncertain"]


def test_means_agree_with_scipy_and_constant_columns_have_a_p():
    values = np.random.default_rng(0).normal(0.2, 1, (30, 4))
    values[:, 3] = 0
    found = mean_tests.means(values)
    test = stats.ttest_1samp(values[:, :3], 0)
    # The test is Student's, or a more careful one where deltas are skewed.
    assert (found["p"][:3] >= test.pvalue - 1e-12).all()
    np.testing.assert_allclose(found["p"][:3], test.pvalue, rtol=0.5)
    low, high = test.confidence_interval()
    np.testing.assert_allclose(found["low"][:3], low)
    np.testing.assert_allclose(found["high"][:3], high)
    assert found["p"][3] == 1 and found["low"][3] == found["high"][3] == 0
    assert np.isnan(mean_tests.means(values[:1])["p"]).all()


def test_absence_is_two_one_sided_tests():
    """Symmetric values: as scipy has them, doubled; a mean at the margin is never shown to be within it."""
    rng = np.random.default_rng(5)
    values = rng.normal(0.1, 1, (60, 3))
    values = np.concatenate([values, 2 * values.mean(0) - values])
    base = np.ones(len(values))
    for head, margin in enumerate((0.5, 0.3, 0.02)):
        p = mean_tests.absent_p(values, base, margin, "logits")
        # A base that does not vary is a number.
        assert np.allclose(p, mean_tests.absent_p(values, base * 2, margin / 2, "base"), atol=1e-12)
        sides = [
            stats.ttest_1samp(values[:, head], -margin, alternative="greater").pvalue,
            stats.ttest_1samp(values[:, head], margin, alternative="less").pvalue,
        ]
        assert p[head] == pytest.approx(min(1, 2 * max(sides)), rel=0.02)
    constant = np.full((9, 2), 0.25)
    assert [mean_tests.absent_p(constant, np.ones(9), tau, "logits").tolist() for tau in (0.5, 0.125)] == [
        [0, 0],
        [1, 1],
    ]


@pytest.mark.parametrize(
    ("clusters", "spread_of_base", "spread", "tied", "most"),
    [
        (12, 0.4, 0.1, 0, 0.05),
        (16, 0.3, 0.1, 0, 0.05),
        (12, 0.4, 0.3, 0, 0.05),
        (16, 0.3, 0.2, 1, 0.05),
        (48, 0.3, 0.2, 0.5, 0.04),
    ],
)
def test_a_share_of_a_base_that_is_estimated_too_is_seldom_called_absent_at_tau(
    clusters, spread_of_base, spread, tied, most
):
    """The true effect is exactly tau, 0.05 of the base; tied: how far a cluster's effect goes with its base."""
    rng, sets = np.random.default_rng(8), 1500
    hits = 0
    for _ in range(sets):
        base = 1 + spread_of_base * rng.normal(size=clusters)
        effect = 0.05 * (1 + tied * (base - 1) + spread * rng.normal(size=clusters))
        hits += mean_tests.absent_p(effect[:, None], base, 0.05, "base")[0] <= 0.05
    assert 0.01 <= hits / sets <= most


@pytest.mark.parametrize(("name", "least"), [("normal", 0.035), ("exponential", 0.045), ("lognormal", 0.065)])
def test_a_head_with_an_effect_of_exactly_tau_is_seldom_called_absent(name, least):
    """Deltas with a long tail towards more harm; the plain t interval called it absent in 6, 10 per cent of the skewed."""
    rng, hits, sets = np.random.default_rng(6), 0, 1500
    draws = {
        "normal": lambda size: rng.normal(size=size),
        "exponential": lambda size: rng.exponential(size=size) - 1,
        "lognormal": lambda size: rng.lognormal(size=size) - np.exp(0.5),
    }
    deltas = -2.0 - 0.5 * draws[name]((sets, 48))
    p = mean_tests.absent_p(deltas.T, np.ones(48), 2.0, "logits")
    hits = (p <= 0.05).mean()
    assert hits <= least


@pytest.mark.parametrize("skewed", [False, True])
def test_few_heads_of_a_model_without_effects_are_called_strong(skewed):
    """False discovery rate under the complete null: any discovery in at most 5 per cent."""
    rng, hits = np.random.default_rng(1), 0
    names = [f"a0.h{n}" for n in range(24)]
    for _ in range(300):
        draw = (lambda: rng.exponential(size=(48, 24)) - 1) if skewed else (lambda: rng.normal(size=(48, 24)))
        found = [one_column(draw()) for _ in range(2)]
        frame = classes.classified(found, names, 1, RULES | {"tau": 1e-6})
        hits += bool(
            (frame["category"].isin(["shared", "first_only", "second_only"])).any()
            or (frame[["state_first", "state_second"]] == "strong").any(axis=None)
        )
    assert stats.binom.sf(hits - 1, 300, 0.05) > 1e-3


def one_column(deltas):
    """What one_task gives, from deltas over a base of 1."""
    whole = np.ones(deltas.shape[1])
    m = mean_tests.means(deltas)
    return {
        "n_examples": 48 * whole,
        "n_clusters": 48 * whole,
        "base": whole,
        "base_standard_error": whole,
        "base_low": whole,
        "base_high": whole,
        "delta": m["mean"],
        "delta_standard_error": m["se"],
        "delta_low": m["low"],
        "delta_high": m["high"],
        "effect": m["mean"],
        "scale": whole,
        "units": (deltas, np.ones(len(deltas))),
        "delta_skewness": m["skewness"],
        "p_value": m["p"],
        "output_norm": whole,
    }


@pytest.mark.parametrize("unit", classes.UNITS)
def test_the_sweep_at_tau_counts_the_classes_of_the_table(planted, unit):
    rules = RULES | {"unit": unit, "tau": 2.5 if unit == "standard_errors" else 0.05}
    heads = classes.heads_table(planted[1], planted[0].space, ["mean"], rules)
    mine = heads[heads["split"] == "held_out"]
    found = {r["category"]: r for r in classes.sweep(mine, planted[1], "mean", rules | {"taus": [rules["tau"]]})}
    for column, name in (("category", "n_heads"), ("category_effect", "n_heads_effect")):
        counts = mine[column].value_counts()
        assert all(found[c][name] == counts.get(c, 0) for c in classes.CATEGORIES)


def test_a_base_that_is_not_positive_leaves_no_share_and_the_model_out(planted):
    model, scans, _ = planted
    worse = [scans[0].assign(base=-scans[0]["base"]), scans[1]]
    heads = classes.heads_table(worse, model.space, ["corrupt"], RULES)
    assert (heads["category"] == "uncertain").all() and heads["effect_first"].isna().all()
    assert heads["delta_first"].notna().all()
    cfg = RULES | {"selection": 0.25, "draws": 99, "bootstrap": 100}
    row = trends.model_trends(worse, heads, "corrupt", cfg, ("t",))
    assert row["able"] is False and row["correlation"] is not None


def test_heads_that_no_test_reached_are_not_counted_as_not_strong(planted):
    """Three clusters carry no p: how many heads are strong is not known, which is not none."""
    model, scans, _ = planted
    few = [table.assign(cluster=(table["example"] % 3).astype(str)) for table in scans]
    cfg = RULES | {"selection": 0.25, "draws": 99, "bootstrap": 100}
    rows = [
        trends.model_trends(each, classes.heads_table(each, model.space, ["corrupt"], RULES), "corrupt", cfg, ("t",))
        for each in (scans, few)
    ]
    assert rows[0]["n_strong"] > 0 and "n_strong" not in rows[1] and "n_strong_low" not in rows[1]


def test_a_head_below_tau_is_not_strong_however_sure_its_effect_is(planted):
    mine = planted[2].query("split == 'held_out' and replacement == 'corrupt'")
    drawn = [np.zeros((5, len(mine)))] * 2
    assert trends.strong_heads(mine, drawn, RULES)["n_strong"] > 0
    assert trends.strong_heads(mine, drawn, RULES | {"tau": 10})["n_strong"] == 0


def test_what_was_not_measured_is_null_and_every_head_keeps_its_row(planted):
    model, scans, _ = planted
    without = scans[0][scans[0]["replacement"] != "mean"]
    heads = classes.heads_table([without, scans[1]], model.space, ["mean"], RULES)
    assert len(heads) == 2 * 16
    assert heads["delta_first"].isna().all() and heads["delta_second"].notna().all()
    assert (heads["category"] == "uncertain").all()
    assert set(schemas.HEADS.names) == set(heads.columns)
    assert isinstance(heads, pd.DataFrame)
