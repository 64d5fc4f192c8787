"""Where models come from, as `model_sources` of the config says: a folder, a GGUF file, a package, or the hub.

Standard library only: the Snakefile reads it.
"""

import json
from pathlib import Path

# What each kind of source may say; `family` and what is fetched later may stand beside all.
KEYS = {
    "folder": ("path",),
    "gguf": ("path", "sha256"),
    "hub": ("hub", "revision", "conversion"),
    "package": ("package", "version", "file", "sha256"),
}
EVERYWHERE = ("family", "fingerprint", "series", "step")
# Where models are made ready: <resources>/hub of the rules.
FETCHED = Path("resources", "hub")


def kind(source):
    """folder, gguf, hub or package."""
    if "hub" in source or "package" in source:
        return "hub" if "hub" in source else "package"
    return "gguf" if source["path"].endswith(".gguf") else "folder"


def parts(source):
    """The files of a package source that are joined, in order: [{name, version, file}]."""
    if isinstance(source["package"], str):
        return [{"name": source["package"], "version": source["version"], "file": source["file"]}]
    return source["package"]


def problem(source):
    """What is wrong with the keys of a source, as the end of a message; empty if nothing."""
    found, single = kind(source), isinstance(source.get("package"), str)
    for key in source:
        if key not in (*KEYS[found], *EVERYWHERE):
            what = {"folder": "path of a folder", "gguf": "path of a .gguf file"}.get(found, found)
            return f".{key} has no meaning beside {what}; take one of them out"
    for key in ("version", "file") if found == "package" else ():
        if single and key not in source:
            return f" has no {key}, which is needed beside package"
        if not single and key in source:
            return f".{key} has no meaning beside a list of packages; each has its own"
    return ""


def label(source):
    """A source in a few words, for people."""
    found = kind(source)
    if found == "hub":
        return f"{source['hub']} at {source['revision']}"
    if found == "package":
        return ", ".join(f"{each['name']} {each['version']}" for each in parts(source))
    return source["path"]


def settings(source):
    """What shapes the folder that is made of a source; not the fingerprint that it must have, which changes nothing in it."""
    return {key: source[key] for key in KEYS[kind(source)] if key in source}


def folder(name, source, directory="."):
    """The folder of a model's files, if it is there: the user's own, or one that was made ready before; else None.

    directory: in which the workflow runs
    """
    if kind(source) == "folder":
        return source["path"]
    made = Path(directory) / FETCHED / name
    if not (made / "config.json").is_file() and not (made / "config.json").is_symlink():
        return None
    return str(made) if same(source, made / "origin.json") else None


def same(source, record):
    """Whether a folder is made of a source as the config has it now; one without a record was put there by the user."""
    try:
        origin = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    if kind(source) == "hub":
        return all(origin.get(key) == source[key] for key in ("hub", "revision"))
    return origin.get("source") == settings(source)
