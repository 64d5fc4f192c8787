"""Write the lock files with hashes, the same pins into envs/, and the list of licences.

Resolved by uv for every platform; what is pinned stays unless `make lock UPGRADE=1` asks for newer versions.
torch is left out, with what only its own builds bring: it is installed first, by version (Makefile).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
HEAD = "# {about}; written by `make lock`, with the hashes of every file that may be installed.\n"
# Lock file: (optional parts of pyproject.toml, what it is for).
LOCKS = {
    "requirements.lock": (["test"], "What the workflow and its tests need beside torch"),
    "requirements-slurm.lock": (["slurm"], "What a Slurm cluster needs beside requirements.lock"),
    "requirements-docs.lock": (["docs"], "What the documentation site needs beside requirements.lock"),
}
OF_TORCH = re.compile(r"(torch|triton|nvidia-|cuda-)")
# What the metadata of a build leaves out.
KNOWN = {"torch": "BSD-3-Clause"}
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
LICENCES = """# Licences

What `make run` installs, with the licence that each package states. Written by `make lock`; circuit-reuse itself
is under the [MIT licence](https://opensource.org/license/mit). The embedded models were trained by this project,
from prompts that it makes, and are under its licence; sources of data from others are in `resources/published/*/README.md`.

| package | version | licence |
|---|---|---|
"""


def resolved(extras, old, fixed):
    """Blocks that uv writes for pyproject.toml with some optional parts, without what torch brings.

    old:   the lock file as it is, whose pins are kept where they can be
    fixed: {name: version} that must be kept, of the lock that this one comes on top of
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lock"
        if old.is_file():
            shutil.copy(old, path)
        command = [
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            "--universal",
            "--generate-hashes",
            "--quiet",
            "--no-annotate",
            "--no-header",
            "--output-file",
            str(path),
            "--constraint",
            "-",
        ]
        for extra in extras:
            command += ["--extra", extra]
        command += ["--upgrade"] if os.environ.get("UPGRADE") else []
        pins = "\n".join(f"{name}=={version}" for name, version in fixed.items())
        done = subprocess.run(command, input=pins, capture_output=True, text=True, cwd=PROJECT)
        if done.returncode:
            sys.exit(done.stderr)
        parts = re.split(r"\n(?=[a-z])", path.read_text().strip())
    return {PIN.match(part)[1]: part for part in parts if not OF_TORCH.match(part)}


def pins_of(path):
    """{name: version} of a lock file."""
    return dict(PIN.findall(path.read_text())) if path.is_file() else {}


def licence(name):
    """What a package says about its licence, in a few words."""
    about = metadata.metadata(name)
    classes = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    line = (about.get("License") or "").strip().split("\n")[0].strip()
    named = line if 0 < len(line) < 60 and line[0].isalpha() and "opyright" not in line else ""
    files = [path for path in metadata.files(name) or [] if path.name.startswith("LICEN")]
    first = files[0].locate().read_text().strip().split("\n")[0] if files else ""
    stated = about.get("License-Expression") or ", ".join(classes) or named or first
    return stated if len(stated) < 80 else KNOWN.get(name, "see its files")


def licences():
    """docs/licences.md, of what is installed here."""
    lines = re.findall(r"^[a-z].*==.*", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)
    needed = [Requirement(line.rstrip(" \\")) for line in [*lines, "torch"]]
    # Those for this system only.
    names = sorted(each.name for each in needed if not each.marker or each.marker.evaluate())
    rows = []
    for name in names:
        version = metadata.version(name).split("+")[0]
        rows.append(f"| {name} | {version} | {licence(name).replace('|', '/')} |\n")
    return LICENCES + "".join(rows)


def main():
    """Write all that depends on the pins."""
    every = {}
    for name, (extras, about) in LOCKS.items():
        path = PROJECT / name
        blocks = resolved(extras, path, pins_of(PROJECT / "requirements.lock") if every else {})
        # Again, where it is needed on more systems than before.
        mine = {key: text for key, text in blocks.items() if every.get(key) != text}
        every |= mine
        path.write_text(HEAD.format(about=about) + "\n".join(mine.values()) + "\n")
    pins = pins_of(PROJECT / "requirements.lock")
    for path in (PROJECT / "envs").glob("*.yaml"):
        text = re.sub(
            r"      - ([a-z0-9-]+)==\S+",
            lambda m: f"      - {m[1]}=={pins.get(m[1], m[0].split('==')[1])}",
            path.read_text(),
        )
        path.write_text(text)
    (PROJECT / "docs" / "licences.md").write_text(licences())


if __name__ == "__main__":
    main()
