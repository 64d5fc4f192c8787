"""What a GGUF file says of itself, read without numpy or torch: its keys, its tensors, and whether it can be converted.

Source: the GGUF format, versions 2 and 3 (docs/gguf.md of the ggml project).
"""

import difflib
import mmap
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from circuit_reuse.data.components import Space
from circuit_reuse.data.fingerprint import ModelError
from circuit_reuse.origins.gguf_reader import TYPES, GgufReader, Tensor

# The architectures of decoders that transformers converts, as GGUF files spell them.
ARCHITECTURES = tuple(
    (
        "bloom deci falcon gemma2 gemma3 gemma4 gpt-oss gpt2 lfm2 llama minimax-m2 mistral nemotron phi3 qwen2 qwen2moe "
        "qwen3 qwen3moe qwen35 qwen35moe stablelm starcoder2"
    ).split()
)
TOKENIZERS = ("gpt2", "llama", "gemma4")
# How a byte-level tokenizer splits text before merging, by its name in the file.  Only named here: gguf_tokenizer.py
# builds those that transformers does not.
SPLITS_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
SPLITS_LIKE_GPT2 = ("gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais")
SPLITS_OF_TRANSFORMERS = tuple(
    (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe tekken qwen2 "
        "deepseek-r1-qwen kormo f2llmv2 megrez qwen35 gpt-4o llama4 kanana2 talkie minimax-m2"
    ).split()
)
SPLITS = (*SPLITS_DIGITS, *SPLITS_LIKE_GPT2, *SPLITS_OF_TRANSFORMERS)
# general.file_type: the recipe of types that a whole file was rounded by.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
# Tensors that are no weights: frequencies of rotary positions.
FREQUENCIES = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


@dataclass(frozen=True)
class Header:
    """keys: {name: value}, an array as a range of its length;  tensors: in file order;  end: bytes the file must have."""

    keys: dict
    tensors: tuple
    end: int

    @property
    def architecture(self):
        """The model's architecture, None if the file does not say."""
        return self.keys.get("general.architecture")

    def of_model(self, name):
        """A key of the architecture, such as block_count; None if it is not there."""
        return self.keys.get(f"{self.architecture}.{name}")

    @property
    def weights(self):
        """Number of weights."""
        return sum(each.elements for each in self.tensors if each.name not in FREQUENCIES)

    @property
    def bits(self):
        """Mean bits of a weight, with the scales that quantised blocks hold."""
        counted = [each for each in self.tensors if each.name not in FREQUENCIES]
        return 8 * sum(each.size for each in counted) / max(1, self.weights)

    @property
    def quantisation(self):
        """What the weights were rounded to, such as Q4_1; None for float32."""
        name = FILE_TYPES.get(self.keys.get("general.file_type"))
        if name is None:
            counts = {}
            for each in self.tensors:
                counts[each.type] = counts.get(each.type, 0) + each.elements
            name = max(counts, key=counts.get, default="F32")
        return None if name == "F32" else name


def read(path):
    """The header of a GGUF file.

    raises: ModelError if it is no GGUF file, is cut off, or holds tensors of unknown types
    """
    about = Path(path).stat()
    return read_once(str(path), about.st_size, about.st_mtime_ns)


@cache
def read_once(path, size, _):
    """The same, once as long as the file's size and time are the same."""
    with open(path, "rb") as stream:
        start = stream.read(8)
        if start[:4] != b"GGUF":
            raise ModelError(f"{path} is not a GGUF file: it begins with {start[:4]!r}, not with b'GGUF'")
        version = int.from_bytes(start[4:], "little")
        if version not in (2, 3):
            raise ModelError(
                f"{path} is a GGUF file of version {version}; versions 2 and 3, little-endian, can be read"
            )
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                header = parse(GgufReader(data), path)
            except (struct.error, KeyError, OverflowError, MemoryError):
                raise ModelError(
                    f"{path} is damaged or cut off: its header cannot be read to the end; get it again"
                ) from None
    if size < header.end:
        raise ModelError(f"{path} is cut off: it has {size} bytes where its header says {header.end}; get it again")
    return header


def parse(reader, path):
    """The header after the eight bytes that every GGUF file begins with."""
    reader.skip(8)
    tensors, keys = reader.number("Q"), reader.number("Q")
    found = {}
    for _ in range(keys):
        name = reader.text()
        found[name] = reader.value(reader.number("I"))
    listed, end = [], 0
    for _ in range(tensors):
        name, elements = reader.text(), 1
        for _ in range(reader.number("I")):
            elements *= reader.number("Q")
        kind, offset = reader.number("I"), reader.number("Q")
        if kind not in TYPES:
            known = ", ".join(each[0] for each in TYPES.values())
            raise ModelError(f"{path}: tensor {name} is of type {kind}, which cannot be dequantised; known: {known}")
        label, block, size = TYPES[kind]
        listed.append(Tensor(name, label, elements, elements // block * size))
        end = max(end, offset + listed[-1].size)
    align = found.get("general.alignment", 32) or 32
    return Header(found, tuple(listed), -(-reader.at // align) * align + end)


def check(path):
    """The header of a file that can be converted.

    raises: ModelError that says what is missing, unknown or would be lost
    """
    if not Path(path).is_file():
        raise ModelError(f"there is no file {path}")
    header = read(path)
    name, keys = header.architecture, header.keys
    if keys.get("split.count", 1) > 1:
        raise ModelError(
            f"{path} is one of {keys['split.count']} files of a model; join them (llama-gguf-split --merge)"
        )
    if name not in ARCHITECTURES:
        close = difflib.get_close_matches(str(name), ARCHITECTURES, n=1, cutoff=0.5)
        hint = f". Did you mean {close[0]}?" if close else ""
        raise ModelError(
            f"{path}: unknown architecture {name!r} (general.architecture); known: {', '.join(ARCHITECTURES)}{hint}"
        )
    if "tokenizer.ggml.tokens" not in keys:
        raise ModelError(f"{path} holds no tokenizer (tokenizer.ggml.tokens); take a file that does")
    check_tokenizer(path, keys)
    check_rotary(path, header)
    return header


def check_tokenizer(path, keys):
    """A tokenizer whose way to split text is not known would give other tokens than the model learned."""
    kind, split = keys.get("tokenizer.ggml.model"), keys.get("tokenizer.ggml.pre")
    if kind not in TOKENIZERS:
        raise ModelError(
            f"{path}: unknown kind of tokenizer {kind!r} (tokenizer.ggml.model); known: {', '.join(TOKENIZERS)}"
        )
    # Files older than the key split as GPT-2 does only if they are of GPT-2.
    if split in (None, "default") and keys["general.architecture"] == "gpt2":
        return
    if kind == "gpt2" and split not in SPLITS:
        raise ModelError(
            f"{path}: its tokenizer splits text as {split!r} (tokenizer.ggml.pre), which is unknown; known: "
            f"{', '.join(SPLITS)}; take the model from the hub, or as a folder"
        )


def check_rotary(path, header):
    """Scaled rotary frequencies are not carried over by the conversion, and the model would be another."""
    scaled = [each.name for each in header.tensors if each.name in FREQUENCIES]
    kind = header.of_model("rope.scaling.type")
    if kind not in (None, "none"):
        scaled.append(f"{header.architecture}.rope.scaling.type {kind}")
    if scaled and header.architecture != "gpt-oss":
        raise ModelError(
            f"{path} has scaled rotary positions ({scaled[0]}), which a conversion does not carry over; "
            "take the model from the hub, or as a folder"
        )


def shape(header):
    """The component space of a model by its header; None if its layers differ in their number of heads."""
    names = ("block_count", "attention.head_count", "embedding_length")
    layers, heads, d_model = (header.of_model(name) for name in names)
    if not all(isinstance(each, int) and each > 0 for each in (layers, heads, d_model)):
        return None
    d_head = header.of_model("attention.key_length") or d_model // heads
    return Space(layers=layers, heads=heads, d_model=d_model, d_head=d_head)
