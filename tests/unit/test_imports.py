"""What stages import: those that only read tables need no torch, which their environment lacks."""

import ast
import re
import subprocess
import sys
from collections import Counter

import pytest
from support import PROJECT

SCRIPTS = PROJECT / "workflow" / "scripts"


def of_tables():
    """Modules that rules run in the environment without torch."""
    found = set()
    for path in sorted((PROJECT / "rules").glob("*.smk")):
        for rule in re.split(r"\n(?:use )?rule ", path.read_text())[1:]:
            module = re.search(r'run(?:s\(|=)"([\w.]+)\.\w+"', rule)
            if module and (rule.startswith(("reads_tables as", "draws_figures as")) or "envs/analysis.yaml" in rule):
                found.add(module[1])
    return sorted(found)


@pytest.mark.parametrize("part", range(2))
def test_stages_that_only_read_tables_import_no_torch(part):
    assert len(of_tables()) > 15
    code = ["import sys", f"sys.path.insert(0, {str(SCRIPTS)!r})"]
    for module in of_tables()[part::2]:
        # What functions import, too.
        tree = ast.walk(ast.parse((SCRIPTS / "circuit_reuse" / f"{module.replace('.', '/')}.py").read_text()))
        code += [ast.unparse(node) for node in tree if isinstance(node, ast.ImportFrom)]
        code.append(f"assert 'torch' not in sys.modules, {module!r}")
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


# The wings of the library, from the ground up: each imports only itself and what stands before it.
WINGS = "data prompts origins stats engine methods config report study registry common studies validate training api command".split()
STUDIES = ("reuse", "scaling", "sequences", "weights", "contrast")


def wing(module):
    """The wing of a module, below circuit_reuse: a study is a wing of its own, and so is what all studies share."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "studies" else parts[0]


def floor(name):
    """Where a wing stands."""
    own = name.removeprefix("studies.")
    return WINGS.index(own if own in WINGS else "studies")


def imports():
    """All imports of the library within itself: (module, module that it imports)."""
    root = SCRIPTS / "circuit_reuse"
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("circuit_reuse."):
                for name in node.names:
                    yield module, f"{node.module}.{name.name}".removeprefix("circuit_reuse.")


def test_imports_run_downward_and_no_study_imports_another():
    found = {(wing(module), wing(other)) for module, other in imports()}
    assert len(found) > 40
    upward = sorted(pair for pair in found if pair[0] != pair[1] and floor(pair[1]) > floor(pair[0]))
    assert upward == []
    studies = {f"studies.{name}" for name in STUDIES}
    assert [pair for pair in found if set(pair) <= studies and pair[0] != pair[1]] == []


def test_no_two_modules_or_classes_have_the_same_name():
    """But for the modules that every study has."""
    shape = set(
        "study checks schemas measures summary findings sentences figures plots published_check published_tables registry __init__".split()
    )
    root = SCRIPTS / "circuit_reuse"
    modules = [path.stem for path in root.rglob("*.py") if path.stem not in shape]
    assert [name for name, count in Counter(modules).items() if count > 1] == []
    classes = [
        node.name
        for path in root.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, count in Counter(classes).items() if count > 1] == []


def test_files_and_functions_can_be_read_in_a_sitting():
    for path in (PROJECT / "workflow").rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) < 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
