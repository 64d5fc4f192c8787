"""Fetch a public model from the Hugging Face hub."""

import shutil
from pathlib import Path

from circuit_reuse import fingerprint

WANTED = ["config.json", "tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt",
          "*.safetensors", "*.safetensors.index.json"]  # fmt: skip


def fetch(name, revision, folder):
    """Download one revision of a model and check that it can be used.

    raises: ModelError if it has no safetensors weights or no tokenizer
    """
    from huggingface_hub import snapshot_download

    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    snapshot_download(name, revision=revision, local_dir=partial, allow_patterns=WANTED)
    if not (partial / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        # Older repositories keep the tokenizer in pieces; this writes tokenizer.json.
        AutoTokenizer.from_pretrained(partial, trust_remote_code=False).save_pretrained(partial)
    fingerprint.files(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
