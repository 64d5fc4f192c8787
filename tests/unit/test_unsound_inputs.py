"""Inputs that other tools read wrongly without a word: here each is read right, or is one clear error."""

import json
import shutil

import pandas as pd
import pytest
import torch
from circuit_reuse.config import schema
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.data import circuit_files, examples, fingerprint
from circuit_reuse.engine import models, plain_model, shortcuts
from circuit_reuse.prompts import custom
from circuit_reuse.report import style
from circuit_reuse.studies.contrast import texts
from safetensors.torch import load_file, save_file
from support import MODELS
from transformers import Phi3Config, Phi3ForCausalLM

SMALL = MODELS / "tiny-gpt2-small"
PAIRS = "clean,corrupt,answer,distractor\n"


@pytest.fixture
def folder(tmp_path):
    """A copy of the small model whose files a test may change."""
    shutil.copytree(SMALL, tmp_path / "model")
    return tmp_path / "model"


def rewritten(folder, change):
    """The folder with other tensors."""
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    return folder


LAST = "transformer.h.1.mlp.c_fc.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {name: value for name, value in w.items() if "h.1." not in name}, "lacks transformer.h.1.attn"),
        (lambda w: {f"_orig_mod.{name}": value for name, value in w.items()}, "with '_orig_mod.' in front"),
        (lambda w: w | {LAST: w[LAST][:, :5].contiguous()}, "other shapes than config.json says"),
        (
            lambda w: w | {LAST.replace("h.1", "h.9"): w[LAST].clone()},
            "transformer.h.9.mlp.c_fc.weight, which the model",
        ),
        (lambda w: w | {LAST.replace("weight", "lora_A"): w[LAST].clone()}, "lora_A, which the model"),
    ],
)
def test_a_model_that_lacks_weights_or_has_others_is_refused_by_their_names(folder, change, words):
    with pytest.raises(fingerprint.ModelError) as problem:
        models.load(rewritten(folder, change), "cpu")
    assert words in str(problem.value)


def test_buffers_that_old_files_hold_and_a_stored_tied_head_change_nothing(folder):
    sound = plain_model.compare(models.load(SMALL, "cpu"), SMALL)
    more = {"transformer.h.0.attn.bias": torch.zeros(1, 1, 8, 8), "transformer.h.0.attn.masked_bias": torch.zeros(1)}
    rewritten(folder, lambda w: w | more | {"lm_head.weight": w["transformer.wte.weight"].clone()})
    assert plain_model.compare(models.load(folder, "cpu"), folder) == sound
    assert sound["parameters"] == sum(value.numel() for value in load_file(SMALL / "model.safetensors").values())
    assert sound["bridge_difference"] < 1e-4 and sound["compared_lengths"][0] == 8


def test_a_model_that_is_computed_in_another_way_is_refused_with_the_number(monkeypatch):
    model, sound = models.load(SMALL, "cpu"), models.logits
    # An attention that adds its biases twice is off by half of the spread, at long prompts.
    monkeypatch.setattr(
        models, "logits", lambda m, tokens: sound(m, tokens) + (tokens.shape[1] > 20) * sound(m, tokens).roll(1, -1) / 2
    )
    with pytest.raises(fingerprint.ModelError, match=r"differ from the plain model.s by \d\.\d+ of their spread"):
        plain_model.compare(model, SMALL)


def longrope(switch=16):
    """A tiny Phi-3 whose rotation is another one beyond some tokens."""
    torch.manual_seed(0)
    factors = {"short_factor": [1.0] * 4, "long_factor": [7.0] * 4}
    config = Phi3Config(
        vocab_size=90,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        original_max_position_embeddings=switch,
        rope_scaling={"rope_type": "longrope", **factors},
        pad_token_id=0,
    )
    model = Phi3ForCausalLM(config)
    for parameter in model.parameters():
        # Weights of a new model are so small that its heads attend evenly, wherever they are rotated to.
        parameter.data *= 8 if parameter.dim() > 1 else 1
    return model


def test_a_rotation_that_depends_on_the_length_has_no_shared_prefix_beyond_the_switch(tmp_path):
    longrope().save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SMALL / name, tmp_path / name)
    model = models.load(tmp_path, "cpu")
    for positions, length, allowed in ((12, 6, True), (24, 8, False), (40, 10, False)):
        tokens = shortcuts.sample(model, positions)
        found = shortcuts.prefix(model, tokens, length)
        assert (found is not None) == allowed, positions
        # The plain truth: what the shortcut would have given is wrong.
        wrong = models.logits(model, tokens[:, length:], shortcuts.run_prefix(model, tokens, length))
        assert shortcuts.same(model, wrong, models.logits(model, tokens)) == allowed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PAIRS + "a,b, c, d\nOne, two,b, c, d\n", "line 3: 5 cells, where the header has 4"),
        (PAIRS + "a,b, c\n", "line 2: 3 cells"),
        (PAIRS.replace("corrupt", "clean") + "a,b, c, d\n", "has the column 'clean' twice"),
        (PAIRS.replace(",", ";") + "a;b; c; d\n", "divided by ';'; save it with commas"),
        (PAIRS + '"a"x,b, c, d\n', "line 2"),
    ],
)
def test_rows_that_do_not_fit_their_header_are_named_by_line(tmp_path, text, words):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        custom.rows(tmp_path / "mine.csv", 0.5)
    with pytest.raises(ValueError, match=words):
        texts.rows_of_file(tmp_path / "mine.csv", 0.5)


def test_a_byte_order_mark_windows_lines_and_quoted_commas_are_read(tmp_path):
    text = PAIRS + 'One, two,"One, three", c, d\n'.replace("One, two,", '"One, two",') + "\n" + "NA,null, 007, True\n"
    (tmp_path / "mine.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    rows, _ = custom.rows(tmp_path / "mine.csv", 0.5)
    assert [(row["clean"], row["corrupt"], row["answer"]) for row in rows] == [
        ("One, two", "One, three", " c"),
        ("NA", "null", " 007"),
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_labels_that_are_numbers_are_labels(tmp_path, kind):
    frame = pd.DataFrame({"clean": [f"c {n}" for n in range(8)], "corrupt": [f"d {n}" for n in range(8)]}).assign(
        answer=" x", distractor=" y", cluster=[n % 4 for n in range(8)], template=1.5, variant=True
    )
    path = tmp_path / f"mine.{kind}"
    frame.to_parquet(path) if kind == "parquet" else frame.to_json(path, orient="records", lines=True)
    rows, _ = custom.rows(path, 0.5)
    assert [row["cluster"] for row in rows] == ["0", "1", "2", "3"] * 2
    assert {(row["template"], row["variant"]) for row in rows} == {("1.5", "True")}
    # A column with gaps is one of floats to pandas.
    frame["cluster"] = frame["cluster"].where(frame.index != 2)
    frame.to_parquet(path) if kind == "parquet" else frame.to_json(path, orient="records", lines=True)
    assert [row["cluster"] for row in custom.rows(path, 0.5)[0]][:4] == ["0", "1", "000002", "3"]


def test_a_line_of_jsonl_that_is_none_is_named(tmp_path):
    good = json.dumps({"clean": "a", "corrupt": "b", "answer": " c", "distractor": " d"})
    for bad, words in (("{'clean': 1}", "line 2: no JSON"), ("[1, 2]", "line 2: no JSON object")):
        (tmp_path / "mine.jsonl").write_text(f"{good}\n{bad}\n")
        with pytest.raises(ValueError, match=words):
            custom.rows(tmp_path / "mine.jsonl", 0.5)


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1e999"])
def test_a_circuit_with_a_score_that_is_no_number_is_refused(tmp_path, score):
    shape = fingerprint.shape(SMALL)
    (tmp_path / "circuit.json").write_text(f'{{"edges": {{"A0.1->MLP 1": {score}, "A0.0->MLP 1": 0.5}}}}')
    own = {"format": "circuit-reuse", "version": 1, "nodes": [{"name": "a0.h1", "score": "?"}]}
    (tmp_path / "own.json").write_text(json.dumps(own).replace('"?"', score))
    (tmp_path / "circuit.csv").write_text(f"edge,score\nA0.1->MLP 1,{score}\nA0.0->MLP 1,0.5\n")
    for name in ("circuit.json", "own.json", "circuit.csv"):
        with pytest.raises(circuit_files.CircuitFileError, match="finite numbers"):
            circuit_files.read(tmp_path / name, shape, keep=0.5)


def row(clean, corrupt="one two", answer=" three", distractor=" four"):
    labels = {"variant": "all", "template": "all", "cluster": "0", "roles": []}
    about = {"example": 0, "id": "0", "split": "train", "corrupt_answer": None, **labels}
    return about | {"clean": clean, "corrupt": corrupt, "answer": answer, "distractors": [distractor]}


def changed(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def test_a_prompt_that_the_model_cannot_be_given_is_left_out_with_the_reason(folder):
    clean, corrupt = "When Mary and John went to the", "When John and Mary went to the"
    pair = row(clean, corrupt, " store", " park")
    sound = examples.tokenise(examples.reader(folder), pair)
    assert sound["valid"], sound["reason"]
    short = examples.tokenise(examples.reader(changed(folder, n_positions=5)), pair)
    assert not short["valid"] and "the model takes at most 5" in short["reason"]
    few = examples.tokenise(examples.reader(changed(folder, n_positions=64, vocab_size=10)), pair)
    assert not few["valid"] and "is beyond the 10 of the model's embedding" in few["reason"]


def test_a_bos_token_that_stands_in_the_text_is_not_doubled(folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    bos = fingerprint.token_text(settings.get("bos_token")) or fingerprint.token_text(settings.get("eos_token"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"bos_token": bos}))
    clean, corrupt = f"{bos}When Mary and John went to the", f"{bos}When John and Mary went to the"
    pair = row(clean, corrupt, " store", " park")
    found = examples.tokenise(examples.reader(folder, "always"), pair)
    assert not found["valid"] and "begins with the BOS token" in found["reason"]
    assert examples.tokenise(examples.reader(folder, "never"), pair)["valid"]


def test_a_name_that_yaml_takes_for_something_else_is_an_error_with_its_key():
    with pytest.raises(ConfigError, match=r"task_options: the name False is no text, as YAML reads it"):
        schema.check_values({"task_options": {False: {"shots": 1}}})


def test_dollar_signs_in_names_are_drawn_as_they_are(tmp_path):
    figure, axes = style.grid(1, 1)
    axes[0, 0].plot([1, 10, 100], [1, 2, 3])
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_title("$100 (50% of $200)")
    axes[0, 0].set_yticks([1, 2], ["$x_$", "a"])
    style.save(figure, tmp_path / "one", ["svg"], 100)
    assert (tmp_path / "one.svg").stat().st_size > 1000
