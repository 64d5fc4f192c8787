"""Where models come from: what a config may say of it, and what is known before anything is fetched."""

import json

import gguf_files
import pytest
from circuit_reuse.config import checks, errors
from circuit_reuse.data import fingerprint
from circuit_reuse.data.components import Space
from circuit_reuse.origins import gguf_header, gguf_reader, sources
from support import MODELS, PROJECT

HASH = "0" * 64
SOURCES = {
    "folder": {"path": "/models/a"},
    "gguf": {"path": "/models/a.gguf"},
    "hub": {"hub": "me/a", "revision": "main"},
    "package": {"package": "a", "version": "1", "file": "a/a.gguf", "sha256": HASH},
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_is_known_and_complete(kind):
    assert sources.kind(SOURCES[kind]) == kind and sources.problem(SOURCES[kind]) == ""
    assert sources.label(SOURCES[kind])


def test_a_package_may_be_a_list_of_parts_joined_in_order():
    parts = [{"name": name, "version": "1", "file": f"{name}/x"} for name in "ba"]
    source = {"package": parts, "sha256": HASH}
    assert sources.parts(source) == parts and sources.problem(source) == ""
    assert sources.label(source) == "b 1, a 1"
    assert "each has its own" in sources.problem(source | {"version": "1"})


def test_a_model_that_is_fetched_is_checked_like_a_local_one(tmp_path):
    """Its shape is known, so that a circuit larger than the model is refused before the run."""
    config = {"model_sources": {"a": SOURCES["hub"]}, "examples": {"bos": "auto"}}
    assert checks.check_model("a", config, (PROJECT, tmp_path)) is None
    made = tmp_path / "resources" / "hub" / "a"
    made.parent.mkdir(parents=True)
    made.symlink_to(MODELS / "tiny-gpt2-medium")
    space = checks.check_model("a", config, (PROJECT, tmp_path))
    assert space == fingerprint.shape(MODELS / "tiny-gpt2-medium")


def test_what_was_fetched_for_another_source_is_not_taken_for_the_model(tmp_path):
    made = tmp_path / "resources" / "hub" / "a"
    made.mkdir(parents=True)
    (made / "config.json").write_text("{}")
    for kind in ("hub", "package"):
        source = SOURCES[kind]
        record = source if kind == "hub" else {"source": source}
        (made / "origin.json").write_text(json.dumps(record))
        assert sources.folder("a", source | {"fingerprint": "0" * 16}, tmp_path) == str(made)
        key = "revision" if kind == "hub" else "sha256"
        assert sources.folder("a", source | {key: "f" * 64}, tmp_path) is None


def test_the_shape_of_a_gguf_file_is_known_before_it_is_converted(tmp_path):
    path = tmp_path / "a.gguf"
    gguf_files.write(path)
    config = {"model_sources": {"a": {"path": str(path)}}}
    space = checks.check_model("a", config, (PROJECT, tmp_path))
    assert space == Space(layers=2, heads=4, d_model=64, d_head=16)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(path):
    path.write_bytes(path.read_bytes()[:3000])


def no_gguf(path):
    path.write_bytes(b"PK" + path.read_bytes()[2:])


@pytest.mark.parametrize(
    ("keys", "spoil", "words"),
    [
        ({"general__architecture": "lama"}, None, ["unknown architecture 'lama'", "Did you mean llama?", "qwen3"]),
        ({"general__architecture": "t5"}, None, ["unknown architecture 't5'"]),
        ({"without": ("tokenizer.ggml.tokens",)}, None, ["no tokenizer", "tokenizer.ggml.tokens"]),
        ({"tokenizer__ggml__model": "bert"}, None, ["kind of tokenizer 'bert'", "gpt2, llama"]),
        ({"tokenizer__ggml__pre": "viking"}, None, ["splits text as 'viking'", "smollm"]),
        ({"without": ("tokenizer.ggml.pre",)}, None, ["splits text as None"]),
        ({"llama__rope__scaling__type": "yarn"}, None, ["scaled rotary positions", "yarn"]),
        ({"split__count": 3}, None, ["one of 3 files"]),
        ({}, cut, ["is cut off", "bytes where its header says"]),
        ({}, cut_in_the_header, ["damaged or cut off"]),
        ({}, no_gguf, ["not a GGUF file"]),
    ],
)
def test_a_gguf_file_that_cannot_be_converted_is_refused_while_the_config_is_read(tmp_path, keys, spoil, words):
    path = tmp_path / "a.gguf"
    gguf_files.write(path, **keys)
    if spoil:
        spoil(path)
    config = {"model_sources": {"mine": {"path": str(path)}}}
    with pytest.raises(errors.ConfigError) as error:
        checks.check_model("mine", config, (PROJECT, tmp_path))
    text = str(error.value)
    assert text.startswith("model_sources.mine.path: ") and "\n" not in text
    assert all(word in text for word in words), text


def test_a_missing_gguf_file_is_named(tmp_path):
    config = {"model_sources": {"mine": {"path": str(tmp_path / "a.gguf")}}}
    with pytest.raises(errors.ConfigError, match=r"model_sources\.mine\.path: there is no file"):
        checks.check_model("mine", config, (PROJECT, tmp_path))


def test_what_is_known_of_gguf_files_is_what_the_installed_libraries_know():
    """Lists of ours that must follow transformers and gguf, which the Snakefile must not import."""
    import gguf
    from gguf.quants import _type_traits
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    from transformers.integrations.gguf import gguf_tokenizer_mapping as tokenizers
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    # As transformers spells them where that differs from the files.
    spelled = {"qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss", "minimax_m2": "minimax-m2"}
    theirs = {spelled.get(n, n) for n in (*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_CONFIG_ARCHS)}
    # The last are no decoders of attention and MLP layers.
    ours = {*gguf_header.ARCHITECTURES, "mamba", "t5", "t5encoder", "umt5"}
    assert ours - {"t5encoder"} == theirs - {"general", "tokenizer"}
    assert set(gguf_header.SPLITS_OF_TRANSFORMERS) == set(tokenizers.GGUF_PRE_TOKENIZER_SPLITS)
    assert set(gguf_header.TOKENIZERS) <= set(tokenizers.GGUF_TOKENIZER_TYPES)
    kinds = gguf.GGMLQuantizationType
    known = {*_type_traits, kinds.F32, kinds.F16}
    assert {k.value: (k.name, *gguf.GGML_QUANT_SIZES[k]) for k in known} == gguf_reader.TYPES
    names = {k.value: k.name.removeprefix("MOSTLY_").removeprefix("ALL_") for k in gguf.LlamaFileType}
    assert all(names[number] == name for number, name in gguf_header.FILE_TYPES.items())
