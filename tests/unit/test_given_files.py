"""Files that a user gives and that other readers take wrongly without a word: each is read right, or is one clear error."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from circuit_reuse import api
from circuit_reuse.config import checks, custom_files
from circuit_reuse.config.errors import ConfigError, ConfigNote
from circuit_reuse.config.repeated import check_repeated
from circuit_reuse.data import circuit_files, examples, fingerprint, user_tables
from circuit_reuse.data.circuit_formats import Circuit
from circuit_reuse.engine import architectures, models
from circuit_reuse.prompts import custom, datasets
from circuit_reuse.studies.contrast import texts
from circuit_reuse.studies.sequences import given_circuits
from support import MODELS, PROJECT
from transformers import AutoConfig, AutoTokenizer

SMALL = MODELS / "tiny-gpt2-small"
GEMMA = {"hidden_size": 3840, "num_attention_heads": 16, "num_key_value_heads": 8, "num_hidden_layers": 48}


@pytest.fixture
def folder(tmp_path):
    """A copy of the small model whose files a test may change."""
    shutil.copytree(SMALL, tmp_path / "model")
    return tmp_path / "model"


def edited(folder, name, **changes):
    """A JSON file of a model with some keys changed."""
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | changes))


def test_a_key_that_a_config_has_twice_is_named_with_both_lines(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("scaling: {models: [a]}\ncontrast:\n  models: [a]\n\ncontrast:\n  budget: 0.6\n  budget: 0.7\n")
    with pytest.raises(ConfigError) as problem:
        check_repeated([path])
    lines = sorted(str(problem.value).splitlines())
    assert len(lines) == 2 and "line 5: contrast is also set in line 2" in lines[0]
    assert "line 7: contrast.budget is also set in line 6" in lines[1]


@pytest.mark.parametrize("path", sorted((PROJECT / "config").rglob("*.yaml")), ids=lambda path: path.name)
def test_no_shipped_config_has_a_key_twice(path):
    check_repeated([path])


def test_a_key_that_a_row_has_twice_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"clean": "a"}\n{"clean": "a", "answer": " x", "answer": " z"}\n')
    with pytest.raises(ValueError, match=r"line 2.*'answer' is listed twice"):
        user_tables.rows(path)


def rows(tmp_path, *records, **options):
    """Rows of a custom task from records, written one a line."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return custom.rows(path, 0.5, **options)[0]


def test_a_key_of_choices_that_is_a_number_is_the_label_where_labels_are_numbers(tmp_path):
    for key in (2, "2"):
        asked = [
            {"question": f"Q{n}?", "choices": {"label": [1, 2, 3], "text": ["a", "b", "c"]}, "answerKey": key}
            for n in range(6)
        ]
        assert {row["answer"] for row in rows(tmp_path, *asked, format="questions")} == {" B"}


def test_a_number_is_a_place_in_the_benchmark_whatever_the_labels_are():
    record = {"choices": {"label": [1, 2, 3], "text": ["a", "b", "c"]}, "answerKey": 1}
    assert datasets.choices_of(record, "answerKey", "row 1") == (["1", "2", "3"], 1)
    assert datasets.choices_of(record, "answerKey", "row 1", numbered=True)[1] == 0


@pytest.mark.parametrize(
    "choices", ["['Paris', 'Rome']", None, {"text": ["a", "b"]}, {"label": ["A"], "text": ["a", "b"]}, 3]
)
def test_choices_that_are_no_list_are_refused(tmp_path, choices):
    with pytest.raises(ValueError, match=r"row 1: choices is .* it must be a list"):
        rows(tmp_path, {"question": "Q?", "choices": choices, "answer": 0}, format="questions")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"corrupt": ["a"]}, "corrupt is empty or not text"),
        ({"distractors": 5}, "distractors is 5; it must be a list"),
        ({"distractors": {"a": 1}}, "it must be a list"),
    ],
)
def test_a_cell_of_another_type_is_named_with_its_row(tmp_path, change, words):
    row = {"clean": "a b", "corrupt": "a c", "answer": " x", "distractor": " y"}
    with pytest.raises(ValueError, match=words):
        rows(tmp_path, row, row | {"clean": "q"} | change)


def test_a_space_at_the_end_makes_no_other_cluster_and_answers_keep_theirs(tmp_path):
    made = [
        {
            "clean": f"a {n}",
            "corrupt": f"b {n}",
            "answer": " x",
            "distractor": " y",
            "corrupt_answer": " y",
            "cluster": mark,
        }
        for n, mark in enumerate(["s1", "s1 ", " s1", "s2"])
    ]
    found = rows(tmp_path, *made)
    assert [row["cluster"] for row in found] == ["s1", "s1", "s1", "s2"] and found[0]["corrupt_answer"] == " y"


def test_repeated_texts_count_once(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("first,second\n" + "Oh great,Oh no\n" * 40 + "Oh well,Oh dear\n")
    found, repeats = texts.rows_of_file(path, 0.5)
    assert [row["first"] for row in found] == ["Oh great", "Oh well"] and repeats == 39


def test_clusters_of_unpaired_texts_are_refused_and_labels_of_each_are_not(tmp_path):
    path = tmp_path / "texts.csv"
    for mark, refused in ((True, True), (False, False)):
        lines = [f"text {n},{'ab'[n % 2]},c{n % 2 if mark else n}" for n in range(12)]
        path.write_text("\n".join(["text,set,cluster", *lines]))
        if refused:
            with pytest.raises(texts.TextError, match="put into pairs at random"):
                texts.rows_of_file(path, 0.5, ("a", "b"))
        else:
            assert len(texts.rows_of_file(path, 0.5, ("a", "b"))[0]) == 12


def written(path, content):
    """A file with JSON, or with text."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


SHAPE = fingerprint.shape(SMALL)
GRAPH = {"cfg": {"n_layers": SHAPE.layers, "n_heads": SHAPE.heads, "d_model": SHAPE.d_model}, "nodes": {}, "edges": {}}


@pytest.mark.parametrize(
    ("name", "content", "keep", "words"),
    [
        ("a.csv", "edge,Score\na0.h0->m0,1\n", 0.5, "must stand in a column score; found: edge, Score"),
        ("a.csv", "edge,weight\na0.h0->m0,1\n", None, "must stand in a column score"),
        ("a.json", ["A0.0->MLP 0", "A0.1->MLP 1"], 0.5, "2 of 2 have no score"),
        ("a.json", {"nodes": ["a0.h0"], "scores": {"a0.h0": 1.0}}, 0.5, "take `keep` out"),
        ("a.json", {"format": "circuit-reuse", "version": 1, "nodes": [{"name": "a0.h0"}]}, 0.5, "take `keep` out"),
        ("a.json", GRAPH | {"nodes": {"a0.h0": {"in_graph": "False"}}}, None, "in_graph is 'False'"),
        ("a.json", GRAPH | {"nodes": {"a0.h0": {"in_graph": True}}}, 0.5, "take `keep` out"),
        ("a.json", {"nodes": ["a0.h0"], "scores": [1.0]}, None, "scores must be objects"),
        ("a.json", GRAPH | {"nodes": ["a0.h0"]}, None, "must be objects"),
        ("a.json", GRAPH | {"edges": {"a0.h1->m1": "yes"}}, None, "in_graph is 'yes'"),
        ("a.json", {"nodes": ["a0.h0"], "metadata": {"write_budget_max": "many"}}, None, "'many' is no score"),
        (
            "a.json",
            GRAPH | {"nodes": {"a0.h0": {"in_graph": True}}, "cfg": {"n_layers": "2", "n_heads": 4}},
            None,
            "a.json",
        ),
    ],
)
def test_a_circuit_file_of_another_form_is_one_error_with_its_name(tmp_path, name, content, keep, words):
    with pytest.raises(circuit_files.CircuitFileError) as problem:
        circuit_files.read(written(tmp_path / name, content), SHAPE, keep)
    assert words in str(problem.value) and name in str(problem.value)


@pytest.mark.parametrize(
    "content", [{"circuits": {"ioi": {"a0.h1": 0.3}}}, {"circuits": {"ioi": None}}, None, [1], {"circuits": 3}]
)
def test_a_file_of_circuits_of_another_form_is_one_error(tmp_path, content):
    with pytest.raises(circuit_files.CircuitFileError, match=r"a.json"):
        given_circuits.read(written(tmp_path / "a.json", content))


def test_circuits_that_are_compared_are_of_the_model():
    model = models.load(SMALL, "cpu", threads=1)
    with pytest.raises(ValueError, match=r"a9.h9"):
        api.compare(model, ["a9.h9"], ["a0.h0"])
    assert api.compare(model, (["a0.h0"], 0.5), ["input", "a0.h0"])["n_shared"] == 1


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", {"text_config": 3}, "text_config is 3"),
        ("config.json", {"n_positions": "1024"}, "n_positions is '1024'"),
        ("config.json", {"head_dim": "64"}, "head_dim is '64'"),
        ("model.safetensors.index.json", {"weight_map": []}, "weight_map names no files"),
        ("model.safetensors.index.json", {"weight_map": {"a": 3}}, "weight_map names no files"),
        ("adapter_config.json", {}, "holds an adapter"),
        ("tokenizer.json", {"model": {"type": "Nope"}}, "tokenizer.json cannot be read"),
        ("tokenizer_config.json", {"chat_template": {"other": "x"}}, "has no chat template"),
    ],
)
def test_a_damaged_file_of_a_model_is_named(folder, file, changes, words):
    edited(folder, file, **changes)
    with pytest.raises((fingerprint.ModelError, examples.ReaderError)) as problem:
        fingerprint.files(folder)
        fingerprint.shape(folder)
        fingerprint.positions(folder)
        examples.reader(folder, chat=True)
    assert words in str(problem.value)


def test_files_that_are_cut_off_are_named(folder):
    (folder / "tokenizer_config.json").write_text('{"bos_token": ')
    with pytest.raises(fingerprint.ModelError, match=r"tokenizer_config.json is damaged"):
        examples.reader(folder)


def test_pickles_beside_safetensors_of_another_name_are_not_loaded(folder):
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(fingerprint.ModelError, match=r"neither model.safetensors nor"):
        fingerprint.files(folder)


def test_an_empty_quantisation_and_one_architecture_as_text_are_no_fault(folder):
    edited(folder, "config.json", quantization_config=None, text_config=None, architectures="GPT2LMHeadModel")
    assert fingerprint.shape(folder) == fingerprint.shape(SMALL) and architectures.unsupported(folder) is None


def test_what_a_config_leaves_to_its_class_is_what_transformers_takes(tmp_path):
    """The published configs of Gemma 3 leave out the width of a head, the small one the number of heads, too."""
    for silent in ((), ("num_attention_heads", "num_key_value_heads")):
        inner = {key: value for key, value in GEMMA.items() if key not in silent}
        written(
            tmp_path / "config.json", {"model_type": "gemma3", "text_config": inner | {"model_type": "gemma3_text"}}
        )
        loaded = AutoConfig.from_pretrained(tmp_path).get_text_config()
        space = fingerprint.shape(tmp_path)
        assert (space.heads, space.d_head) == (loaded.num_attention_heads, loaded.head_dim) and space.d_head == 256
        assert space.kv_heads == loaded.num_key_value_heads
        assert examples.limits(tmp_path) == (loaded.max_position_embeddings, loaded.vocab_size)


def test_families_whose_heads_have_a_width_of_their_own_are_those_of_transformers():
    found = []
    for kind in architectures.FAMILIES:
        config = AutoConfig.for_model(kind).get_text_config()
        plain = {"head_dim": None} if "head_dim" in config.to_dict() else {}
        if plain and type(config)().to_dict()["head_dim"] is not None:
            # A class that computes it from the width gives another for another width.
            wide = type(config)(hidden_size=2 * config.hidden_size).head_dim
            found += [kind] if wide == config.head_dim else []
    assert sorted(found) == sorted(fingerprint.OWN_HEAD_WIDTH)


def test_a_model_of_another_shape_than_was_read_is_refused():
    config = AutoConfig.from_pretrained(SMALL)
    models.check_shape(config, SHAPE, SMALL)
    config.n_head = 2 * SHAPE.heads
    with pytest.raises(fingerprint.ModelError, match=f"gives heads {SHAPE.heads}, .* has {2 * SHAPE.heads}"):
        models.check_shape(config, SHAPE, SMALL)


def test_a_token_that_is_null_is_no_word_of_a_chat(folder):
    template = "{{ bos_token }}User: {{ messages[0]['content'] }}"
    edited(folder, "tokenizer_config.json", bos_token=None, chat_template=template)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    assert examples.reader(folder, chat=True).text("Hello") == "User: Hello"
    edited(folder, "tokenizer_config.json", chat_template={"default": template})
    assert examples.reader(folder, chat=True).text("Hello") == "User: Hello"
    edited(folder, "tokenizer_config.json", chat_template="{{ 1 + messages[0]['content'] }}")
    with pytest.raises(examples.ReaderError, match="the chat template cannot be used"):
        examples.reader(folder, chat=True).text("Hello")


def test_the_steps_of_a_tokenizer_decide_on_bos_whatever_its_settings_say(folder):
    """As transformers has it, which is asked here."""
    bos = fingerprint.bos_of(folder)
    number = examples.load_tokenizer(folder)[1]
    steps = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {bos: {"id": bos, "ids": [number], "tokens": [bos]}},
    }
    for post, said in ((steps, False), (steps, True), (None, False)):
        edited(folder, "tokenizer.json", post_processor=post)
        edited(folder, "tokenizer_config.json", add_bos_token=said)
        whole = AutoTokenizer.from_pretrained(folder)("a").input_ids
        assert (examples.reader(folder).bos is not None) == (whole[0] == number) == bool(post)


def test_where_there_is_no_bos_nothing_is_put_first_and_that_is_said(folder, monkeypatch):
    edited(folder, "tokenizer_config.json", bos_token=None)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    assert examples.reader(folder, bos="always").bos is None
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    config["model_sources"] = {"mine": {"path": str(folder)}}
    config["models"], config["examples"]["bos"] = ["mine"], "always"
    monkeypatch.chdir(PROJECT)
    checks.check_schema(config)
    with pytest.warns(ConfigNote, match=r"examples.bos is 'always', but mine has no BOS token"):
        assert checks.check_model("mine", config, (PROJECT, PROJECT))


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("addition", {"second": 1}, "second is 1; it must be 2 to 1,000,000"),
        ("addition", {"largest": 2}, "largest is 2; it must be 3 to 1,000,000"),
        ("boolean", {"operators": 5000}, "operators is 5000; it must be 1 to 20"),
        ("sarcasm", {"praise_share": 75}, "praise_share is 75; it must be 0 to 1"),
        ("sarcasm", {"praise_share": "1e-1"}, "must be a number, and YAML reads 1e-1 as text: write 1.0e-1"),
        ("mcqa", {"choices": 7}, "choices is 7; it must be from 2 to 6"),
        ("comparison", {"digits": 4}, "digits is 4; it must be 1, 2 or 3"),
        ("digits", {"members": ["a", "b"], "length": 1}, "leave no other element for the corrupt prompt"),
        ("addition", {"largest": "99"}, "largest is '99'; it must be a whole number above 0"),
        ("addition", {"digits": 4}, "it must be 1, 2 or 3"),
        ("digits", {"length": 4.0}, "length is 4.0; it must be a whole number"),
        ("digits", {"step": 1.5}, "step is 1.5"),
        ("digits", {"largest": -1}, "largest is -1"),
        ("digits", {"frame": "{word!r} {item}"}, "slots word!r"),
        ("digits", {"members": list(range(8))}, "must be a list of texts"),
        ("ioi", {"variants": ["XYZ"]}, "a list of ABBA, BABA"),
        ("ioi", {"variants": [["ABBA"]]}, "a list of ABBA, BABA"),
        ("sarcasm", {"praise_share": "half"}, "must be a number"),
    ],
)
def test_options_under_which_no_prompt_can_be_made_are_refused_in_no_time(task, options, words):
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    config["task_options"] = {task: options}
    checks.check_schema(config)
    with pytest.raises(ConfigError) as problem:
        checks.check_names(config)
    assert words in str(problem.value) and f"task_options.{task}" in str(problem.value)


def test_solved_examples_count_when_a_file_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    text = "".join(f"{n // 4} {n % 4} 1 2,{n // 4} {n % 4} 1 5, 3, 6\n" for n in range(16))
    (tmp_path / "mine.csv").write_text("clean,corrupt,answer,distractor\n" + text)
    config["custom_tasks"] = {"mine": {"file": "mine.csv", "shots": 0}}
    config["model_sources"] = {"small": {"path": str(SMALL)}}
    checks.check_schema(config)
    config["examples"]["min_valid"] = 1
    task = config["custom_tasks"]["mine"]
    custom_files.check("mine", task, config, (PROJECT, tmp_path), ["small"], 16)
    task["shots"] = 8
    with pytest.raises(ConfigError, match="has 8 rows beside the 8 that are shown solved"):
        custom_files.check("mine", task, config, (PROJECT, tmp_path), ["small"], 16)


def test_the_rows_of_a_cluster_lie_in_one_split(tmp_path):
    """Whether they stand side by side or apart: what was selected on must not be tested on."""
    rows = [(f"{n} of {group}", group) for group in range(8) for n in range(2)]
    for name, order in (("beside", rows), ("apart", rows[::2] + rows[1::2])):
        path = tmp_path / f"{name}.csv"
        lines = [f"{text} clean,{text} corrupt, a, b,g{group}" for text, group in order]
        path.write_text("clean,corrupt,answer,distractor,cluster\n" + "\n".join(lines) + "\n")
        splits = {}
        for row in custom.rows(path, 0.5)[0]:
            splits.setdefault(row["cluster"], set()).add(row["split"])
        assert len(splits) == 8 and all(len(each) == 1 for each in splits.values())
        assert sum(each == {"train"} for each in splits.values()) == 4
        path.write_text("first,second,cluster\n" + "".join(f"{t} x,{t} y,g{g}\n" for t, g in order))
        of_texts = {}
        for row in texts.rows_of_file(path, 0.5)[0]:
            of_texts.setdefault(row["cluster"], set()).add(row["split"])
        assert all(len(each) == 1 for each in of_texts.values())
        assert sum(each == {"train"} for each in of_texts.values()) == 4


def test_rows_without_a_split_follow_those_of_their_cluster(tmp_path):
    path = tmp_path / "rows.csv"
    lines = [f"{n} clean,{n} corrupt, a, b,g{n % 4},{'held_out' if n == 6 else ''}" for n in range(12)]
    path.write_text("clean,corrupt,answer,distractor,cluster,split\n" + "\n".join(lines) + "\n")
    splits = [row["split"] for row in custom.rows(path, 0.5)[0] if row["cluster"] == "g2"]
    assert splits == ["held_out"] * 3
    lines = [f"{n} x,{n} y,g{n % 4},{'train' if n == 7 else ''}" for n in range(12)]
    path.write_text("first,second,cluster,split\n" + "\n".join(lines) + "\n")
    assert [row["split"] for row in texts.rows_of_file(path, 0.5)[0] if row["cluster"] == "g3"] == ["train"] * 3


def test_a_circuit_of_another_model_or_of_edges_is_not_taken_for_components(tmp_path):
    space, path = fingerprint.shape(SMALL), tmp_path / "circuit.json"
    other = Circuit(
        {"a0.h1": None, "m1": None},
        shape=replace(space, heads=space.heads + 1, kv_heads=None),
        about={"task": "digits"},
    )
    circuit_files.write(path, other, "circuit")
    read = given_circuits.read(path)
    assert read == {"digits": ["a0.h1", "m1"]}
    with pytest.raises(circuit_files.CircuitFileError, match=f"heads {space.heads + 1}; the model has {space.heads}"):
        given_circuits.check_model(path, read, space, "small")
    edges = replace(other, shape=space, edges={("a0.h1", "m1"): None})
    circuit_files.write(path, edges, "circuit")
    with pytest.raises(circuit_files.CircuitFileError, match="a circuit of edges"):
        given_circuits.read(path)
