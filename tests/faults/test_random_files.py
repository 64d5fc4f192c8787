"""Random files with random damage: what comes out is what the file says, or one error that names it; never a third."""

import csv
import io
import json
import math
import os
import shutil

import pytest
import torch
from circuit_reuse.config import errors
from circuit_reuse.data import circuit_files, components, examples, fingerprint
from circuit_reuse.engine import models, plain_model
from circuit_reuse.prompts import custom
from circuit_reuse.studies.scaling import columns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support import MODELS
from tokenizers import Tokenizer

SMALL = MODELS / "tiny-gpt2-small"
FUZZED = int(os.environ.get("FUZZ", "60"))
# Loading a model takes a while.
LOADED = max(FUZZED // 4, 12)


def drawn(count=FUZZED):
    """How many cases, the same ones each time unless FUZZ says how many."""
    return settings(
        max_examples=count,
        derandomize="FUZZ" not in os.environ,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)
CELL = st.one_of(
    TEXT, st.sampled_from(["a, b", 'say "no"', "two\nlines", " lead", "NA", "null", "007", "True", "1e5", "=1+1", "é"])
)


@st.composite
def tables(draw):
    """Rows of prompts, and the same as a CSV in some dialect."""
    rows = [
        {
            "clean": f"c{n} {draw(CELL)}",
            "corrupt": f"d{n} {draw(CELL)}",
            "answer": f" x{draw(CELL)}".rstrip(),
            "distractor": f" y{draw(CELL)}".rstrip(),
        }
        for n in range(draw(st.integers(2, 6)))
    ]
    if draw(st.booleans()):
        for row in rows:
            row["cluster"] = draw(st.sampled_from(["1", "2", "NA", "a,b", ""]))
    names = draw(st.permutations(list(rows[0])))
    stream = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.DictWriter(stream, names, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writeheader()
    writer.writerows(rows)
    return rows, stream.getvalue(), draw(st.booleans())


@drawn()
@given(table=tables())
def test_a_table_in_any_dialect_is_read_as_it_was_written(table, tmp_path_factory):
    rows, text, marked = table
    path = tmp_path_factory.mktemp("table") / "mine.csv"
    path.write_bytes((b"\xef\xbb\xbf" if marked else b"") + text.encode())
    found, _ = custom.rows(path, 0.5)
    assert [(row["clean"], row["corrupt"], row["answer"], row["distractors"]) for row in found] == [
        (row["clean"], row["corrupt"], row["answer"], [row["distractor"]]) for row in rows
    ]
    assert [row["cluster"] for row in found] == [
        row.get("cluster") or row_id for row, row_id in zip(rows, ids(found), strict=True)
    ]


def ids(found):
    """What a row without a cluster is called."""
    return [row["id"] for row in found]


@drawn()
@given(table=tables(), data=st.data())
def test_a_damaged_table_is_refused_or_read_as_it_is_now(table, data, tmp_path_factory):
    """A cell more or less in one row, a byte gone or another: no row that is read has cells of two rows."""
    rows, text, _ = table
    path = tmp_path_factory.mktemp("table") / "mine.csv"
    content = bytearray(text.encode())
    place = data.draw(st.integers(0, len(content) - 1))
    what = data.draw(st.sampled_from(["comma", "drop", "byte", "cut"]))
    if what == "comma":
        content.insert(place, ord(","))
    elif what == "drop":
        del content[place]
    elif what == "byte":
        content[place] = data.draw(st.integers(0, 255))
    else:
        del content[place:]
    path.write_bytes(bytes(content))
    try:
        found, _ = custom.rows(path, 0.5)
    except UnicodeDecodeError:
        return
    except ValueError as problem:
        assert str(path) in str(problem) and "\n" not in str(errors.ConfigError(problem))
        return
    # One damage at one place: all rows but one or two are as they were.
    texts = {value for row in rows for value in row.values()}
    changed = [row for row in found if not {row["clean"], row["corrupt"], row["answer"], *row["distractors"]} <= texts]
    assert len(changed) <= 2, (what, place, found)


SCORE = st.one_of(st.floats(-5, 5), st.sampled_from([math.nan, math.inf, -math.inf, None, "strong", True]))


@drawn()
@given(scores=st.lists(SCORE, min_size=2, max_size=8), kind=st.sampled_from(["json", "csv"]))
def test_scores_of_a_circuit_file_are_finite_and_the_strongest_are_chosen(scores, kind, tmp_path_factory):
    shape = fingerprint.shape(SMALL)
    names = [f"A{layer}.{head}->MLP {layer}" for layer in range(shape.layers) for head in range(shape.heads)][
        : len(scores)
    ]
    path = tmp_path_factory.mktemp("circuit") / f"edges.{kind}"
    if kind == "json":
        path.write_text(json.dumps(dict(zip(names, scores, strict=True))))
    else:
        lines = (f"{name},{'' if score is None else score}" for name, score in zip(names, scores, strict=True))
        path.write_text("\n".join(["edge,score", *lines]))
    try:
        found = circuit_files.read(path, shape, keep=0.5)
    except circuit_files.CircuitFileError as problem:
        assert str(path) in str(problem) or "no score" in str(problem)
        return
    assert all(isinstance(score, float | int | None) and (score is None or math.isfinite(score)) for score in scores)
    kept = [abs(score or 0) for score in found.edges.values()]
    assert min(kept) >= sorted((abs(score or 0) for score in scores), reverse=True)[len(kept) - 1] - 1e-12


@drawn()
@given(data=st.data(), rows=st.integers(1, 6))
def test_a_head_table_has_whole_places_or_is_refused(data, rows, tmp_path_factory):
    cell = st.sampled_from(["0", "1", "2.0", "0.5", "", "NA", "-1", "L3", "inf", "1e0"])
    lines = [
        [
            "f",
            data.draw(st.sampled_from(["m", "NA", "", "null"])),
            data.draw(cell),
            data.draw(cell),
            data.draw(cell),
            data.draw(cell),
        ]
        for _ in range(rows)
    ]
    path = tmp_path_factory.mktemp("heads") / "heads.csv"
    path.write_text("\n".join(["family,model,layer,head,delta_x,delta_y", *(",".join(line) for line in lines)]) + "\n")
    try:
        found = columns.rows_of(path)
    except columns.TableError as problem:
        assert "row" in str(problem)
        return
    assert len(found) == rows
    for row, line in zip(found, lines, strict=True):
        assert row["model"] == line[1] != "" and row["layer"] == float(line[2]) and row["head"] == float(line[3])
        assert all(
            math.isnan(row[name]) if text in ("", "NA") else row[name] == float(text)
            for name, text in zip(("delta_x", "delta_y"), line[4:], strict=True)
        )


CONFIG = {
    "n_layer": [1, 2, 3, 4],
    "n_head": [2, 4, 8],
    "n_embd": [32, 64],
    "vocab_size": [100, 2000, 50257],
    "n_positions": [16, 64, 1024],
    "architectures": [["GPT2Model"], ["GPT2LMHeadModel"], ["GPT2ForSequenceClassification"]],
    "tie_word_embeddings": [True, False],
    "activation_function": ["gelu_new", "relu"],
}


@drawn(LOADED)
@given(data=st.data())
def test_a_damaged_model_is_refused_by_name_or_is_the_plain_model(data, tmp_path_factory):
    """A tensor gone, renamed, of another shape or added, or a config that belongs to other weights."""
    folder = tmp_path_factory.mktemp("model") / "model"
    shutil.copytree(SMALL, folder)
    weights = load_file(folder / "model.safetensors")
    name = data.draw(st.sampled_from(sorted(weights)))
    what = data.draw(st.sampled_from(["drop", "rename", "shape", "add", "prefix", "config", "cut", "nothing"]))
    if what == "drop":
        del weights[name]
    elif what == "rename":
        weights[f"{name}_"] = weights.pop(name)
    elif what == "shape":
        weights[name] = weights[name].flatten()[:-1].clone()
    elif what == "add":
        weights[name.replace("h.0", "h.7") + ".more"] = torch.zeros(3)
    elif what == "prefix":
        weights = {f"model.{key}": value for key, value in weights.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = folder / "config.json"
    about = json.loads(config.read_text())
    if what == "config":
        key = data.draw(st.sampled_from(sorted(CONFIG)))
        about[key] = data.draw(st.sampled_from(CONFIG[key]))
        config.write_text(json.dumps(about))
    elif what == "cut":
        path = folder / data.draw(st.sampled_from(["model.safetensors", "config.json", "tokenizer.json"]))
        path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, path.stat().st_size - 1))])
    try:
        fingerprint.files(folder)
        fingerprint.check_intact(folder)
        fingerprint.shape(folder)
        found = plain_model.compare(models.load(folder, "cpu", threads=1), folder)
    except fingerprint.ModelError as problem:
        assert "Traceback" not in str(problem) and len(str(problem)) < 800
        assert what != "nothing", problem
        return
    # What is loaded is all of it, and nothing else.
    assert what in ("nothing", "config") and found["bridge_difference"] < 1e-3
    if what == "nothing":
        assert found["parameters"] == sum(value.numel() for value in weights.values())


@drawn()
@given(data=st.data(), text=st.sampled_from(["When Mary and John went to the", "May June July August September"]))
def test_what_a_tokenizer_carries_along_changes_no_prompt(data, text, tmp_path_factory):
    """Stored truncation and padding, and where it puts BOS."""
    folder = tmp_path_factory.mktemp("tokenizer") / "model"
    shutil.copytree(SMALL, folder)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if data.draw(st.booleans()):
        stored.enable_truncation(data.draw(st.integers(1, 4)))
    if data.draw(st.booleans()):
        stored.enable_padding(length=data.draw(st.integers(1, 40)))
    stored.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    about = json.loads(path.read_text()) | {
        "model_max_length": 3,
        "padding_side": "left",
        "add_bos_token": data.draw(st.booleans()),
    }
    if data.draw(st.booleans()):
        about["bos_token"] = data.draw(st.sampled_from([None, "<|endoftext|>", {"content": "<|endoftext|>"}]))
    path.write_text(json.dumps(about))
    bos = data.draw(st.sampled_from(["auto", "always", "never"]))
    reader = examples.reader(folder, bos)
    assert reader.encode(text).ids == plain
    if bos == "never" or ("bos_token" in about and about["bos_token"] is None):
        assert reader.bos is None
    assert bos != "auto" or reader.bos is None or about["add_bos_token"]


@drawn()
@given(names=st.lists(st.text("amh.0123456789qkv-<> ", max_size=7), min_size=1, max_size=5))
def test_a_name_is_a_component_or_refused(names):
    for name in names:
        try:
            kind = components.kind(name)
        except ValueError as problem:
            assert repr(name) in str(problem)
            continue
        assert (kind in ("head", "mlp") and components.order(name) >= (0, 0)) or name == "input"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_table_of_another_separator_is_refused(tmp_path, separator):
    path = tmp_path / "mine.csv"
    path.write_text(separator.join(["clean", "corrupt", "answer", "distractor"]) + "\n" + separator.join("abcd") + "\n")
    with pytest.raises(ValueError, match=r"divided by|has no column"):
        custom.rows(path, 0.5)
