"""What a model folder holds, read without torch: its fingerprint and its shape.

Only safetensors weights are accepted: pickled weights can run code when they are loaded.
"""

import hashlib
import json
import mmap
import struct
from functools import cache
from pathlib import Path

from circuit_reuse.data.components import Space

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
# What is read of a model's folder, hidden files apart.
READ = ("[!.]*.json", "[!.]*.safetensors", "[!.]*.jinja", "[!.]*.model", "[!.]*.txt")
# The same quantity has another name in each family's config.json.
FIELDS = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads"),
    "d_model": ("hidden_size", "n_embd", "n_embed", "d_model"),
}


# Families of architectures.FAMILIES whose heads have a width of their own where config.json is silent (a test asks transformers).
OWN_HEAD_WIDTH = "ernie4_5 gemma gemma2 gemma3 gemma3_text glm glm4 gpt_oss ministral3 qwen3 seed_oss".split()


# Most tokens of a text.
POSITIONS = ("n_positions", "max_position_embeddings", "max_seq_len", "n_ctx")


# Bytes of a tokenizer.json that is not parsed only to see whether it is whole.
LARGE = 1 << 23


class ModelError(ValueError):
    """A model folder that cannot be used; the message says what to do."""


def files(folder):
    """The files that make up a model, in a fixed order.

    raises: ModelError if the folder, its config, weights or tokenizer are missing, if there are
            only pickled weights, or if a link leads to a file that is gone
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}")
    for path in sorted(path for pattern in READ for path in folder.glob(pattern)):
        if path.is_symlink() and not path.exists():
            fetched = "resources/hub" in folder.as_posix()
            advice = (
                f"remove {folder} and run again to fetch the model again"
                if fetched
                else "put the file back, or remove the link"
            )
            raise ModelError(
                f"{path} is a link to {path.readlink()}, which is gone (a cache of the Hugging Face hub that was "
                f"cleared or moved, or HF_HOME of another machine): {advice}"
            )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no config.json, so it is not a Hugging Face model")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        found = f"only pickled weights ({pickles[0]})" if pickles else "no weights"
        raise ModelError(
            f"{folder} holds {found}; model.safetensors is needed (pickled weights can run "
            "code; convert them with save_pretrained)"
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json) beside or instead of the weights: merge it into them (merge_and_unload of peft) "
            "and save the whole model in another folder"
        )
    for index in sorted(folder.glob("*.safetensors.index.json")):
        listed = json_object(index).get("weight_map")
        if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
            raise ModelError(f"{index} is damaged: its weight_map names no files; get it again")
        shards = sorted(set(listed.values()))
        if lost := [name for name in shards if not (folder / name).is_file()]:
            raise ModelError(f"{folder} lacks {', '.join(lost[:4])}, which {index.name} lists; get the missing files")
    if not ((folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file()):
        raise ModelError(
            f"{folder} has neither model.safetensors nor model.safetensors.index.json, but {weights[0].name}: save the model with save_pretrained"
        )
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder} holds no tokenizer.json; save the model's tokenizer there")
    extra = [folder / name for name in ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")]
    index = sorted(folder.glob("*.safetensors.index.json"))
    present = [path for path in extra if path.is_file()]
    return [folder / "config.json", folder / "tokenizer.json", *present, *index, *weights]


def fingerprint(folder):
    """A hash of everything that shapes the model's numbers, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in files(folder):
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()[:16]


def config_of(folder):
    """The content of a model's config.json.

    raises: ModelError if it is not a JSON object
    """
    return json_object(Path(folder) / "config.json")


def json_object(path):
    """A JSON object from a file of a model; raises ModelError for anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ModelError(f"{path} is damaged: it is no JSON ({problem})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} is damaged: it holds no JSON object")
    return content


def tokenizer_settings(folder):
    """The settings of a model's tokenizer, from its files; raises ModelError for damaged ones."""
    settings = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = Path(folder) / name
        if path.is_file():
            settings |= json_object(path)
    return settings


def token_text(token):
    """The text of a special token, which some files wrap."""
    return token.get("content") if isinstance(token, dict) else token


def bos_of(folder):
    """The BOS token of a model: its text, or its id where an older repository names it in the model's config only; None for none."""
    settings = tokenizer_settings(folder)
    if "bos_token" in settings:
        return token_text(settings["bos_token"]) or None
    there = (Path(folder) / "config.json").is_file()
    return config_of(folder).get("bos_token_id") if there else None


def check_intact(folder):
    """Whether the files of a model are whole, by their headers alone.

    raises: ModelError that names the file that is cut off or no such file
    """
    for path in [*sorted(Path(folder).glob("*.safetensors")), Path(folder) / "tokenizer.json"]:
        about = path.stat()
        check_file(path, about.st_size, about.st_mtime_ns)


@cache
def check_file(path, size, _):
    """The same for one file, once as long as its size and time are the same: every study asks."""
    if path.suffix == ".json":
        if not (holds_model(path) if size > LARGE else "model" in json_object(path)):
            raise ModelError(f"{path} is no tokenizer; save the model's tokenizer there")
    elif (end := data_end(path)) != size:
        raise ModelError(f"{path} is damaged: it has {size} bytes where its header says {end}; get it again")


def holds_model(path):
    """Whether a large tokenizer.json begins, goes on and ends as one: to parse it takes seconds, before every job."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        whole = text[:64].lstrip().startswith(b"{") and text[-64:].rstrip().endswith(b"}")
        return whole and text.find(b'"model"') >= 0


def data_end(path):
    """Where a safetensors file ends by its own header; -1 if it has none that can be read."""
    try:
        with Path(path).open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > Path(path).stat().st_size:
                return -1
            header = json.loads(stream.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return 8 + length + max(ends)
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return -1


def decoder_config(folder):
    """What config.json says of the language model, with what its class fills in where the file leaves out what is asked of it here.

    raises: ModelError if the file is damaged
    """
    whole = config_of(folder)
    config = whole.get("text_config") or whole
    if not isinstance(config, dict):
        raise ModelError(f"{folder}/config.json is damaged: text_config is {config!r}")
    kind = whole.get("model_type")
    # The published config of a model that also reads images states of its language model only what is not its class's default.
    silent = config is not whole and any(not any(name in config for name in names) for names in FIELDS.values())
    if silent or (kind in OWN_HEAD_WIDTH and not config.get("head_dim")):
        return class_defaults(str(kind)) | {key: value for key, value in config.items() if value is not None}
    return config


@cache
def class_defaults(kind):
    """What the class of a family puts into a config of the language model; nothing for a family that transformers does not know."""
    from transformers import AutoConfig

    try:
        found = AutoConfig.for_model(kind).to_dict()
    except (ValueError, KeyError):
        return {}
    return found.get("text_config") or found


def whole_number(folder, name, value):
    """A positive whole number of a config.json; raises ModelError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{folder}/config.json: {name} is {value!r}; it must be a positive integer")
    return value


def shape(folder):
    """The component space of a model, from its config.json.

    raises: ModelError if the file does not say
    """
    config = config_of(folder)
    if config.get("quantization_config"):
        raise ModelError(
            f"{folder}/config.json has a quantization_config: gradients and replaced outputs of "
            "quantised weights are not those of the model; use full weights and compute.dtype"
        )
    if config.get("is_encoder_decoder"):
        raise ModelError(f"{folder} is an encoder-decoder model; only decoders are supported")
    config, values = decoder_config(folder), {}
    for field, names in FIELDS.items():
        value = next((config[name] for name in names if config.get(name) is not None), None)
        if value is None:
            raise ModelError(f"{folder}/config.json names no {field} ({' or '.join(names)})")
        values[field] = whole_number(folder, field, value)
    if config.get("head_dim"):
        whole_number(folder, "head_dim", config["head_dim"])
    d_head = config.get("head_dim") or values["d_model"] // values["heads"]
    if not config.get("head_dim") and d_head * values["heads"] != values["d_model"]:
        raise ModelError(f"{folder}/config.json: {values['heads']} heads do not divide a width of {values['d_model']}")
    return Space(d_head=int(d_head), kv_heads=kv_heads(folder, config, values["heads"]), **values)


def kv_heads(folder, config, heads):
    """Number of key and value heads, from a model's config; raises ModelError if it cannot be."""
    count = config.get("num_key_value_heads") or config.get("num_kv_heads") or heads
    # GPT-BigCode, and Falcon before its second architecture, whatever num_kv_heads says.
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        count = 1
    if not isinstance(count, int) or count < 1 or heads % count:
        raise ModelError(f"{folder}/config.json: {heads} heads cannot share {count!r} key and value heads evenly")
    return count


def positions(folder):
    """Most tokens of a text of a model, from its config.json; None if it does not say."""
    config = decoder_config(folder)
    return next((whole_number(folder, name, config[name]) for name in POSITIONS if config.get(name)), None)


def parallel(folder):
    """Whether MLPs read the stream before their own layer's attention, as in GPT-NeoX."""
    config = config_of(folder)
    kind = config.get("model_type")
    # These can have it either way, and have it (Falcon, GPT-NeoX) or not where their config says nothing.
    if kind in ("gpt_neox", "stablelm"):
        return bool(config.get("use_parallel_residual", kind == "gpt_neox"))
    if kind == "falcon":
        return bool(config.get("new_decoder_architecture") or config.get("parallel_attn", True))
    return kind in ("gptj", "codegen", "phi", "cohere", "cohere2") or bool(config.get("parallel_attn", False))


def origin(folder):
    """What origin.json of a folder that was fetched or converted says, in the words of model.json.

    returns: origin (where the weights come from), quantisation (what they were rounded to, such as Q4_1, before they
             were dequantised) and bits_per_weight (of the rounded weights); None where it is not known
    """
    path = Path(folder) / "origin.json"
    about = json_object(path) if path.is_file() else {}
    source = about.get("source", {})
    if "hub" in about:
        name = f"{about['hub']} at {about.get('commit')}"
    elif isinstance(source.get("package"), list):
        name = ", ".join(f"{each['name']} {each['version']}" for each in source["package"])
    elif "package" in source:
        name = f"{source['package']} {source['version']}"
    else:
        name = source.get("path")
    return {"origin": name, "quantisation": about.get("quantisation"), "bits_per_weight": about.get("bits_per_weight")}


def rounding(about):
    """What a reader must know of a model's weights, as the end of a sentence; empty for weights as published.

    about: what model.json says
    """
    kind = about.get("quantisation")
    if not kind:
        return ""
    return f"weights rounded to {about['bits_per_weight']:.1f} bits each on average ({kind}), dequantised to float32"


def describe(folder):
    """Everything later stages need to know of a model without loading it."""
    config = config_of(folder)
    space = shape(folder)
    return origin(folder) | {
        "fingerprint": fingerprint(folder),
        "family": config.get("model_type", "unknown"),
        **{name: getattr(space, name) for name in ("layers", "heads", "d_model", "d_head", "kv_heads")},
        "parallel": parallel(folder),
    }


def folder_of(inputs):
    """The folder of a model from a rule's input: its files, or the folder itself."""
    path = Path(inputs if isinstance(inputs, str) else inputs[0])
    return path if path.is_dir() else path.parent


def space_of(about):
    """The component space of a model from its description."""
    return Space(*(about[name] for name in ("layers", "heads", "d_model", "d_head")), kv_heads=about.get("kv_heads"))


def read_description(path):
    """What `describe` wrote, as a dict."""
    return json.loads(Path(path).read_text())
