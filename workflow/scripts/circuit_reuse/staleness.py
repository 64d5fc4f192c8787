"""A hash of the code that a stage runs, so that exactly the stages whose code changed rerun.

Snakemake sees only the time of the script file.  Here the syntax trees of the script and of
every project module that it imports, directly or not, are hashed; comments, docstrings and
layout do not count.  Imports inside functions are found; imports by computed name are not,
so a rule names such modules itself.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent


@cache
def code_hash(*scripts):
    """A hash of scripts (paths below workflow/scripts) and all that they import."""
    pending, trees = [SCRIPTS / script for script in scripts], {}
    while pending:
        path = pending.pop()
        if path not in trees:
            trees[path], imported = parse(path)
            pending += imported
    text = "\n".join(
        f"{path.relative_to(SCRIPTS)} {trees[path]}" for path in sorted(trees, key=str)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def parse(path):
    """The bare syntax tree of a file as text, and the project files that it imports."""
    tree = ast.parse(path.read_text())
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        imported += [found for name in names if (found := project_file(name))]
    for node in ast.walk(tree):
        if (
            ast.get_docstring(node, clean=False)
            if hasattr(node, "body")
            and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            else None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree), imported


def project_file(name):
    """The file of a project module, or None for a library, a package or the job plumbing."""
    if not name or not name.startswith("circuit_reuse."):
        return None
    path = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
    return path if path.is_file() else None
