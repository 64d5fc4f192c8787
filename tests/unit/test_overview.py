"""The sentences that tell what a study found: true of the tables, and there for tables without rows."""

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.studies.common import stage_findings
from circuit_reuse.studies.registry import STUDIES

CFG = {
    "alpha": 0.05,
    "titles": {"ioi": "IOI", "digits": "Digits"},
    "method": "eap-ig",
    "metric": "logit_difference",
    "top_k": 4.0,
    "threshold": 0.5,
    "replacement": "corrupt",
    "tasks": ["ioi", "digits"],
    "matched": "quantile",
    "kinds": ["head"],
    "two_sided": True,
}
TABLES = {name: list(study.module("sentences").COLUMNS) for name, study in STUDIES.items()}


def summary(**columns):
    """Two circuits at the chosen K and threshold, and one at another."""
    rows = pd.DataFrame(
        {
            "model": "m",
            "task": ["ioi", "digits", "ioi"],
            "method": "eap-ig",
            "top_k": [4, 4, 8],
            "threshold": 0.5,
            "n_components": 3,
            "n_examples": 16,
            "n_clusters": 12,
            "reuse": [0.75, 0.5, 0.1],
            "reuse_null": 0.01,
            "effect": [-5.0, -1.0, -9.0],
            "effect_low": [-6.0, -2.0, -9.5],
            "effect_high": [-4.0, 0.5, -8.0],
            "effect_random": -0.8,
            "effect_control": -0.5,
            "accuracy": 1.0,
            "accuracy_circuit": 0.5,
            "p_value": 0.05,
            "difference": [-4.5, -0.5, -8.5],
            "difference_high": [-3.0, 0.9, -8.0],
            "n_random": 40,
            "q_value": [0.01, 0.2, 0.001],
            "q_reuse_other": [0.02, 0.5, 0.001],
            "faithfulness": [0.9, 0.4, 0.1],
            "faithfulness_control": 0.2,
        }
    )
    return rows.assign(**columns)


def specificity(**columns):
    """Two tasks: IOI's own circuit hurts it more, that of digits does not."""
    rows = pd.DataFrame(
        {
            "model": "m",
            "method": "eap-ig",
            "source": ["digits", "ioi"],
            "target": ["ioi", "digits"],
            "component_set": "circuit",
            "circuit_own": ["a", "b"],
            "circuit_other": ["b", "a"],
            "n_components_own": [6, 4],
            "n_components_other": [4, 6],
            "n_examples": 16,
            "n_clusters": [8, 12],
            "own": [-5.0, -1.0],
            "own_low": [-6.0, -2.0],
            "own_high": [-4.0, -0.5],
            "other": [-2.0, -1.5],
            "other_low": [-3.0, -2.5],
            "other_high": [-1.0, -0.7],
            "other_random": -0.3,
            "difference": [-3.0, 0.5],
            "difference_low": [-4.0, -0.2],
            "difference_high": [-2.0, 1.0],
            "q_value": [0.01, 0.2],
        }
    )
    return rows.assign(**columns)


def overlap(**columns):
    """One pair of tasks that share more than random sets."""
    rows = {"model": "m", "method": "eap-ig", "first": ["ioi"], "second": "digits", "jaccard": 0.4, "jaccard_null": 0.1}
    rows |= {"q_value": 0.01, "jaccard_halves_first": 0.9, "jaccard_halves_second": 0.8}
    return pd.DataFrame(rows).assign(**columns)


def generic(**columns):
    """Text needs the circuit of digits, not that of IOI, which hurts its task beyond what text loses."""
    rows = {"model": "m", "task": ["ioi", "digits"], "method": "eap-ig", "loss_change": [0.01, 0.5]}
    rows |= {
        "loss_change_low": [-0.1, 0.4],
        "loss_change_high": [0.1, 0.6],
        "n_texts": 50,
        "n_random": 99,
        "effect": -2.0,
    }
    rows |= {
        "q_value": [0.6, 0.01],
        "q_left": [0.02, 0.3],
        "p_left": [0.01, 0.3],
        "p_value": [0.4, 0.01],
        "loss": 3.5,
        "loss_guessing": 10.8,
    }
    return pd.DataFrame(rows).assign(**columns)


def sentences(study, **tables):
    if study == "reuse":
        tables = {"specificity": specificity(), "overlap": overlap(), "generic": generic()} | tables
    return stage_findings.sentences_of(tables, CFG | {"study": study, "strategy": "s", "control_tasks": ["x"]})


def test_reuse_tells_of_the_chosen_circuits_only_and_what_is_not_shown():
    text = " ".join(sentences("reuse", summary=summary()))
    assert "in 1 of 2 tested pairs" in text and "same layers is that of IOI in m: without 3 components" in text
    assert "-5 [-6, -4]" in text and "q = 0.01" in text and "Not shown for Digits in m" in text
    # Reuse counts components in a share of the circuits; that all circuits share them is not said.
    assert (
        "As many components as 50 to 75 % of an example's circuit are each in at least 50 % of the example circuits"
        in text
    )
    assert "40 to 90 %" in text and "-9" not in text


@pytest.mark.parametrize(
    ("q_values", "agreeing"), [([0.01, 0.2], "2 of 2"), ([0.2, 0.2], "1 of 2"), ([0.2, 0.01], "0 of 2")]
)
def test_another_method_is_reported_by_how_often_it_says_the_same(q_values, agreeing):
    """Of two pairs, the first method shows the one of IOI; the other's circuit of digits hurts as much."""
    other = summary(method="atp", q_value=[*q_values, 0.001], difference_high=-1.0, effect_high=-1.0)
    both = pd.concat([summary(), other])
    specific = pd.concat([specificity(), specificity(method="atp")])
    text = " ".join(sentences("reuse", summary=both, specificity=specific))
    shown = sum(q <= 0.05 for q in q_values)
    assert f"With circuits by atp the same is shown against random circuits in {shown} of 2 tested" in text
    assert f"say the same in {agreeing})" in text and "other tasks' circuits in 1 of 2" in text
    assert "in 1 of 2 tested pairs of model and task. The largest difference" in text
    assert "With circuits by" not in " ".join(sentences("reuse", summary=summary()))


@pytest.mark.parametrize("columns", [{"q_value": 0.06}, {"difference_high": 0.1}, {"effect_high": 0.1}])
def test_an_effect_counts_as_shown_only_with_its_test_and_its_interval(columns):
    text = " ".join(sentences("reuse", summary=summary(**columns)))
    assert "in 0 of 2 tested pairs" in text and "The largest difference" not in text
    assert "Not shown for IOI in m, Digits in m" in text


def test_what_tasks_share_is_told_beside_random_sets_and_halves_of_one_task():
    text = " ".join(sentences("reuse", summary=summary()))
    assert (
        "Jaccard indices of 0.4 (0.1 for random sets" in text
        and "more is shown in 1 of 1 pairs of different circuits)" in text
    )
    assert "one task's examples share 0.8 to 0.9" in text
    text = " ".join(sentences("reuse", summary=summary(), overlap=overlap(q_value=0.06)))
    assert "more is shown in 0 of 1 pairs" in text
    text = " ".join(sentences("reuse", summary=summary(), overlap=overlap(jaccard=1.0, q_value=np.nan)))
    assert "in 0 of 0 pairs of different circuits; 1 pairs have the same circuit" in text


@pytest.mark.parametrize("columns", [{"q_value": 0.06}, {"loss_change_low": -0.1}])
def test_a_circuit_is_generic_only_with_its_test_and_its_interval(columns):
    assert "in 1 of 2 pairs of model and task it is shown to rise" in " ".join(sentences("reuse", summary=summary()))
    assert "in 0 of 2 pairs of model and task it is shown to rise" in " ".join(
        sentences("reuse", summary=summary(), generic=generic(**columns))
    )


def test_text_that_a_model_does_not_know_says_nothing_of_its_circuits():
    text = " ".join(sentences("reuse", summary=summary(), generic=generic(loss=13.3, loss_guessing=7.3)))
    assert (
        "The ordinary text is not modelled by m (loss 13.3 nats per token, where guessing gives 7.3)" in text
        and "generic.texts" in text
    )
    assert "circuit is generic" not in text


def test_an_effect_beyond_that_on_text_is_counted_with_its_own_test():
    assert "than these do in 1 of 2" in " ".join(sentences("reuse", summary=summary()))
    assert "than these do in 0 of 1" in " ".join(
        sentences("reuse", summary=summary(), generic=generic(q_left=[0.06, None]))
    )
    # Removal that helps is no harm, however much more random sets help at the same loss.
    assert "than these do in 0 of 2" in " ".join(sentences("reuse", summary=summary(), generic=generic(effect=0.2)))


def test_the_strongest_effect_stands_beside_random_circuits_of_its_layers_and_their_smallest_p():
    first = " ".join(sentences("reuse", summary=summary()))
    assert (
        "by -5 [-6, -4], without random circuits of the same layers by -0.8 and without disjoint ones from any layer by -0.5"
        in first
    )
    assert "at its least" not in first and "stay as right" not in first
    least = " ".join(sentences("reuse", summary=summary(p_value=1 / 41, accuracy_circuit=1.0)))
    assert (
        "(q = 0.01, p at its least with 40 random circuits)" in least
        and "stay as right as before all the same for IOI in m." in least
    )


def test_circuits_with_too_few_random_sets_for_a_small_p_are_named():
    """19 sets can give 0.05, 18 cannot."""
    assert "Too few" not in " ".join(sentences("reuse", summary=summary(n_random=19)))
    text = " ".join(sentences("reuse", summary=summary(n_random=[19, 18, 18])))
    assert "Too few circuits with as many components in each layer exist for a p of 0.05: Digits in m." in text


def test_kept_alone_says_what_else_is_left():
    """Circuits of heads: every MLP stays, whatever is removed."""
    assert "Kept alone with all MLPs left as they are" in " ".join(sentences("reuse", summary=summary()))
    both = CFG | {"study": "reuse", "kinds": ["head", "mlp"]}
    found = {"summary": summary(), "specificity": specificity(), "overlap": overlap(), "generic": generic()}
    assert "Kept alone, these" in " ".join(stage_findings.sentences_of(found, both))


def test_own_circuits_are_told_beside_those_of_other_tasks():
    first, _, _, second, share, third, *_ = sentences("reuse", summary=summary())
    assert "random circuits" in first and "in 1 of 2 tested ordered pairs of tasks" in second and "less in 0" in second
    assert (
        "8 to 12 clusters of alike examples" in second and "In 0 of these 1 the own circuit is not the larger" in second
    )
    assert "not tested" not in second and "at least half as much harm in 1 of 2 pairs" in share
    assert (
        "the circuit of IOI on Digits in m: -1.5 [-2.5, -0.7] against -1 [-2, -0.5] of its own (random sets of the layers of the first: -0.3)"
        in third
    )


def test_pairs_with_the_same_circuit_or_none_are_counted_apart():
    """The same circuit does all of the harm: strong evidence against a circuit of the task's own."""
    rows = specificity(circuit_own=["a", "empty"], circuit_other=["a", "a"], q_value=np.nan, own=[-5.0, 0.0])
    rows = rows.assign(other=[-5.0, -1.5], own_high=[-4.0, 0.0])
    text = " ".join(sentences("reuse", summary=summary(), specificity=rows))
    why = "Not tested: 1 with the same circuit, 0 of too few clusters of examples, 1 without a circuit."
    assert "in 0 of 0 tested" in text and why in text and "at least half as much harm in 1 of 1 pairs" in text
    text = " ".join(sentences("reuse", summary=summary(), specificity=rows.assign(n_clusters=3)))
    assert "Not tested: 1 with the same circuit, 1 of too few clusters of examples, 0 without a circuit." in text


@pytest.mark.parametrize("columns", [{"q_value": 0.06}, {"difference_high": 0.1}, {"own_high": 0.1}])
def test_a_circuit_is_a_tasks_own_only_with_its_test_and_its_intervals(columns):
    assert "in 0 of 2 tested ordered pairs" in " ".join(
        sentences("reuse", summary=summary(), specificity=specificity(**columns))
    )


def test_another_tasks_circuit_that_hurts_more_is_told_as_such():
    """Where removing the own circuit hurts less than removing another's."""
    rows = specificity(difference_low=[-4.0, 0.1], q_value=0.01)
    assert "less in 1" in " ".join(sentences("reuse", summary=summary(), specificity=rows))


def test_what_could_not_be_tested_is_not_counted_as_not_shown():
    text = " ".join(sentences("reuse", summary=summary(difference_high=np.nan)))
    assert "in 0 of 0 tested pairs" in text and "Not shown" not in text
    assert "Not tested, as nothing is shared or no control exists: IOI in m, Digits in m" in text
    text = " ".join(sentences("reuse", summary=summary(difference_high=np.nan, n_clusters=3)))
    assert "Not tested, as there are too few clusters of examples: IOI in m, Digits in m" in text


def scaling(**columns):
    models = {
        "model": ["a", "b"],
        "replacement": "corrupt",
        "correlation": [0.9, -0.9],
        "corrected": [0.95, -0.95],
        "correlation_within_layers": [-0.97, 0.2],
        "q_correlation": 0.01,
        "q_within_layers": [0.001, 0.5],
    }
    fits = pd.DataFrame(
        {
            "family": "gpt2",
            "measure": "correlation",
            "replacement": ["corrupt", "zero"],
            "slope": [1.0, 1.0],
            "q_value": [0.01, 0.01],
        }
    )
    found = {
        "models": pd.DataFrame(models),
        "head_category_summary": pd.DataFrame({"n_shared": [1, 2], "n_uncertain": 0, "n_weak": 3}),
        "hero_vs_random": pd.DataFrame(
            {
                "matching": ["plain", "plain", "plain", "layer"],
                "q_value": [0.01, 0.01, 0.01, 0.5],
                "difference": [-1.0, 1.0, -1.0, -1.0],
                # Where removal helps, and removing random heads helps more, nothing is lost.
                "effect": [-2.0, -2.0, 0.5, -2.0],
            }
        ),
        "fits": fits.assign(**columns),
    }
    return " ".join(sentences("scaling", **found))


def test_correlations_are_told_by_sign_and_trends_only_under_every_replacement():
    text = scaling()
    assert "go together in 1 of 2 models and against each other in 1" in text
    assert (
        "Of 9 heads in 2 models, 3 are strong" in text
        and "of any layer in 1 of 3 tested comparisons, of the same layers in 0 of 1" in text
    )
    assert "under every replacement: correlation (gpt2)" in text
    # The correlation within layers has a sign of its own.
    assert "within layers the correlation is positive in 0 and negative in 1" in text
    # A replacement under which another sign, no significance or no line at all was found.
    for columns in ({"q_value": [0.01, 0.5]}, {"slope": [1.0, -1.0]}, {"q_value": [0.01, None], "slope": [1.0, None]}):
        assert "No measure is shown to change" in scaling(**columns)


def test_the_circuit_that_is_told_of_is_the_one_of_the_chosen_strategy_and_threshold():
    rows = pd.DataFrame(
        {
            "model": "m",
            "task": "ioi",
            "strategy": ["s", "s", "t", "s"],
            "threshold": [0.03, 0.2, 0.2, 0.2],
            "order": [None, None, None, 1],
            "draw": None,
            "scored_by": "logit_difference",
            "n_heads": [60, 7, 8, 9],
            "n_mlps": 1,
            "score": [0.98, 0.81, 0.82, 0.83],
            "score_low": 0.01,
            "score_high": 0.02,
            "score_train": 0.85,
            "score_empty_train": 0.1,
        }
    )
    crossed = pd.DataFrame(
        {
            "model": "m",
            "circuit": "ioi",
            "kind": "task",
            "target": ["digits", "ioi_variant", "other", "ioi"],
            "q_value": [0.01, 0.01, 0.5, None],
            "accuracy_kept": [1, 1, 1, 0.333],
        }
    )
    nothing = pd.DataFrame(columns=STUDIES["sequences"].module("sentences").COLUMNS["overlap"].split())
    cfg = CFG | {"study": "sequences", "strategy": "s", "threshold": 0.2, "control_tasks": ["other"]}
    told = " ".join(stage_findings.sentences_of({"circuits": rows, "overlap": nothing, "cross_task": crossed}, cfg))
    assert (
        "7 heads and 1 MLPs keep 81 %" in told
        and "and answer 33 % of them right." in told
        and "98" not in told
        and "82" not in told
    )
    # Two-sided pruning ranks by nearness: a circuit at 102 per cent does not keep more than random ones at 200.
    assert "scores nearer to the intact model than size-matched random circuits" in told and "keeps more" not in told
    one_sided = stage_findings.sentences_of(
        {"circuits": rows, "overlap": nothing, "cross_task": crossed}, cfg | {"two_sided": False}
    )
    assert "keeps more of the metric than size-matched random circuits" in " ".join(one_sided)
    # A task's variants are not another task.
    assert "of another sequence task in 1 of 1 cases, of a task that is no sequence in 0 of 1 cases" in told


def test_overlaps_of_circuits_that_the_empty_one_equals_are_not_counted():
    """The first page counts the pairs that the page of findings shows."""
    rows = pd.DataFrame(
        {"model": "m", "task": ["ioi", "digits"], "strategy": "s", "threshold": 0.2, "order": None, "draw": None}
        | {"n_heads": 5, "n_mlps": 1, "score": 0.9, "score_low": 0.8, "score_high": 1.0}
        | {"score_train": 0.9, "score_empty_train": [0.1, 0.8], "scored_by": "logit_difference"}
    )
    pair = {"model": "m", "first": "ioi", "second": "digits", "kind": "all"}
    overlap = pd.DataFrame([pair | {"n_shared": 4, "n_shared_null_layers": 1.0, "q_layers": 0.01}])
    crossed = pd.DataFrame(columns=STUDIES["sequences"].module("sentences").COLUMNS["cross_task"].split())
    cfg = CFG | {"study": "sequences", "strategy": "s", "threshold": 0.2, "control_tasks": []}

    def told(rows):
        found = {"circuits": rows, "overlap": overlap, "cross_task": crossed}
        return " ".join(stage_findings.sentences_of(found, cfg))

    assert "share" not in told(rows) and "in 1 of 1 pairs" in told(rows.assign(score_empty_train=0.1))


@pytest.mark.parametrize("study", TABLES)
@pytest.mark.parametrize("content", ["", "\n", "model,task\n"])
def test_tables_without_rows_are_no_crash(tmp_path, study, content):
    found = {}
    for name in TABLES[study]:
        (tmp_path / f"{name}.csv").write_text(content)
        found[name] = stage_findings.read(tmp_path / f"{name}.csv", STUDIES[study].module("sentences").COLUMNS[name])
    assert sentences(study, **found)


@pytest.mark.parametrize("study", TABLES)
def test_tables_of_missing_values_are_no_crash_and_show_nothing(study):
    found = {}
    for name in TABLES[study]:
        columns = STUDIES[study].module("sentences").COLUMNS[name].split()
        text = {
            "model": "m",
            "task": "ioi",
            "replacement": "corrupt",
            "kind": "task",
            "condition": "real",
            "control": "quantile",
            "first": "ioi",
            "second": "digits",
            "circuit": "ioi",
            "target": "digits",
            "in_words": "nothing is shown",
            "scoring": "r",
            "set": "s",
            "family": "f",
            "measure": "x",
            "given": False,
            "method": "eap-ig",
            "top_k": 4.0,
            "threshold": 0.5,
        }
        found[name] = pd.DataFrame([{column: text.get(column, np.nan) for column in columns}])
    told = " ".join(sentences(study, **found))
    assert "Most for" not in told and "in 1 of 1" not in told and "nan" not in told


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_a_study_reads_and_shows_first_only_what_it_makes(study):
    files = {file.removesuffix(".csv") for file, _ in study.tables.values()}
    assert {study.tables[name][0].removesuffix(".csv") for name in study.reads} == set(TABLES[study.name]) <= files
    assert set(study.first) <= set(study.figures)
