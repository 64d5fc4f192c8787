"""All studies by name, in the order of their questions.  A new one is a folder with a module `study`, and a name here."""

from importlib import import_module

NAMES = ("reuse", "scaling", "sequences", "weights", "contrast")
STUDIES = {name: import_module(f"circuit_reuse.studies.{name}.study").STUDY for name in NAMES}
