"""Claims of papers: the files hold, a claim is decided by its rows and its interval, and no claim holds whatever comes out."""

import numpy as np
import pandas as pd
import pytest
import yaml
from circuit_reuse.data.csv_tables import description
from circuit_reuse.papers import claims, schemas, stage_claims
from circuit_reuse.studies.registry import STUDIES
from support import PROJECT

PAPERS = PROJECT / "resources" / "papers"
# How many claims of each paper there are to be, with those of published tables.
LEAST = {"reuse": 20, "scaling": 7, "sequences": 6, "weights": 10, "contrast": 15}
TABLE = pd.DataFrame(
    {
        "model": ["a", "a", "b", "b"],
        "task": ["x", "y", "x", "y"],
        "value": [0.2, 0.8, 0.6, np.nan],
        "value_low": [0.1, 0.4, 0.5, np.nan],
        "value_high": [0.3, 0.9, 0.7, np.nan],
        "q_value": [0.01, 0.2, 0.03, np.nan],
    }
)


def claim(**more):
    return {
        "id": "one",
        "claim": "It is so.",
        "where": "abstract",
        "published": "high",
        "table": "t",
        "value": "value",
    } | more


@pytest.mark.parametrize("study", STUDIES)
def test_the_claims_of_a_paper_read_columns_that_its_tables_have(study):
    about = claims.read(PAPERS / f"{study}.yaml")
    assert len(about["claims"]) >= LEAST[study]
    csvs = STUDIES[study].module("schemas").CSVS
    files = {file.replace("{tasks}", "ioi_anti_repeat"): name for name, (file, _) in STUDIES[study].tables.items()}
    files |= {"published_check.csv": "published_check", "replicate.csv": "replicate"}
    for each in about["claims"]:
        folder, file = each["table"].split("/")
        assert folder == study and file in files, each["id"]
        declared = csvs[files[file]]
        conditions = [*each.get("rows", {}), *each.get("when", {}), *each.get("divide_by", {}), *each.get("less", {})]
        conditions += [*each.get("match", ()), *each.get("place", {}).get("of", {})]
        named = pd.Series([each["value"], *conditions]).str.extractall(r"([a-z_]\w*)")[0].tolist()
        missing = [name for name in named if description(name, declared) is None]
        assert not missing, f"{study}: {each['id']}: {file} has no {missing}"
    for name in about.get("checks", ()):
        assert name.split("/")[1] in files


@pytest.mark.parametrize("study", STUDIES)
def test_every_claim_can_fail(study):
    """Of numbers far off on either side, one at least must not be what is expected."""
    for each in claims.read(PAPERS / f"{study}.yaml")["claims"]:
        assert "differs" in {claims.verdict(each["expect"], value) for value in (-1e6, 1e6)}, each["id"]


def test_rows_are_chosen_by_values_lists_and_comparisons():
    assert len(claims.chosen(TABLE, {"task": "x", "value": ">= 0.5"})) == 1
    assert len(claims.chosen(TABLE, {"task": ["x", "y"], "q_value": "< 0.1"})) == 2
    assert len(claims.chosen(TABLE, None)) == 4
    assert len(claims.chosen(TABLE, {"value_high - value_low": "> 0.2"})) == 1


def test_one_row_has_its_interval_and_several_are_one_number():
    value, low, high, rows = claims.answer(claim(rows={"model": "a", "task": "x"}), TABLE)
    assert (value, low, high, len(rows)) == (0.2, 0.1, 0.3, 1)
    assert claims.answer(claim(over="max"), TABLE)[0] == 0.8
    assert claims.answer(claim(value="1 - value / 2", over="min"), TABLE)[0] == pytest.approx(0.6)
    # What is missing is no zero: of three rows with a value two are below.
    assert claims.answer(claim(when={"q_value": "<= 0.05"}), TABLE)[0] == pytest.approx(2 / 3)
    assert claims.answer(claim(rows={"task": "z"}), TABLE)[0] is None


def test_a_column_that_a_run_could_not_fill_answers_nothing():
    """Of three heads there is no correlation, and the table has no such column."""
    assert claims.answer(claim(value="correlation"), TABLE)[0] is None
    assert claims.answer(claim(value="value", when={"q_correlation": "<= 0.05"}), TABLE)[0] is None
    row = claims.rows_of({"cost": "", "claims": [claim(value="correlation", expect={"at_least": 0})]}, {"t": TABLE})[0]
    assert row["verdict"] == "not run" and "no row of t answers it" in row["why"]


def test_rows_are_chosen_where_a_value_is_missing():
    assert list(claims.chosen(TABLE, {"value": None})["task"]) == ["y"]
    assert len(claims.chosen(TABLE, {"value": [0.2, None]})) == 2


def test_a_place_among_others_is_part_of_a_claim():
    """Another component before the claimed one refutes the claim, whatever its own value is."""
    table = pd.DataFrame({"model": "gpt2", "component": ["input", "m2", "m11"], "score": [99.0, 31.0, 22.0]})
    asked = claim(value="score", rows={"component": "m11"}, expect={"near": 22, "within": 1})
    for number, verdict in ((2, "agrees"), (1, "differs")):
        about = {"cost": "", "claims": [asked | {"place": {"number": number, "from": "highest", "of": {}}}]}
        row = claims.rows_of(about, {"t": table})[0]
        assert row["verdict"] == verdict and ("place 2 from the highest" in row["why"]) == (verdict == "differs")


def test_the_value_of_other_rows_is_taken_off():
    found = claims.answer(claim(rows={"task": "x"}, less={"task": "y"}, match=["model"]), TABLE)
    assert found[0] == pytest.approx(-0.6) and found[1:3] == (None, None)


def test_rows_are_divided_by_those_that_match():
    found = claims.answer(claim(rows={"task": "x"}, divide_by={"task": "y"}, match=["model"]), TABLE)
    assert found[0] == pytest.approx(0.25) and len(found[3]) == 1
    # The interval of a number before it is divided is none of the quotient.
    assert found[1:3] == (None, None)


@pytest.mark.parametrize(
    ("expect", "ends", "verdict"),
    [
        ({"at_least": 0.5}, (0.6, 0.9), "agrees"),
        ({"at_least": 0.5}, (0.4, 0.9), "undecided"),
        ({"at_least": 0.5}, (0.1, 0.4), "differs"),
        ({"between": [0.3, 0.5]}, (0.1, 0.9), "undecided"),
        ({"between": [0.65, 0.75]}, (0.1, 0.9), "undecided"),
        ({"between": [0.4, 0.42]}, (0.1, 0.9), "undecided"),
        ({"between": [0.91, 0.95]}, (0.1, 0.9), "differs"),
        ({"at_most": 0.5}, (np.nan, np.nan), "differs"),
        ({"near": 0.7, "within": 0.1}, (0.1, 0.9), "undecided"),
        ({"near": 0.7, "within": 0.1}, (0.65, 0.75), "agrees"),
        ({"near": 0.7, "within": 0.1}, (0.81, 0.9), "differs"),
        ({"near": 0.7, "within": 0.1}, (np.nan, np.nan), "agrees"),
    ],
)
def test_a_claim_is_decided_by_the_whole_interval(expect, ends, verdict):
    value = np.nanmean(ends) if np.isfinite(ends[0]) else 0.7
    value = 0.7 if "near" in expect else value
    assert claims.verdict(expect, value, *ends) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        # The other circuit does at least half of what the own does, surely; surely less than half; neither.
        ([-0.5] * 4, [0.5] * 4, "agrees"),
        ([-1.9] * 4, [-1.2] * 4, "differs"),
        ([-1.9, -1.9, -1.9, -0.5], [-1.2, -1.2, -1.2, 0.5], "differs"),
        ([-1.9] * 4, [1.9] * 4, "undecided"),
        ([-1.9, -1.9, -1.9, -1.9], [-1.2, 1.9, 1.9, 1.9], "undecided"),
    ],
)
def test_that_nothing_is_shown_is_no_evidence_that_there_is_nothing(low, high, verdict):
    each = next(each for each in claims.read(PAPERS / "reuse.yaml")["claims"] if each["id"] == "own-circuits")
    table = pd.DataFrame({"difference_low": low, "difference_high": high, "difference": 0.0, "model": "m"}).assign(
        method="eap-absolute", component_set="circuit", own=-2.0, own_high=-1.5
    )
    row = claims.rows_of({"claims": [each], "cost": ""}, {each["table"]: table})[0]
    assert row["verdict"] == verdict


def test_claims_on_a_method_are_of_the_score_of_the_paper():
    """Another method that a run has beside it does not move the number."""
    each = next(each for each in claims.read(PAPERS / "reuse.yaml")["claims"] if each["id"] == "reuse")
    table = pd.DataFrame({"method": ["eap-absolute", "eap"], "threshold": 0.95, "reuse": [0.6, 0.3], "model": "m"})
    assert claims.rows_of({"claims": [each], "cost": ""}, {each["table"]: table})[0]["verdict"] == "agrees"
    for study in STUDIES:
        csvs, tables = STUDIES[study].module("schemas").CSVS, STUDIES[study].tables.items()
        files = {file: name for name, (file, _) in tables}
        for each in claims.read(PAPERS / f"{study}.yaml")["claims"]:
            name = files.get(each["table"].split("/")[1])
            if study == "reuse" and name and "method" in csvs[name]:
                assert each["rows"]["method"] == "eap-absolute", each["id"]


def test_what_was_not_run_or_run_on_other_models_says_so():
    about = {
        "claims": [claim(expect={"at_least": 0.5}, models=["gpt2"]), claim(id="two", table="u", expect={"at_least": 1})]
    }
    about |= {"cost": "run it", "checks": ["v", "w"]}
    check = pd.DataFrame(
        {
            "item": ["i", "j", "k"],
            "published": [1, 2, np.nan],
            "recomputed": [1, np.nan, 3],
            "agrees": [True, np.nan, np.nan],
            "why": ["", "weights", ""],
        }
    )
    rows = claims.rows_of(about, {"t": TABLE, "v": check})
    assert [row["verdict"] for row in rows] == ["other models", "not run", "agrees", "not run", "not run"]
    assert "gpt2" in rows[0]["why"] and rows[0]["models"] == "a b" and "run it" in rows[1]["why"]
    frame = pd.DataFrame(rows, columns=list(schemas.CLAIMS))
    text = stage_claims.page({"title": "T", "source": "S"} | about, frame, {"F": "f.svg"})
    assert "5 claims: 1 agrees, 1 other models, 3 not run." in text and "![F](f.svg)" in text


def test_a_number_of_other_settings_is_not_compared():
    """A claim that needs certain prompts is answered where the config asks for them, and says so elsewhere."""
    needs = {"task_options.ioi.form": "published", "scaling.replacement": "zero"}
    about = {"cost": "", "claims": [claim(expect={"at_least": 0}, needs=needs)]}
    asked = {"task_options": {"ioi": {"form": "published"}}, "scaling": {"replacement": "zero"}}
    assert claims.rows_of(about, {"t": TABLE}, asked)[0]["verdict"] == "agrees"
    row = claims.rows_of(about, {"t": TABLE}, asked | {"task_options": {}})[0]
    assert row["verdict"] == "not run" and row["why"] == "needs task_options.ioi.form: published"
    assert row["ours"] is None


def test_one_other_model_stands_in_by_the_rows_that_the_claim_names():
    """A head of one model has no counterpart in another: the strongest of its heads stands in, and nothing is decided."""
    one = claim(rows={"model": "gpt2", "task": "x"}, expect={"near": 0.2, "within": 0.1}, models=["gpt2"])
    one |= {"instead": {}, "over": "second_lowest", "needs": {"seed": 1}}
    row = claims.rows_of({"cost": "", "claims": [one]}, {"t": TABLE}, {"seed": 2})[0]
    assert (row["ours"], row["models"], row["verdict"]) == ("0.8", "a", "other models")
    own = TABLE.assign(model="gpt2")
    assert claims.rows_of({"cost": "", "claims": [one]}, {"t": own}, {"seed": 2})[0]["verdict"] == "not run"
    decided = claims.rows_of({"cost": "", "claims": [one]}, {"t": own[:1]}, {"seed": 1})[0]
    assert (decided["ours"], decided["verdict"]) == ("0.2", "agrees")


@pytest.mark.parametrize("broken", [{"expect": None}, {"colour": "red"}])
def test_a_broken_claim_is_named(tmp_path, broken):
    one = claim(expect={"at_least": 1}) | broken
    one = {key: value for key, value in one.items() if value is not None}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"claims": [one]}))
    with pytest.raises(claims.ClaimError, match="claim 'one'"):
        claims.read(tmp_path / "p.yaml")
