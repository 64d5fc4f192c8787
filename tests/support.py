"""Places and examples that tests share."""

from pathlib import Path

import pandas as pd

PROJECT = Path(__file__).resolve().parent.parent
MODELS = PROJECT / "resources" / "models"
SHARED = PROJECT.parent / "shared"


def examples_for(task, count, folder=MODELS / "tiny-gpt2-medium", **options):
    """The examples table of a task, tokenised, without running a model."""
    from circuit_reuse.examples import load_tokenizer, tokenise
    from circuit_reuse.prompts.generate import generate
    from circuit_reuse.prompts.sources import row

    tokenizer, bos = load_tokenizer(folder)
    rows = [row(*made) for made in generate(task, count, options=options)]
    return pd.DataFrame([tokenise(tokenizer, bos, each) for each in rows])
