"""Broken configs and broken files: each ends in one clear line before anything runs, none in a traceback."""

import copy
import json
import math
import os
import shutil
import warnings

import pandas as pd
import pytest
import yaml
from circuit_reuse.config.errors import ConfigError, ConfigNote
from circuit_reuse.data.fingerprint import ModelError
from circuit_reuse.studies import check as whole
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import PROJECT
from workflow_config import CIRCUIT, TEXTS

TOLD = (ConfigError, ModelError)
BASE = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
# So that the smallest model has room, and what is wrong is what the test is about.
BASE["circuits"]["controls"] = BASE["circuits"].get("controls", {}) | {"pool_too_small": "skip"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for a run, with the project's resources in reach and files of the user's own."""
    path = tmp_path_factory.mktemp("input")
    (path / "resources").mkdir()
    for name in ("published", "texts"):
        os.symlink(PROJECT / "resources" / name, path / "resources" / name)
    shutil.copytree(PROJECT / "resources" / "models", path / "resources" / "models")
    (path / "config").mkdir()
    (path / "config" / "texts.csv").write_text(TEXTS)
    (path / "config" / "circuit.json").write_text(json.dumps(CIRCUIT))
    return path


def checked(config, folder):
    """Check a copy of a config in a folder; returns the message, or None if nothing is wrong."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        whole.check(copy.deepcopy(config), PROJECT, folder)
    except TOLD as problem:
        text = str(problem)
        # A line for each mistake, of one key or of one study, none of them twice.
        lines = text.split("\n")
        assert len(text) < 2500 and all(len(line) > 10 and line == line.strip() for line in lines), text
        assert len({*lines}) == len(lines), text
        return text
    finally:
        os.chdir(before)
    return None


def changed(**edits):
    """The shipped config with values set by dotted keys (a__b)."""
    config = copy.deepcopy(BASE)
    for key, value in edits.items():
        *path, last = key.split("__")
        block = config
        for part in path:
            block = block.setdefault(part, {})
        block[last] = value
    return config


# What is wrong, and words that the message must have: the key, the value or what is allowed.
CONFIGS = {
    "an unknown key": ({"circuit": {}}, ["circuit", "Did you mean circuits?"]),
    "an unknown key inside": ({"tests__permutation": 5}, ["tests.permutation", "permutations"]),
    "an unknown task": ({"tasks": ["iio"]}, ["tasks", "'iio'", "Did you mean ioi?"]),
    "an unknown model": ({"models": ["tiny-gpt2-smal"]}, ["models", "tiny-gpt2-smal", "Did you mean"]),
    "an unknown method": ({"methods": ["eap-igg"]}, ["methods", "eap-igg"]),
    "no model": ({"models": []}, ["models"]),
    "no task": ({"tasks": []}, ["tasks"]),
    "a model twice": ({"models": ["tiny-gpt2-small"] * 2}, ["models"]),
    "text for a number": ({"examples__count": "many"}, ["examples.count", "'many'"]),
    "a number in text": ({"tests__alpha": "1e-3"}, ["tests.alpha", "number"]),
    "a fraction of examples": ({"examples__count": 10.5}, ["examples.count", "10.5"]),
    "a whole number with a point": ({"examples__count": 32.0}, ["examples.count", "integer"]),
    "nothing": ({"examples__count": None}, ["examples.count"]),
    "true for a number": ({"seed": True}, ["seed", "True"]),
    "no number": ({"tests__alpha": math.nan}, ["tests.alpha", "nan"]),
    "an infinite number": ({"scaling__classes__tau": math.inf}, ["scaling.classes.tau", "inf"]),
    "a negative number of examples": ({"examples__count": -3}, ["examples.count", "-3"]),
    "a share above one": ({"examples__held_out_share": 1.5}, ["held_out_share", "1.5"]),
    "a threshold in per cent": ({"circuits__thresholds": [0.5, 75]}, ["circuits.thresholds", "75"]),
    "K larger than the model": ({"circuits__top_k": [500]}, ["circuits.top_k", "500"]),
    "a K of the matrix that is not built": ({"cross_task__top_k": 7}, ["cross_task.top_k", "7", "one of"]),
    "more controls than there are": ({"cross_task__controls": 10**6}, ["cross_task.controls"]),
    "ordinary text that is not there": ({"generic__texts": "texts.txt"}, ["generic.texts", "texts.txt"]),
    "ordinary text of a few lines": ({"generic__texts": "resources/texts/README.md"}, ["generic.texts", "at least 20"]),
    "too few texts": ({"generic__count": 3}, ["generic.count", "3", "at least 20", "0"]),
    "too few examples": ({"examples__min_valid": 10**5}, ["examples.count", "min_valid"]),
    "more shards than can be planned": ({"examples__count": 10**9}, ["examples.count", "shard_size"]),
    "a path out of the project": (
        {"model_sources__x": {"path": "../../etc"}, "models": ["x"]},
        ["model_sources.x", "../../etc"],
    ),
    "an absolute path": ({"model_sources__x": {"path": "/etc"}, "models": ["x"]}, ["model_sources.x", "/etc"]),
    "a path with a NUL": ({"model_sources__x": {"path": "a\0b"}, "models": ["x"]}, ["NUL"]),
    "a hub model without revision": (
        {"model_sources__x": {"hub": "a/b"}, "models": ["x"]},
        ["model_sources.x", "revision"],
    ),
    "a model with two sources": (
        {"model_sources__x": {"hub": "a/b", "path": "c", "revision": "d"}, "models": ["x"]},
        ["model_sources.x"],
    ),
    "a task option that does not exist": ({"task_options": {"ioi": {"size": 3}}}, ["task_options.ioi.size"]),
    "a custom task of a built-in name": (
        {"custom_tasks": {"ioi": {"file": "config/x.csv"}}},
        ["custom_tasks.ioi", "built-in"],
    ),
    "a custom task of nothing": ({"custom_tasks": {"x": {}}}, ["custom_tasks.x", "file or sequence"]),
    "a custom file that is not there": (
        {"custom_tasks": {"x": {"file": "config/no.csv"}}, "tasks": ["x"]},
        ["custom_tasks.x.file", "no.csv"],
    ),
    "an unknown replacement": ({"ablation__replacement": "noise"}, ["ablation.replacement", "noise", "corrupt"]),
    "figures in an unknown format": ({"figures__formats": ["png", "gif"]}, ["figures.formats", "gif"]),
    "a list for a map": ({"circuits": [1]}, ["circuits"]),
    "a scaling study of one task": ({"scaling__tasks": ["ioi"]}, ["scaling.tasks"]),
    "pruning to a threshold that is not among them": (
        {"sequences__pruning__threshold": 0.3},
        ["sequences.pruning.threshold"],
    ),
    "a weight study of an unknown control": ({"weights__sweep__matched": "size"}, ["weights.sweep.matched", "size"]),
    "a contrast of a set without texts": ({"contrast__sets": {"x": {}}}, ["contrast.sets.x"]),
    "a budget of more than all": ({"contrast__budget": 3}, ["contrast.budget"]),
    "a comparison of an unknown circuit": (
        {"contrast__replicate__pairs": {"p": {"first": "no", "second": "no"}}},
        ["contrast.replicate", "no"],
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_broken_config_is_one_line(name, folder):
    edits, words = CONFIGS[name]
    message = checked(changed(**edits), folder)
    assert message and all(word in message for word in words), message


def test_the_shipped_config_is_sound(folder):
    assert checked(BASE, folder) is None and len(CONFIGS) >= 30


def keys(value, path=()):
    """Every place in a config."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from keys(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield (*path, place)
            yield from keys(inner, (*path, place))


FILLED = copy.deepcopy(BASE)
os.chdir(PROJECT)
whole.check(FILLED, PROJECT, PROJECT)
FUZZED = int(os.environ.get("FUZZ", "150"))
PLACES = [(base, path) for base in (BASE, FILLED) for path in keys(base)]
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["ioi", "tiny-gpt2-small", "../x", "/etc/passwd", "{model}", "1e-3", "config/texts.csv"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=FUZZED,
    derandomize="FUZZ" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(place=st.sampled_from(PLACES), value=ANY, what=st.sampled_from(["set", "set", "set", "delete", "add"]))
def test_any_value_anywhere_is_accepted_or_refused(place, value, what, folder):
    """The schema fuzzed: no other error than ours, in one line."""
    base, path = place
    config = copy.deepcopy(base)
    block = config
    for key in path[:-1]:
        block = block[key]
    if what == "delete":
        del block[path[-1]]
    elif what == "add" and isinstance(block, dict):
        block[f"{path[-1]}_"] = value
    else:
        block[path[-1]] = value
    checked(config, folder)


def rows(**columns):
    """A sound table of 40 prompt pairs, with columns changed or (None) left out."""
    names = ["Mary", "John", "David", "Anna", "James", "Sarah", "Paul", "Laura"]
    pairs = [(a, b) for a in names for b in names if a != b][:40]
    text = "When {} and {} went to the store, {} gave a drink to"
    table = pd.DataFrame(
        {
            "clean": [text.format(a, b, a) for a, b in pairs],
            "corrupt": [text.format(a, b, b) for a, b in pairs],
            "answer": [f" {b}" for a, b in pairs],
            "distractor": [f" {a}" for a, b in pairs],
        }
    )
    for name, value in columns.items():
        if value is None:
            table = table.drop(columns=name)
        else:
            table[name] = value(table) if callable(value) else value
    return table


def csv(**columns):
    return rows(**columns).to_csv(index=False).encode()


SOUND = csv()
TASK_FILES = {
    "empty": ("x.csv", b"", []),
    "only a header": ("x.csv", SOUND.split(b"\n")[0], []),
    "no answer column": ("x.csv", csv(answer=None), ["answer"]),
    "no corrupt column": ("x.csv", csv(corrupt=None), ["corrupt"]),
    "fewer rows than examples": ("x.csv", b"\n".join(SOUND.split(b"\n")[:9]), ["8"]),
    "not UTF-8": ("x.csv", SOUND.replace(b"Mary", b"M\xe4ry"), ["UTF-8"]),
    "NUL bytes": ("x.csv", SOUND.replace(b"store", b"st\0re"), []),
    "a row with too many fields": ("x.csv", SOUND + b"a,b,c,d,e,f\n", []),
    "an unknown split": ("x.csv", csv(split="test"), ["split", "held_out"]),
    "all in one split": ("x.csv", csv(split="train"), ["held_out"]),
    "the same id twice": ("x.csv", csv(id="one"), ["id"]),
    "prompts of unequal length": ("x.csv", csv(corrupt=lambda t: "Well, " + t["clean"]), ["token"]),
    "answers that are the same": ("x.csv", csv(distractor=lambda t: t["answer"]), []),
    "an empty cell": ("x.csv", csv(clean=lambda t: t["clean"].where(t.index != 3)), []),
    "JSON lines that are cut off": ("x.jsonl", rows().to_json(orient="records", lines=True).encode()[:700], []),
    "a Parquet that is cut off": ("x.parquet", b"PAR1" + b"x" * 50, []),
    "an unknown ending": ("x.xlsx", b"PK", ["xlsx"]),
    "a picture": ("x.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), []),
}


@pytest.mark.parametrize("name", TASK_FILES)
def test_a_broken_file_of_prompts_is_one_line(name, folder):
    file, content, words = TASK_FILES[name]
    (folder / "config" / file).write_bytes(content)
    message = checked(changed(custom_tasks={"x": {"file": f"config/{file}"}}, tasks=["ioi", "x"]), folder)
    assert message and "custom_tasks.x.file" in message and all(word in message for word in words), message


def test_a_sound_file_of_prompts_is_accepted(folder):
    (folder / "config" / "x.csv").write_bytes(SOUND)
    assert checked(changed(custom_tasks={"x": {"file": "config/x.csv"}}, tasks=["ioi", "x"]), folder) is None


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"clean": lambda t: t["clean"].where(t.index > 1, "So, " + t["clean"])}, ["2 of 32 pairs", "000000"]),
        (
            {name: lambda t, name=name: t[name].str.strip() for name in ("answer", "distractor")},
            ["answers of", "did you mean ' "],
        ),
        ({}, ["one sentence with other words", "a column cluster"]),
        ({"cluster": lambda t: [str(n % 12) for n in t.index]}, []),
    ],
)
def test_what_is_no_mistake_but_odd_is_noted(folder, columns, words):
    """A few pairs of unequal length, answers without their space; of a sound file nothing is said."""
    (folder / "config" / "x.csv").write_bytes(csv(**columns))
    config = changed(custom_tasks={"x": {"file": "config/x.csv"}}, tasks=["ioi", "x"])
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", ConfigNote)
        checked(config, folder)
    message = " ".join(str(note.message) for note in notes if note.category is ConfigNote)
    assert all(word in message for word in words) and bool(message) == bool(words), message


def emptied(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def stated(**changes):
    """A config.json with other values."""

    def change(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def pickled(path):
    path.rename(path.with_name("pytorch_model.bin"))


MODELS = {
    "no weights": ("model.safetensors", os.remove, ["safetensors"]),
    "pickled weights only": ("model.safetensors", pickled, ["safetensors"]),
    "weights that are cut off": ("model.safetensors", cut, ["model.safetensors"]),
    "empty weights": ("model.safetensors", emptied, ["model.safetensors"]),
    "a header that is no JSON": (
        "model.safetensors",
        lambda p: p.write_bytes((9).to_bytes(8, "little") + b"not json!"),
        ["model.safetensors"],
    ),
    "no config": ("config.json", os.remove, ["config.json"]),
    "a config that is cut off": ("config.json", cut, ["config.json"]),
    "a config that is a list": ("config.json", lambda p: p.write_text("[]"), ["config.json"]),
    "a config without layers": ("config.json", lambda p: p.write_text('{"model_type": "gpt2"}'), ["config.json"]),
    "heads that do not divide the width": ("config.json", stated(n_head=7), ["7"]),
    "quantised weights": ("config.json", stated(quantization_config={"bits": 4}), ["quantization_config"]),
    "no tokenizer": ("tokenizer.json", os.remove, ["tokenizer.json"]),
    "a tokenizer that is cut off": ("tokenizer.json", cut, ["tokenizer"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_broken_model_is_one_line(name, folder, tmp_path):
    file, damage, words = MODELS[name]
    model = folder / "resources" / "models" / "broken"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(PROJECT / "resources" / "models" / "tiny-gpt2-small", model)
    damage(model / file)
    (folder / "config" / "x.csv").write_bytes(SOUND)
    config = changed(
        model_sources__broken={"path": "resources/models/broken"},
        models=["broken"],
        tasks=["x"],
        custom_tasks={"x": {"file": "config/x.csv"}},
    )
    message = checked(config, folder)
    assert message and "broken" in message and all(word in message for word in words), message


CIRCUITS = {
    "no JSON": b"{",
    "a list": b"[]",
    "no nodes": b"{}",
    "an unknown component": json.dumps(CIRCUIT | {"nodes": ["b1.x"]}).encode(),
    "a head that the model lacks": json.dumps(CIRCUIT | {"nodes": ["a9.h9"]}).encode(),
    "a count that is not its own": json.dumps(CIRCUIT | {"metadata": {"total_components": 77}}).encode(),
    "a number for a name": b'{"nodes": [1, 2]}',
    "not UTF-8": b'{"nodes": ["\xff"]}',
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_broken_circuit_is_one_line(name, folder):
    (folder / "config" / "broken.json").write_bytes(CIRCUITS[name])
    config = changed(
        contrast__circuits={"broken": {"file": "config/broken.json", "models": ["tiny-gpt2-medium"]}},
        contrast__replicate__pairs={},
    )
    message = checked(config, folder)
    assert message and "broken" in message, message


TEXT_FILES = {
    "empty": b"",
    "no set column": TEXTS.replace("text,set", "text,kind").encode(),
    "one set only": TEXTS.replace("sincere", "sarcastic").encode(),
    "not UTF-8": TEXTS.encode().replace(b"Oh", b"\xff\xfe"),
    "three texts": "\n".join(TEXTS.splitlines()[:4]).encode(),
}


@pytest.mark.parametrize("name", TEXT_FILES)
def test_a_broken_file_of_texts_is_one_line(name, folder):
    (folder / "config" / "bad.csv").write_bytes(TEXT_FILES[name])
    mine = {"file": "config/bad.csv", "paired": False, "first": "sarcastic", "second": "sincere"}
    message = checked(changed(contrast__sets={"mine": mine}, contrast__replicate__pairs={}), folder)
    assert message and "contrast.sets.mine" in message, message


def test_the_page_counts_what_is_here():
    import count

    assert count.page() == count.PAGE.read_text(), "run python tests/faults/count.py"
    files = len(TASK_FILES) + len(MODELS) + len(CIRCUITS) + len(TEXT_FILES)
    assert len(CONFIGS) >= 30 and files >= 20
