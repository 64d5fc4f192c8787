"""A hash of the code that a stage runs, so that exactly the stages whose code changed rerun.

Snakemake sees only the time of the script file.  Here the syntax trees of the script and of
every project module that it imports, directly or not, are hashed; comments, docstrings and
layout do not count.  Imports inside functions are found; imports by computed name are not,
so a rule names such modules itself.
"""

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path

from circuit_reuse.config import kept

SCRIPTS = Path(__file__).resolve().parents[2]
# Reading the syntax of all files takes longer than all else that Snakemake does before a run, and is the
# same until a file changes: what was read lies here by the hash of the file, beside Snakemake's own records.
NEW = []
KNOWN = "circuit-reuse-code.json"
# What is remembered holds for this Python and for this file as it is.
VERSION = f"{sys.version_info[:2]} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()} "


@cache
def code_hash(*scripts):
    """A hash of scripts (paths below workflow/scripts) and all that they import."""
    pending, trees = [SCRIPTS / script for script in scripts], {}
    while pending:
        path = pending.pop()
        if path not in trees:
            trees[path], names = parse(path)
            pending += [found for name in names if (found := project_file(name))]
    text = "\n".join(f"{path.relative_to(SCRIPTS)} {trees[path]}" for path in sorted(trees, key=str))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def text_hash(name):
    """A hash of a file below workflow/ that is not code, such as the template of a page."""
    return hashlib.sha256((SCRIPTS.parent / name).read_bytes()).hexdigest()[:12]


@cache
def known():
    """What was read before: {hash of a file: [hash of its syntax, names that it imports]}."""
    return kept.read(KNOWN)


def remember():
    """Keep what was read for the next time."""
    if NEW:
        kept.write(KNOWN, known())


@cache
def parse(path):
    """A hash of the bare syntax tree of a file, and the names of modules that it imports."""
    content = path.read_bytes()
    key = hashlib.sha256(VERSION.encode() + content).hexdigest()
    if key not in known():
        known()[key] = read(content)
        NEW.append(key)
    return known()[key]


def read(content):
    """The same for the bytes of a file, without what is remembered."""
    tree = ast.parse(content)
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    if ast.get_docstring(tree, clean=False):
        tree.body = tree.body[1:]
    return [hashlib.sha256(ast.dump(tree).encode()).hexdigest(), names]


@cache
def project_file(name):
    """The file of a project module, or None for a library, a package or the job plumbing."""
    if not name or not name.startswith("circuit_reuse."):
        return None
    path = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
    return path if path.is_file() else None
