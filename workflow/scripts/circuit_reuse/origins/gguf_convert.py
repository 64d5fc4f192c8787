"""Convert a GGUF file once to a folder in Hugging Face format: float32 safetensors, config and tokenizer."""

import contextlib
import hashlib
import io
import json
import os
import shutil
from importlib import metadata
from pathlib import Path

# A file holds all that is needed; nothing may be fetched while a job runs.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from circuit_reuse.data import fingerprint
from circuit_reuse.origins import gguf_header, gguf_tokenizer
from circuit_reuse.origins.fetching import digest, link

VERSIONS = ("transformers", "gguf", "torch")


def run(job):
    """Convert a GGUF file once to a model folder."""
    source = job.cfg
    origin = convert(job.input.gguf, job.output.folder, source, source.get("sha256"), job.params.expected)
    job.log.info("%s", origin)


def convert(file, folder, source, sha256=None, expected=None):
    """Dequantise a GGUF file to float32 and write it as a model folder, with origin.json.

    source:   what the config says of where it comes from, for origin.json
    sha256:   that the file must have;  expected: the fingerprint that the folder must have; None for any
    returns:  what origin.json says
    raises:   ModelError for a file that cannot be converted, or is not the one asked for; nothing is left then
    """
    file, folder = Path(file).resolve(), Path(folder)
    header = gguf_header.check(file)
    found = digest(file, hashlib.sha256())
    if sha256 and found != sha256:
        raise fingerprint.ModelError(f"{file} has the SHA-256 {found}, the config asks for {sha256}")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write(file, header, partial)
        gguf_tokenizer.complete(partial, header)
        fingerprint.check_intact(partial)
        if expected and (made := fingerprint.fingerprint(partial)) != expected:
            raise fingerprint.ModelError(
                f"{file.name} gives the fingerprint {made}, the config asks for {expected}: it is another file, or was "
                "converted by another version of transformers"
            )
        origin = origin_of(header, source, found)
        text = json.dumps(origin, indent=1, sort_keys=True) + "\n"
        (partial / "origin.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return origin


def origin_of(header, source, sha256):
    """What is kept of where converted weights come from."""
    types = {}
    for each in header.tensors:
        types[each.type] = types.get(each.type, 0) + each.elements
    return {
        "source": source,
        "name": header.keys.get("general.name"),
        "licence": header.keys.get("general.license"),
        "architecture": header.architecture,
        "quantisation": header.quantisation,
        "bits_per_weight": round(header.bits, 2),
        "weights_by_type": types,
        "sha256": sha256,
        "dtype": "float32",
        "versions": {name: metadata.version(name) for name in VERSIONS},
    }


def write(file, header, folder):
    """Weights, config and tokenizer of a GGUF file, as transformers reads them.

    raises: ModelError if weights of the file, or of the model, are left out
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder.mkdir(parents=True)
    # Alone in a folder: files that happen to lie beside it would be taken for the model's.
    alone = folder / "source"
    alone.mkdir()
    link(file, alone / "model.gguf")
    # Bars of progress are no errors.
    with contextlib.redirect_stderr(io.StringIO()):
        model, loaded = AutoModelForCausalLM.from_pretrained(
            alone, gguf_file="model.gguf", dtype=torch.float32, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file="model.gguf")
        check_whole(file, header, model, loaded)
        # Dequantised weights are plain float32: nothing of the quantisation may stay in the config.
        model.hf_quantizer, model.is_quantized = None, False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    shutil.rmtree(alone)
    # Weights are written for their owner only; others may read all else.
    mode = (folder / "config.json").stat().st_mode
    for path in folder.glob("*.safetensors"):
        path.chmod(mode)


def check_whole(file, header, model, loaded):
    """Weights that transformers does not find in the file would be random, and those that it does not know lost."""
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise fingerprint.ModelError(
            f"{file.name} lacks {len(missing)} weights of {type(model).__name__}, such as {missing[0]}"
        )
    count = sum(each.numel() for each in model.parameters())
    if count != header.weights:
        raise fingerprint.ModelError(
            f"{file.name} holds {header.weights} weights, of which transformers reads {count} into "
            f"{type(model).__name__}: its conversion is not complete; take the model from the hub, or as a folder"
        )
