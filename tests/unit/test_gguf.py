"""Conversion of GGUF files: the model and the tokenizer that come out are those that went in."""

import hashlib
import json

import gguf
import gguf_files
import pytest
import torch
from circuit_reuse.data import examples, fingerprint
from circuit_reuse.origins import gguf_convert
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SOURCE = {"path": "models/tiny.gguf"}


def logits(model, tokens):
    with torch.no_grad():
        return model(tokens).logits


def converted(tmp_path, **keys):
    """(the original model, the folder) of a tiny file after its conversion."""
    model = gguf_files.write(tmp_path / "tiny.gguf", **keys)
    gguf_convert.convert(tmp_path / "tiny.gguf", tmp_path / "made", SOURCE)
    return model, tmp_path / "made"


def loaded(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_the_converted_model_gives_the_logits_of_the_original(tmp_path):
    model, folder = converted(tmp_path)
    tokens = torch.arange(5, 25)[None]
    torch.testing.assert_close(logits(loaded(folder), tokens), logits(model, tokens))
    assert fingerprint.shape(folder).heads == 4 and fingerprint.fingerprint(folder)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())


def test_quantised_weights_come_out_as_the_file_rounds_them(tmp_path):
    """Against the dequantisation of the gguf package, which transformers does not use for this."""
    kind = gguf.GGMLQuantizationType.Q8_0
    model, folder = converted(tmp_path, quantised=kind)
    made = loaded(folder)
    name = "model.layers.1.mlp.down_proj.weight"
    original = model.state_dict()[name].numpy()
    rounded = gguf.quants.dequantize(gguf.quants.quantize(original, kind), kind)
    found = made.state_dict()[name]
    assert found.dtype == torch.float32 and not torch.equal(found, torch.from_numpy(original))
    torch.testing.assert_close(found, torch.from_numpy(rounded), rtol=0, atol=1e-6)


def test_the_description_says_what_the_weights_were_rounded_to(tmp_path):
    _, folder = converted(tmp_path, quantised=gguf.GGMLQuantizationType.Q8_0)
    about = fingerprint.describe(folder)
    assert (about["origin"], about["quantisation"]) == ("models/tiny.gguf", "Q8_0")
    # A block of 32 weights has one scale of 16 bits; norms stay in 32.
    assert 8.5 <= about["bits_per_weight"] < 8.7
    assert f"{about['bits_per_weight']:.1f} bits each on average (Q8_0)" in fingerprint.rounding(about)
    origin = json.loads((folder / "origin.json").read_text())
    assert origin["sha256"] == hashlib.sha256((tmp_path / "tiny.gguf").read_bytes()).hexdigest()
    assert set(origin["versions"]) == {"transformers", "gguf", "torch"}


def test_weights_that_are_not_rounded_are_not_said_to_be(tmp_path):
    _, folder = converted(tmp_path)
    about = fingerprint.describe(folder)
    assert about["quantisation"] is None and fingerprint.rounding(about) == ""


@pytest.mark.parametrize("missing", ["blk.1.ffn_up.weight", "output_norm.weight"])
def test_a_file_that_lacks_weights_is_refused_rather_than_filled_at_random(tmp_path, missing):
    with pytest.raises(fingerprint.ModelError, match="lacks 1 weights"):
        converted(tmp_path, without=(missing,))
    assert not (tmp_path / "made").exists() and not list(tmp_path.glob(".*"))


def test_a_file_with_weights_that_would_be_lost_is_refused(tmp_path, monkeypatch):
    real = gguf_files.tensors
    more = {"blk.0.attn_q.bias": torch.ones(64).numpy()}
    monkeypatch.setattr(gguf_files, "tensors", lambda model: real(model) | more)
    with pytest.raises(fingerprint.ModelError, match="its conversion is not complete"):
        converted(tmp_path)


def test_another_file_or_fingerprint_than_asked_for_is_refused(tmp_path):
    gguf_files.write(tmp_path / "tiny.gguf")
    for more, words in (({"sha256": "0" * 64}, "SHA-256"), ({"expected": "0" * 16}, "fingerprint")):
        with pytest.raises(fingerprint.ModelError, match=words):
            gguf_convert.convert(tmp_path / "tiny.gguf", tmp_path / "made", SOURCE, **more)
        assert not (tmp_path / "made").exists()


def test_files_that_lie_beside_a_gguf_file_are_not_taken_for_its_own(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    model, folder = converted(tmp_path)
    tokens = torch.arange(5, 25)[None]
    torch.testing.assert_close(logits(loaded(folder), tokens), logits(model, tokens))


def byte_level(pre):
    """The tokenizer of gguf_files.byte_level, built by hand."""
    tokens, _, merges = gguf_files.byte_level()
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(pair.split(" ")) for pair in merges]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre, decoders.ByteLevel()
    return tokenizer


TEXTS = ["in 12 days", "  12", "\n    1", "ab 1 2 12,  3", "a" + " " * 7 + "b", "1st 22nd\t 3"]


@pytest.mark.parametrize("split", ["gpt-2", "smollm", "qwen2"])
def test_the_converted_tokenizer_splits_text_as_the_file_says(tmp_path, split):
    """As the model learned it: SmolLM2 takes digits one by one, before blanks are joined to what follows."""
    _, folder = converted(tmp_path, tokenizer__ggml__pre=split)
    digits = pre_tokenizers.Digits(individual_digits=True)
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made, bos = examples.load_tokenizer(folder)
    assert bos == 0
    if split == "qwen2":
        # Composed and written apart, an accented letter is the same text.
        assert made.encode("e\u0301").ids == made.encode("\u00e9").ids
        return
    twin = byte_level(pre_tokenizers.Sequence([digits, plain]) if split == "smollm" else plain)
    for text in TEXTS:
        assert made.encode(text).ids == twin.encode(text).ids, text
    different = any(byte_level(plain).encode(t).ids != made.encode(t).ids for t in TEXTS)
    assert different == (split == "smollm")


def test_no_token_is_added_that_the_model_has_no_row_for(tmp_path):
    _, folder = converted(tmp_path)
    tokens, _, _ = gguf_files.byte_level()
    made, _ = examples.load_tokenizer(folder)
    assert set(made.get_vocab()) == set(tokens)
    assert made.get_vocab_size() == len(tokens)
    assert len(made.encode("<|endoftext|>").ids) > 1 and made.encode("<|start|>").ids == [0]


@pytest.mark.parametrize("first", [False, True])
def test_bos_goes_first_only_where_the_file_says_so(tmp_path, first):
    from transformers import AutoTokenizer

    _, folder = converted(tmp_path, tokenizer__ggml__add_bos_token=first)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["add_bos_token"] is first and settings["bos_token"] == "<|start|>"
    assert (AutoTokenizer.from_pretrained(folder)("a")["input_ids"][0] == 0) is first


@pytest.mark.parametrize(("kind", "first"), [("llama-bpe", True), ("tekken", True), ("gpt-2", False), ("qwen2", False)])
def test_bos_goes_first_without_a_word_on_it_where_llama_cpp_puts_it(tmp_path, kind, first):
    _, folder = converted(tmp_path, tokenizer__ggml__pre=kind, without=["tokenizer.ggml.add_bos_token"])
    assert json.loads((folder / "tokenizer_config.json").read_text())["add_bos_token"] is first


def test_the_template_of_a_chat_is_kept(tmp_path):
    from transformers import AutoTokenizer

    template = "{% for m in messages %}<|start|>{{ m['content'] }}<|end|>{% endfor %}"
    _, folder = converted(tmp_path, tokenizer__chat_template=template)
    assert AutoTokenizer.from_pretrained(folder).chat_template == template


def test_gemma_joins_long_runs_of_blanks_from_the_left(tmp_path):
    """Its own order of merges, which the file does not have: longest first part first, before all other merges."""
    from circuit_reuse.origins import gguf_tokenizer

    blank = gguf_tokenizer.BLANK
    merges = [["a", "b"], [blank, blank], [blank * 2, blank], [blank, blank * 2], [blank * 2, blank * 2], [blank, "a"]]
    ordered = gguf_tokenizer.runs_first(merges)
    assert [pair for pair in ordered if blank not in pair[0] or pair[1] == "a"] == [["a", "b"], [blank, "a"]]
    assert [len(left) for left, right in ordered[:4]] == [2, 2, 1, 1]
    vocabulary = {
        token: n for n, token in enumerate([blank, blank * 2, blank * 3, blank * 4, "a", "b", "ab", blank + "a"])
    }
    found = [
        Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in each])).encode(blank * 7 + "a").tokens
        for each in (ordered, merges)
    ]
    # As it fills one run before it begins the next; the order of the vocabulary builds all at once, from pairs.
    assert found == [[blank * 3, blank * 3, blank + "a"], [blank * 4, blank * 3, "a"]]
