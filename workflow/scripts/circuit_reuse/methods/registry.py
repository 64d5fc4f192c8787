"""All attribution methods by name: every module of this folder that has a `METHOD`.

A new method is a module here.  Imported by the Snakefile: standard library only.
"""

from importlib import import_module
from pathlib import Path

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
FOUND = (
    getattr(import_module(f"circuit_reuse.methods.{name}"), "METHOD", None) for name in MODULES if name != "registry"
)
METHODS = {method.name: method for method in FOUND if method is not None}
# Those of which a circuit of edges can be made, and those whose scores stand for the effect of a component.
EDGE_METHODS = [name for name, method in METHODS.items() if method.edges]
EFFECT_METHODS = [name for name, method in METHODS.items() if method.effect and method.signed]
