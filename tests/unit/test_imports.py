"""What stages import: those that only read tables need no torch, which their environment lacks."""

import ast
import re
import subprocess
import sys

import pytest
from support import PROJECT

SCRIPTS = PROJECT / "workflow" / "scripts"


def of_tables():
    """Scripts of the rules whose environment is that without torch."""
    found = set()
    for path in sorted((PROJECT / "rules").glob("*.smk")):
        for rule in re.split(r"\nrule ", path.read_text())[1:]:
            script = re.search(r'"../workflow/scripts/(\w+)\.py"', rule)
            if "envs/analysis.yaml" in rule and script:
                found.add(script[1])
    return sorted(found)


@pytest.mark.parametrize("part", range(2))
def test_stages_that_only_read_tables_import_no_torch(part):
    scripts = of_tables()[part::2]
    assert len(of_tables()) > 15
    code = ["import sys", f"sys.path.insert(0, {str(SCRIPTS)!r})"]
    for script in scripts:
        tree = ast.walk(ast.parse((SCRIPTS / f"{script}.py").read_text()))
        code += [ast.unparse(node) for node in tree if isinstance(node, ast.ImportFrom)]
        code.append(f"assert 'torch' not in sys.modules, {script!r}")
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
