"""Prompts, tables and configs that are nearly right: what would be taken for something else is one clear error."""

import json
import warnings

import pandas as pd
import pytest
import yaml
from circuit_reuse.config import checks, paths, schema, series
from circuit_reuse.config.errors import ConfigError, ConfigNote
from circuit_reuse.config.repeated import check_repeated
from circuit_reuse.data import csv_tables, user_tables
from circuit_reuse.data.user_tables import GivenRows
from circuit_reuse.prompts import custom, datasets
from circuit_reuse.prompts.generate import generate
from circuit_reuse.studies.common import stage_findings
from circuit_reuse.studies.contrast import checks as contrast
from circuit_reuse.studies.contrast import texts
from circuit_reuse.studies.reuse import checks as reuse
from circuit_reuse.studies.scaling import checks as scaling
from circuit_reuse.studies.sequences import checks as sequences
from support import PROJECT, checked

HALF = "\ud83d"


def of_rows(*rows, **columns):
    """The prompts of rows that differ from sound ones in some columns, each with prompts of its own."""
    sound = {"answer": " a", "distractor": " b"}
    made = [{"clean": f"c{n}", "corrupt": f"d{n}"} | sound | row for n, row in enumerate(rows)]
    return custom.rows(GivenRows({name: cell for name, cell in row.items() if cell is not ...} for row in made), 0.5)[0]


@pytest.mark.parametrize("several", ["[' Rome', ' Oslo']", "[' Rome' ' Oslo']", '[" Rome"]', "array([' Rome'])"])
def test_a_list_that_was_written_as_text_is_no_answer(several):
    with pytest.raises(ValueError, match=r"id '000001': distractor is .*, a list as text; separate several"):
        of_rows({}, {"distractors": several, "distractor": ...})
    with pytest.raises(ValueError, match=r"answer is .*, a list as text"):
        of_rows({}, {"answer": several})


def test_lists_that_a_task_is_about_are_answers():
    row = {"answer": " [1, 2]", "distractors": " [1, 3]| [2, 1]", "distractor": ...}
    assert of_rows({}, row)[1]["distractors"] == [" [1, 3]", " [2, 1]"]
    assert of_rows({}, {"answer": "[", "distractor": "("})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"answer": " John", "distractor": "Mary"}, "'Mary', and only one of them begins with a space"),
        ({"answer": "John", "distractors": "Mary| Ann"}, "' Ann', and only one of them"),
        ({"corrupt_answer": "b"}, "corrupt_answer is 'b', and only one of them"),
        ({"answer": " a "}, "answer is ' a ', which ends in a space or a line break"),
        ({"distractor": " b\n"}, r"distractor is ' b\\n', which ends in a space or a line break"),
        ({"corrupt_answer": " b "}, "corrupt_answer is ' b ', which ends in a space"),
    ],
)
def test_answers_of_two_forms_are_refused(row, words):
    with pytest.raises(ValueError, match=f"the table, id '000001': .*{words}"):
        of_rows({}, row)


def test_answers_that_follow_no_space_are_taken():
    found = of_rows({"answer": "5", "distractor": "7"}, {"answer": ")", "distractors": "]|}", "distractor": ...})
    assert [row["answer"] for row in found] == ["5", ")"]


@pytest.mark.parametrize("name", ["Cluster", "cluster ", "Split", " Distractors", "ID"])
def test_a_column_that_is_nearly_a_known_one_is_named(tmp_path, name):
    (tmp_path / "p.csv").write_text(f"clean,corrupt,answer,distractor,{name}\na,b, c, d,e\n")
    (tmp_path / "t.csv").write_text(f"first,second,{name}\na,b,c\n")
    message = f"the column '{name}', which is not used; rename it to '{name.strip().lower()}'"
    with pytest.raises(ValueError, match=message):
        custom.rows(tmp_path / "p.csv", 0.5)
    if "istractor" not in name:
        with pytest.raises(ValueError, match=message):
            texts.rows_of_file(tmp_path / "t.csv", 0.5)
    else:
        # Which texts have none of.
        assert texts.rows_of_file(tmp_path / "t.csv", 0.5)


def test_other_columns_may_be_called_anything():
    assert of_rows({"Cluster": "x", "cluster": "y", "notes": ""}, {"Cluster": "x", "cluster": "z"})[0]["cluster"] == "y"


def test_a_row_without_a_cluster_is_in_that_of_the_rows_that_share_its_prompts():
    rows = [{"clean": "A"}, {"clean": "A", "corrupt": "B", "cluster": "x"}, {"clean": "B"}, {"cluster": "y"}, {}]
    assert [row["cluster"] for row in of_rows(*rows)] == ["x", "x", "x", "y", "000004"]
    assert {row["split"] for row in of_rows(*rows)[:3]} == {"train"}


def test_a_file_without_rows_says_so(tmp_path):
    (tmp_path / "p.csv").write_text("clean,corrupt,answer,distractor\n")
    (tmp_path / "p.jsonl").write_text("\n")
    for name in ("p.csv", "p.jsonl"):
        with pytest.raises(ValueError, match=f"{name} has no rows"):
            custom.rows(tmp_path / name, 0.5)
    row = {"clean": "long", "corrupt": "longer"}
    with pytest.raises(ValueError, match=r"no row whose prompts have at most 3 characters"):
        datasets.pairs(list(row), [row], "p.csv", longest=3)


def test_text_that_no_file_can_hold_and_json_that_is_too_deep_are_named_by_line(tmp_path):
    path = tmp_path / "p.jsonl"
    sound = {
        "clean": "a",
        "corrupt": "b",
        "answer": " c",
        "distractor": " d",
        "template": "e",
        "first": "f",
        "second": "g",
    }
    path.write_text(json.dumps({**sound, "clean": "\U0001f600"}) + "\n")
    assert user_tables.rows(path)[1][0]["clean"] == "\U0001f600"
    for key in ("clean", "template", "first"):
        path.write_text(json.dumps(sound) + "\n" + json.dumps(sound | {key: f"a {HALF}"}) + "\n")
        for read in (custom.rows, texts.rows_of_file):
            with pytest.raises(ValueError, match=r"p.jsonl, line 2: .* half of a character"):
                read(path, 0.5)
    with pytest.raises(ValueError, match=r"the table, row 1: .* half of a character"):
        of_rows({"distractors": [" b", f" {HALF}"]})
    for depth in (990, 100_000):
        path.write_text('{"choices": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(ValueError, match="line 1: its lists or objects are nested too deeply"):
            user_tables.rows(path)


def test_times_that_python_cannot_hold_are_named_with_their_column(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    for kind in (pa.timestamp("ms"), pa.duration("ms")):
        table = pa.table({"clean": ["a"], "when": pa.array([2**60]).cast(kind)})
        parquet.write_table(table, tmp_path / "p.parquet")
        with pytest.raises(ValueError, match=r"p.parquet, column 'when' holds values .* cannot be read"):
            user_tables.rows(tmp_path / "p.parquet")
    (tmp_path / "p.parquet").write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    with pytest.raises(ValueError, match="is no Parquet file that can be read"):
        user_tables.rows(tmp_path / "p.parquet")
    assert pd.isna(user_tables.number(None, "a"))
    with pytest.raises(ValueError, match="is not a number"):
        user_tables.number(10**400, "a")


def test_a_small_superscript_is_no_place_of_a_choice():
    record = {"choices": ["a", "b", "c"], "answerKey": "²"}
    with pytest.raises(ValueError, match="row 1: answerKey is '²', which is none of its 3 choices"):
        datasets.choices_of(record, "answerKey", "row 1")


def test_numbers_that_yaml_reads_otherwise_are_named_by_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text('a: 0100\nb: {c: [7, 1:40]}\nd: "0100"\ne: 0.5\nf: &f [*f]\n')
    with pytest.raises(ConfigError) as problem:
        check_repeated([path])
    octal, sixty = sorted(str(problem.value).splitlines())
    assert "line 1: a is 0100, which YAML reads as 64; write 100" in octal
    assert "line 2: b.c is 1:40, which YAML reads as 100; write without the colon" in sixty


def wrong(path, value):
    """What is said of the shipped config with a value, by its dotted key."""
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    *above, last = path.split(".")
    block = config
    for key in above:
        block = block.setdefault(key, {})
    block[last] = value
    with pytest.raises(ConfigError) as problem:
        schema.check_schema(config)
        reuse.check_counts(config)
    return str(problem.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("tests.alpha", "1e-3", "must be of type number, and YAML reads 1e-3 as text: write 1.0e-3"),
        ("examples.count", "1e3", "must be of type integer, and YAML reads 1e3 as text: write 1000"),
        ("examples.count", "0100", "examples.count is '0100'; it must be of type integer"),
        ("model_sources", {"m" * 300: {"path": "x"}}, "has 300 characters; at most 100 are allowed"),
        ("scaling.transfer.pairs", [["a", "b"], ["a", "b"]], "scaling.transfer.pairs has ['a', 'b'] twice"),
        ("generic.texts", f"a{HALF}", "generic.texts is 'a\\ud83d'; it must be text"),
        ("circuits.top_k", [4, 8.5], "circuits.top_k: 8.5 is neither a count nor a share below 1"),
        ("fine_grained.top_k.neuron", 8.5, "fine_grained.top_k.neuron: 8.5 is neither a count nor a share"),
    ],
)
def test_a_value_that_is_nearly_right_is_named_with_its_key(path, value, words):
    assert words in wrong(path, value)


def expanded(*revisions, models=("run",)):
    config = {"model_sources": {"run": {"hub": "me/run", "revisions": list(revisions)}}, "models": list(models)}
    series.expand(config)
    return config


def test_a_checkpoint_that_is_named_beside_its_series_is_there_once():
    assert expanded("early", "late", models=("run", "run-late"))["models"] == ["run-early", "run-late"]


@pytest.mark.parametrize(
    ("revisions", "steps"),
    [
        (["500M", "10B", "1T", "1.5T"], [5 * 10**8, 10**10, 10**12, 15 * 10**11]),
        (["step500", "step10k"], [500, 10_000]),
        (["llama-7b-ckpt-100", "llama-7b-ckpt-200"], [100, 200]),
        (["v1.9", "v2.0"], [0, 1]),
        ([f"{n}" * 39 + "a" for n in (2, 1)], [0, 1]),
    ],
)
def test_steps_are_read_with_their_units(revisions, steps):
    assert [source["step"] for source in expanded(*revisions)["model_sources"].values()] == steps


@pytest.mark.parametrize(
    ("revisions", "words"),
    [
        (["step10", "step10-v2"], "'step10' and 'step10-v2' are both of step 10"),
        (["100", "1B"], "'1B' has a number with a unit, and '100' one without"),
        (["step1000", "tokens3B"], "'tokens3B' has a number with a unit"),
        (["step" + "0" * 200, "step1"], "the name of a model, has 208 characters"),
    ],
)
def test_steps_that_give_no_order_are_refused(revisions, words):
    with pytest.raises(ConfigError, match=f"model_sources.run.revisions: .*{words}"):
        expanded(*revisions)


def test_names_that_look_like_numbers_or_nothing_are_names(tmp_path):
    path = tmp_path / "skipped.csv"
    names = {"model": ["NA", "null", "007", "125"], "task": ["nan", "1e5", "None", "12"]}
    frame = pd.DataFrame({"study": "reuse", **names, "usable": [1, None, 3, 4], "needed": 10, "reason": "few"})
    csv_tables.write(path, frame.astype({"usable": "Int64"}), stage_findings.SKIPPED)
    for read in (csv_tables.read(path), stage_findings.read(path, "model p_value")):
        assert read["model"].tolist() == names["model"] and read["task"].tolist() == names["task"]
        assert read["usable"].isna().tolist() == [False, True, False, False] and read["usable"].sum() == 8
    (tmp_path / "none.csv").write_text("")
    assert stage_findings.read(tmp_path / "none.csv", "model p_value").columns.tolist() == ["model", "p_value"]


def test_every_reader_of_own_tables_takes_names_as_text():
    """In the modules that draw figures, write sentences and set claims beside tables."""
    root = PROJECT / "workflow" / "scripts" / "circuit_reuse"
    found = [
        *root.glob("studies/*/figures.py"),
        root / "studies/common/stage_findings.py",
        root / "papers/stage_claims.py",
    ]
    assert len(found) == 7 and [path for path in found if "pd.read_csv" in path.read_text()] == []


def test_options_at_the_ends_of_their_range_make_prompts():
    for task, options in (("boolean", {"operators": 20}), ("boolean_parentheses", {"operators": 20})):
        assert generate(task, 8, options=options)
    assert generate("addition", 2, options={"largest": 20, "second": 9})
    assert generate("sarcasm", 4, options={"praise_share": 0}) and generate("sarcasm", 4, options={"praise_share": 1})


def own(file, **more):
    return {"sets__own": {"file": str(file), "behaviour": None} | more}


def test_texts_that_do_not_differ_are_named(monkeypatch, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text,set\n" + "".join(f"a{n},x\n" for n in range(40)))
    with pytest.raises(ConfigError, match=r"own.first and second are both 'x'; they must be two values"):
        checked("contrast", contrast.check, monkeypatch, **own(path, paired=False, first="x", second="x"))
    path.write_text("first,second\n" + "".join(f"Oh {n},Oh {n}\n" for n in range(40)))
    with pytest.raises(ConfigError, match=r"own.file: first and second are the same text in every row"):
        checked("contrast", contrast.check, monkeypatch, **own(path))
    path.write_text("first,second\n" + "".join(f"Oh {n},Oh {n + 100 * (n > 2)}\n" for n in range(40)))
    with pytest.warns(
        ConfigNote, match=r"same text in 3 of 40 rows of .*, which add no difference; the first is of id '000000'"
    ):
        checked("contrast", contrast.check, monkeypatch, **own(path))


def test_circuits_for_tasks_that_are_not_run_are_noted(monkeypatch, tmp_path):
    path = tmp_path / "mine.json"
    given = {"circuits": {"mine": {"file": str(path)}}}
    path.write_text(json.dumps({"circuits": {"digits": ["a0.h1"], "capitals": ["a0.h1"]}}))
    with pytest.warns(
        ConfigNote, match=r"circuits.mine.file: .* has circuits for capitals, for which the study tests none"
    ):
        checked("sequences", sequences.check, monkeypatch, **given)
    path.write_text(json.dumps({"circuits": {"capitals": ["a0.h1"]}}))
    with pytest.raises(ConfigError, match=r"is for capitals, and the study tests circuits for none of them"):
        checked("sequences", sequences.check, monkeypatch, **given)
    path.write_text(json.dumps({"circuits": {"digits": ["a0.h1"]}}))
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always", ConfigNote)
        checked("sequences", sequences.check, monkeypatch, **given)
    assert not [each for each in noted if "mine" in str(each.message)]


def test_a_pair_of_models_is_listed_once(monkeypatch):
    models = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())["models"]
    with pytest.raises(ConfigError, match=r"transfer.pairs has .* twice"):
        checked("scaling", scaling.check, monkeypatch, transfer__pairs=[models, models])


def test_options_that_make_a_prompt_too_deep_are_an_error_of_one_line():
    with pytest.raises(ConfigError, match=r"task_options.boolean_parentheses: operators is 100000"):
        checks.try_out("boolean_parentheses", {"operators": 100_000}, None, "task_options.boolean_parentheses")


def test_a_path_that_no_disk_can_hold_is_left_to_the_check_of_its_key():
    config = {"file": f"resources/{'a' * 300}", "text": "config/a\0b"}
    before = dict(config)
    paths.from_project(config, PROJECT)
    assert config == before
    with pytest.raises(ConfigError, match=r"generic.texts: .* cannot be read: File name too long"):
        paths.readable_file(config["file"], "generic.texts")
