"""Fetch a public model from the Hugging Face hub, and check that it is what the hub has on record."""

import hashlib
import json
import shutil
from pathlib import Path

from circuit_reuse import fingerprint

WANTED = ["config.json", "tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt",
          "*.safetensors", "*.safetensors.index.json"]  # fmt: skip
BLOCK = 1 << 22


def fetch(name, revision, folder, expected=None):
    """Download one revision of a model and check that it can be used.

    expected: the fingerprint that it must have, if the config names one
    returns:  the commit that the revision is
    raises:   ModelError if it has no safetensors weights or no tokenizer, if a file is not the one on record for the
              revision, or if it has another fingerprint; nothing is left in the folder then
    """
    from huggingface_hub import HfApi, snapshot_download

    folder = Path(folder)
    about = HfApi().model_info(name, revision=revision, files_metadata=True)
    # A folder for each commit: what is left of another version must not be mixed in.
    partial = folder.with_name(f".{folder.name}.{about.sha[:12]}.partial")
    # By commit, so that a branch that moves meanwhile does not mix two versions.
    snapshot_download(name, revision=about.sha, local_dir=partial, allow_patterns=WANTED)
    files = verify(name, about, partial)
    if not (partial / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        # Older repositories keep the tokenizer in pieces; this writes tokenizer.json.
        AutoTokenizer.from_pretrained(partial, trust_remote_code=False).save_pretrained(partial)
    fingerprint.check_intact(partial)
    # Reads all weights once more, so only if it is asked for.
    if expected and (found := fingerprint.fingerprint(partial)) != expected:
        raise fingerprint.ModelError(
            f"{name} at {revision} has the fingerprint {found}, the config asks for {expected}: it is another "
            "version; name its commit as revision, or change the fingerprint"
        )
    origin = {"hub": name, "revision": revision, "commit": about.sha, "files": files}
    (partial / "origin.json").write_text(json.dumps(origin, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return about.sha


def verify(name, about, folder):
    """Compare each file with the hash that the hub has on record for it; returns {file: hash}.

    about: the hub's account of the repository at one commit: files that it stores apart by SHA-256, others
           as git does
    """
    found, known = {}, {record.rfilename for record in about.siblings}
    for path in sorted(folder.glob("*")):
        if path.is_file() and path.name not in known:
            path.unlink()
    for record in about.siblings:
        path = folder / record.rfilename
        if not path.is_file():
            continue
        if record.lfs:
            kind, wanted = "sha256", record.lfs["sha256"]
            real = digest(path, hashlib.sha256())
        else:
            kind, wanted = "git", record.blob_id
            real = digest(path, hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False))  # fmt: skip
        if wanted and real != wanted:
            path.unlink()
            raise fingerprint.ModelError(
                f"{record.rfilename} of {name} is not the file that the hub has on record ({kind} {real}, there {wanted}): "
                "it was damaged on its way; it was removed, run again"
            )
        found[record.rfilename] = f"{kind}:{real}"
    return found


def digest(path, state):
    """Hexadecimal digest of a file, read in blocks."""
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            state.update(block)
    return state.hexdigest()
