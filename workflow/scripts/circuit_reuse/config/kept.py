"""What is kept from one start of Snakemake to the next, in JSON files beside its own records."""

import contextlib
import json
import os
import platform
from pathlib import Path

FOLDER = Path(".snakemake")


def read(name):
    """What was kept under a name, a dict; empty if nothing was, or it cannot be read."""
    try:
        found = json.loads((FOLDER / name).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(name, content):
    """Keep a dict for the next start; a folder that is not there or cannot be written to is no mistake."""
    path = FOLDER / name
    if FOLDER.is_dir():
        partial = path.with_name(f"{name}.{platform.node()}.{os.getpid()}")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(content))
            partial.replace(path)
