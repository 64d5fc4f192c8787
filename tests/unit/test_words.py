"""User-facing text uses the field's words: none of ours stands in documents, captions, messages or descriptions."""

import ast
import re

import pytest
from support import PROJECT

# Ours, and the field's in its place.
GLOSSARY = {
    r"\b(its|same|each|their|equal) makes?\b": "composition, size-matched",
    r"\bwalks?\b": "pruning run",
    r"\bforeign\b": "control task",
    r"\bbeheaded\b": "left-truncated",
    r"\buntouched\b": "intact",
    r"\btakes away\b": "necessity",
    r"\b[Kk]eepers?\b": "circuit evaluator",
    r"\bprices?\b": "sparsity coefficient",
    r"\b[Rr]ecipes?\b": "scoring configuration",
    r"\b[Ff]rontiers?\b": "Pareto front",
    r"\b([Tt]old|[Tt]ells?)\b": "reported, reports",
    r"\banew\b": "again",
    r"\bfor want of\b": "out of",
    r"\bis at work in\b": "is already using",
    r"\bbears? a time\b": "has a timestamp",
    r"\bleads? out of\b": "is outside",
    r"\bis no (task|number)\b": "unknown task, must be a positive integer",
    r"\bmoved aside\b": "jittered",
    r"\bnoise (is )?taken off\b": "corrected for attenuation",
    r"\bhold what they promise\b": "are calibrated",
    r"\bHardly a circuit\b": "not meaningfully above the empty circuit",
    r"\bSay what you mean\b": "Set these explicitly",
    r"\bthe mean would be nearer\b": "worse than predicting the mean",
    r"\bwithout as many others\b": "size-matched random sets",
    r"\bdraws allow\b": "minimum attainable p",
}
# A file of weights is rounded by a recipe, which is its makers' word.
# So is the title of a paper.
EXCEPT = {"docs/sources.md": r"\b[Rr]ecipes?\b", "docs/papers.md": r"\b([Tt]old|[Tt]ells?)\b"}
TEXTS = ["README.md", *(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))]
TEXTS += [str(path.relative_to(PROJECT)) for path in (PROJECT / "workflow" / "report").glob("*.rst")]
TEXTS += [
    "workflow/schemas/config.schema.yaml",
    *(f"config/{path.name}" for path in (PROJECT / "config").glob("*.yaml")),
]
CODE = sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "workflow" / "scripts").rglob("*.py"))


def found(text, path=""):
    """Our words in a text, each with the field's; titles of cited works are their authors'."""
    text = re.sub(r"\btitle = \{.*?\},", "", text)
    return {
        match[0]: field
        for ours, field in GLOSSARY.items()
        if EXCEPT.get(path) != ours
        for match in re.finditer(ours, text)
    }


@pytest.mark.parametrize("path", TEXTS)
def test_documents_captions_and_descriptions(path):
    assert found((PROJECT / path).read_text(), path) == {}


@pytest.mark.parametrize("path", CODE)
def test_messages_findings_and_docstrings(path):
    tree = ast.parse((PROJECT / path).read_text())
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert found("\n".join(text for text in strings if " " in text)) == {}


def test_a_word_of_ours_is_found():
    assert found("random circuits of the same make, untouched") == {
        "same make": "composition, size-matched",
        "untouched": "intact",
    }
