"""What the conversion of a GGUF file's tokenizer by transformers leaves out, put right in the folder that it wrote.

Found by comparison with the tokenizers that the models were published with.
"""

import json
from pathlib import Path

from circuit_reuse.origins import gguf_header

# Split digits one by one, then as GPT-2 does: a run of blanks before a digit stays one token.
DIGITS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
# Vocabularies in which a whole word is a token even if no merge leads to it.
WHOLE_WORDS = ("llama3", "llama-v3", "llama-bpe", "tekken")
# Vocabularies that llama.cpp puts BOS in front of where the file has no word on it.
BOS_FIRST = WHOLE_WORDS
# Vocabularies of text in composed form: an accent and its letter are one character.
COMPOSED = ("qwen2", "qwen35", "deepseek-r1-qwen")
BLANK = "\u2581"


def complete(folder, header):
    """Put right tokenizer.json and tokenizer_config.json of a converted folder, in place.

    header: of the GGUF file
    """
    folder, keys = Path(folder), header.keys
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    split = keys.get("tokenizer.ggml.pre") if keys.get("tokenizer.ggml.model") == "gpt2" else None
    if split in gguf_header.SPLITS_DIGITS:
        tokenizer["pre_tokenizer"] = DIGITS
    if split in WHOLE_WORDS:
        tokenizer["model"]["ignore_merges"] = True
    if split in COMPOSED:
        tokenizer["normalizer"] = {"type": "NFC"}
    if header.architecture.startswith("gemma"):
        tokenizer["model"]["merges"] = runs_first(tokenizer["model"]["merges"])
        add_runs(tokenizer)
    known = only_known(tokenizer, len(keys["tokenizer.ggml.tokens"]))
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, indent=2), encoding="utf-8")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings = {k: v for k, v in settings.items() if not k.endswith("_token") or v in known}
    # Where a file has no key, BOS goes first for the vocabularies that llama.cpp does so for.
    default = keys.get("tokenizer.ggml.model") == "llama" or split in BOS_FIRST
    settings["add_bos_token"] = bool(keys.get("tokenizer.ggml.add_bos_token", default))
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def only_known(tokenizer, count):
    """Take out tokens that the file does not have, which transformers adds by default and the model has no row for.

    count:   tokens of the file
    returns: the tokens that stay
    """
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {name: n for name, n in vocabulary.items() if n < count}
    tokenizer["added_tokens"] = [each for each in tokenizer["added_tokens"] if each["id"] < count]
    return {*tokenizer["model"]["vocab"], *(each["content"] for each in tokenizer["added_tokens"])}


def runs_first(merges):
    """Merges of runs of one blank character before all others, the longest first part first, as Gemma's own order is.

    The file lists no merges; made from the order of the vocabulary they would build such runs from short ones.
    """
    runs, rest = [], []
    for merge in merges:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        (runs if is_run(left + right) else rest).append([left, right])
    return sorted(runs, key=lambda pair: (-len(pair[0]), -len(pair[1]))) + rest


def is_run(token):
    """Whether a token is one blank character many times."""
    return len(set(token)) == 1 and token[0] in f"\n\t{BLANK}"


def add_runs(tokenizer):
    """Tokens of several blanks are matched whole; transformers looks for them as the file spells them, with spaces."""
    known = {each["content"] for each in tokenizer["added_tokens"]}
    for token, number in tokenizer["model"]["vocab"].items():
        if len(token) > 1 and set(token) == {BLANK} and token not in known:
            plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
            tokenizer["added_tokens"].append({"id": number, "content": token} | plain)
    tokenizer["added_tokens"].sort(key=lambda each: each["id"])
