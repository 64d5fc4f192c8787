"""Texts, tokenizers and files of other tools whose oddities gave numbers that were wrong without a word."""

import json
import os
import shutil

import pandas as pd
import pytest
import yaml
from circuit_reuse.config import checks
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.data import circuit_files, examples, fingerprint
from circuit_reuse.prompts import custom, sequence
from circuit_reuse.studies.contrast import checks as contrast_checks
from circuit_reuse.studies.contrast import texts
from circuit_reuse.studies.reuse import checks as reuse_checks
from circuit_reuse.studies.scaling import validator
from support import MODELS, PROJECT
from transformers import AutoTokenizer

SMALL = MODELS / "tiny-gpt2-small"


@pytest.fixture
def folder(tmp_path):
    """A copy of the small model whose files a test may change."""
    shutil.copytree(SMALL, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def config(folder, monkeypatch):
    """The default config with the reuse study on that copy, complete."""
    found = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    found |= {"model_sources": {"mine": {"path": str(folder)}}, "models": ["mine"]}
    monkeypatch.chdir(PROJECT)
    checks.check_schema(found)
    return found


def edited(folder, name, **changes):
    """A JSON file of a model with some keys changed."""
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | changes))


def steps(*tokens):
    """A post-processor of tokenizer.json that puts tokens of the vocabulary first."""
    first = [{"SpecialToken": {"id": text, "type_id": 0}} for text, _ in tokens]
    known = {text: {"id": text, "ids": [number], "tokens": [text]} for text, number in tokens}
    one, two = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    return {"type": "TemplateProcessing", "single": [*first, one], "pair": [*first, one, two], "special_tokens": known}


def test_what_the_tokenizer_puts_first_goes_first_whatever_its_name(folder):
    """As transformers has it: a token that is not the BOS token of the settings; of several only an error is right."""
    edited(folder, "tokenizer.json", post_processor=steps(("a", 5)))
    edited(folder, "tokenizer_config.json", add_bos_token=False)
    assert AutoTokenizer.from_pretrained(folder)("a").input_ids[0] == examples.reader(folder).bos == 5
    edited(folder, "tokenizer.json", post_processor=steps(("a", 5), ("b", 6)))
    assert AutoTokenizer.from_pretrained(folder)("a").input_ids[:2] == [5, 6]
    with pytest.raises(examples.ReaderError, match="in front of every text, and here one token can go first"):
        examples.reader(folder)
    assert examples.reader(folder, bos="never").bos is None and examples.text_reader(folder).bos is None


def test_a_bos_token_without_an_id_is_refused_where_it_is_asked_for(folder):
    edited(folder, "tokenizer_config.json", bos_token="<nowhere>", add_bos_token=False)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    assert examples.reader(folder).bos is None
    with pytest.raises(examples.ReaderError, match=r"'<nowhere>' as its BOS token, and its tokenizer.json has no such"):
        examples.reader(folder, bos="always")


def test_every_setting_that_asks_for_bos_is_named_where_there_is_none(config):
    config["task_options"] = {"ioi": {"bos": "always"}, "digits": {"bos": "never"}}
    config["custom_tasks"] = {"own": {"file": "x.csv", "bos": True}}
    config["contrast"]["sets"] = {"s": {"file": "x.csv", "bos": "always"}}
    named = [where for where, _ in checks.bos_always(config, "contrast")]
    assert named == ["task_options.ioi.bos", "custom_tasks.own.bos", "contrast.sets.s.bos"]
    assert [where for where, _ in checks.bos_always(config, "reuse")] == named[:2]


def pairs_file(tmp_path, rows):
    path = tmp_path / "texts.csv"
    path.write_text("first,second\n" + "\n".join(f'"{a}","{b}"' for a, b in rows))
    return path


def test_pairs_that_share_a_text_are_one_cluster(tmp_path):
    """Eight times one text beside others is one example of it, as is a pair and the same pair the other way round."""
    rows = [("oh great", f"text {n}") for n in range(8)] + [("up", "down"), ("down", "up"), ("left", "right")]
    found, _ = texts.rows_of_file(pairs_file(tmp_path, rows), 0.5)
    clusters = [row["cluster"] for row in found]
    assert len(set(clusters[:8])) == 1 and clusters[8] == clusters[9] != clusters[0] and clusters[10] is None
    for group in (found[:8], found[8:10]):
        assert len({row["split"] for row in group}) == 1


@pytest.mark.parametrize(
    ("text", "reason"), [("<|endoftext|>Once", "begins with the BOS token"), ("with [PAD]", r"token \d+ is beyond the")]
)
def test_texts_that_a_model_cannot_take_as_they_are_are_refused(folder, config, tmp_path, text, reason):
    """A second BOS token would count as text; a token without a row in the embedding ends in an index error."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"].append({"id": 4000, "content": "[PAD]"} | added)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    rows = [(f"one {n}", f"two {n}") for n in range(12)]
    each = {"file": None, "paired": True, "first": None, "second": None, "bos": "auto"}
    config["contrast"] |= {"models": ["mine"]}
    path = pairs_file(tmp_path, rows)
    contrast_checks.check_texts("contrast.sets.s", path, each | {"file": str(path)}, config)
    path = pairs_file(tmp_path, [*rows, (text, "three"), (f"{text} more", "four")])
    with pytest.raises(ConfigError, match=f"contrast.sets.s.file, id .* cannot be used with mine: .*{reason}"):
        contrast_checks.check_texts("contrast.sets.s", path, each | {"file": str(path)}, config)
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"Once upon a time {n}" for n in range(30)) + f"\n{text}\n")
    config["generic"] |= {"texts": str(path), "count": 31}
    with pytest.raises(ConfigError, match=f"generic.texts: the line .* cannot be used with mine: .*{reason}"):
        reuse_checks.check_texts(config, (PROJECT, PROJECT))
    config["generic"]["count"] = 30
    reuse_checks.check_texts(config, (PROJECT, PROJECT))


def test_lines_of_one_token_leave_nothing_to_predict(folder, config, tmp_path):
    edited(folder, "tokenizer_config.json", add_bos_token=False)
    words = [word for word, _ in sorted(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"].items())]
    reader = examples.reader(folder)
    words = [word for word in words if word.isalpha() and len(reader.encode(word).ids) == 1][:40]
    assert len(words) == 40 and reader.bos is None
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(words))
    config["generic"] |= {"texts": str(path), "count": 40}
    with pytest.raises(ConfigError, match="0 of the 40 lines that are used have two tokens or more with mine"):
        reuse_checks.check_texts(config, (PROJECT, PROJECT))


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ('{{"n": {item}}}', '{"n": 1} {"n": 2} {"n":'),
        ("{{item}} {word} {item}.", "{item} x 1. {item} x 2. {item} x"),
        ("{item}", " 1 2"),
        ("{word} done in {item}.", "x done in 1. x done in 2. x done in"),
    ],
)
def test_braces_in_a_frame_are_braces(frame, text):
    sequence.check_frame(frame)
    found, roles = sequence.render(frame, ["x"] * 3, ["1", "2"])
    assert found == text
    assert [found[start:end].strip() for _, start, end in roles] == ["1", "2"]


def test_members_with_spaces_around_them_are_refused():
    """A space goes in front of each element anyway."""
    assert checks.not_of_its_type("members", ["lundi", "mardi"], None) is None
    assert "without spaces around them" in checks.not_of_its_type("members", [" lundi", " mardi"], None)


def test_a_cluster_that_is_called_as_another_rows_id_is_not_that_rows(tmp_path):
    path = tmp_path / "own.csv"
    lines = [f"{n},{c},Prompt {n} is,Other {n} is, a, b" for n, c in enumerate(["0", "1", "", "3", "0", "1", "2", "3"])]
    path.write_text("id,cluster,clean,corrupt,answer,distractor\n" + "\n".join(lines))
    found, _ = custom.rows(path, 0.5)
    clusters = {row["id"]: row["cluster"] for row in found}
    assert clusters["6"] == "2" and clusters["2"] not in {c for row, c in clusters.items() if row != "2"}


def test_one_text_in_two_unicode_forms_is_one_prompt(tmp_path):
    """A tokenizer that composes letters makes one prompt of both, which may not be in both splits."""
    path = tmp_path / "own.csv"
    rows = [("Le caf\u00e9 est", "Le th\u00e9 est"), ("Le cafe\u0301 est", "Le vin est")]
    rows += [(f"Prompt {n} is", f"Other {n} is") for n in range(6)]
    path.write_text(
        "clean,corrupt,answer,distractor\n" + "\n".join(f"{a},{b}, x, y" for a, b in rows), encoding="utf-8"
    )
    found, repeats = custom.rows(path, 0.5)
    assert found[0]["cluster"] == found[1]["cluster"] and found[0]["split"] == found[1]["split"] and repeats == 0
    assert found[1]["clean"] == rows[1][0]


def test_a_graph_that_holds_every_edge_with_a_score_needs_a_share(tmp_path):
    """As EAP-IG saves it before a circuit is chosen: the whole model is no circuit."""
    nodes = {name: {"in_graph": True} for name in ("input", "a0.h0", "a0.h1", "m0", "logits")}
    edges = [f"input->a0.h{head}<{part}>" for head in (0, 1) for part in "qkv"]
    edges += ["input->m0", "a0.h0->m0", "a0.h1->m0", *(f"{name}->logits" for name in list(nodes)[:-1])]
    graph = {"cfg": {"n_layers": 1, "n_heads": 2, "d_model": 8}, "nodes": nodes}
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(graph | {"edges": {name: {"score": 0.5, "in_graph": True} for name in edges}}))
    with pytest.raises(circuit_files.CircuitFileError, match=r"every edge of the model is in the graph.*set `keep`"):
        circuit_files.read(path)
    assert len(circuit_files.read(path, keep=1).edges) == len(edges)
    path.write_text(json.dumps(graph | {"edges": {name: {"score": 0.5, "in_graph": True} for name in edges[:-1]}}))
    assert len(circuit_files.read(path).edges) == len(edges) - 1


def test_models_of_one_name_in_two_families_are_two_models():
    heads = [(layer, head) for layer in range(2) for head in range(2)]
    rows = [
        {"family": family, "model": "small", "layer": layer, "head": head, "delta_a": value + n, "delta_b": value - n}
        for family, value, there in (("x", 0.1, heads), ("y", 0.7, heads[:3]))
        for n, (layer, head) in enumerate(there)
    ]
    table = pd.DataFrame(rows)
    found = validator.validate(table, {"small": {"layers": 2, "heads": 2}})
    assert "repeated" not in set(found["kind"])
    assert set(found.loc[found["kind"] == "unknown shape", "model"]) == {"x/small", "y/small"}
    found = validator.validate(table[table["family"] == "y"], {"small": {"layers": 2, "heads": 2}})
    assert found.loc[found["kind"] == "missing", "count"].tolist() == [1]


def test_links_to_nowhere_matter_only_where_they_are_read(folder, tmp_path):
    os.symlink("user@host.123", folder / ".#config.json")
    os.symlink("gone", folder / "old-logs")
    assert fingerprint.files(folder)
    os.symlink("gone", folder / "added_tokens.json")
    with pytest.raises(
        fingerprint.ModelError, match=r"which is gone .*put the file back, or remove the link"
    ) as problem:
        fingerprint.files(folder)
    assert "fetch the model again" not in str(problem.value)
    # What the workflow fetched, it can fetch again.
    shutil.copytree(folder, tmp_path / "resources" / "hub" / "m", symlinks=True)
    with pytest.raises(fingerprint.ModelError, match=r"run again to fetch the model again"):
        fingerprint.files(tmp_path / "resources" / "hub" / "m")


def test_chat_templates_may_use_what_transformers_gives_them(folder):
    template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{% continue %}{% endif %}"
        "{% generation %}<{{ m['content'] }}>{% endgeneration %}{% endfor %}"
    )
    edited(folder, "tokenizer_config.json", chat_template=template)
    assert examples.reader(folder, chat=True).text("Hello") == "<Hello>"


def test_the_width_of_bloom_is_read_under_its_published_name(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bloom", "n_layer": 2, "n_head": 4, "n_embed": 64}')
    assert fingerprint.shape(tmp_path).d_model == 64
