"""What the tests share: the embedded models, loaded once, and examples for them."""

from pathlib import Path

import pandas as pd
import pytest

PROJECT = Path(__file__).resolve().parent.parent
MODELS = PROJECT / "resources" / "models"
SHARED = PROJECT.parent / "shared"


@pytest.fixture(scope="session", params=["tiny-gpt2-medium", "tiny-neox-medium"])
def model(request):
    """An embedded model of each family."""
    from circuit_reuse import models

    return models.load(MODELS / request.param, "cpu", threads=1)


def examples_for(task, count, folder=MODELS / "tiny-gpt2-medium", **options):
    """The examples table of a task, tokenised, without running a model."""
    from circuit_reuse.examples import load_tokenizer, tokenise
    from circuit_reuse.prompts.generate import generate
    from circuit_reuse.prompts.sources import row

    tokenizer, bos = load_tokenizer(folder)
    rows = [row(*made) for made in generate(task, count, options=options)]
    return pd.DataFrame([tokenise(tokenizer, bos, each) for each in rows])


@pytest.fixture(scope="session")
def pairs():
    """Eight IOI examples of several lengths."""
    return examples_for("ioi", 8)


@pytest.fixture(scope="session")
def batch(pairs):
    """Examples of one length as a batch."""
    from circuit_reuse import models

    length = pairs["length"].mode()[0]
    rows = [row for row, value in enumerate(pairs["length"]) if value == length]
    return models.batch_of(pairs, rows, "cpu")
