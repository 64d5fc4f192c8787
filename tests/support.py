"""Places and examples that tests share."""

import copy
from pathlib import Path

import pandas as pd
import yaml

PROJECT = Path(__file__).resolve().parent.parent
MODELS = PROJECT / "resources" / "models"
SHARED = PROJECT.parent / "shared"


def examples_for(task, count, folder=MODELS / "tiny-gpt2-medium", metric="logit_difference", **options):
    """The examples table of a task, tokenised, without running a model."""
    from circuit_reuse.data import answers
    from circuit_reuse.data.examples import reader, tokenise
    from circuit_reuse.prompts.generate import generate
    from circuit_reuse.prompts.rows import row

    if task.startswith("sarcasm"):
        options.setdefault("events", "learned")
    rows = [row(*made) for made in generate(task, count, options=options)]
    of_model = reader(folder)
    return pd.DataFrame([tokenise(of_model, each, **answers.looked_at("top1", metric)) for each in rows])


def after_checks(config, check, folder=PROJECT):
    """A config after the common check and that of a study.

    check:  function of the config and of the folders in which files may lie, beside the project
    """
    from circuit_reuse.config import checks

    checks.check(config)
    check(config, (PROJECT, folder))
    return config


def checked(study, check, monkeypatch, folder=PROJECT, **changes):
    """A study's block of the shipped config with keys changed, by dotted name (a__b), after its check."""
    monkeypatch.chdir(PROJECT)
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    for key, value in changes.items():
        *path, last = key.split("__")
        block = config[study]
        for part in path:
            block = block.setdefault(part, {})
        block[last] = copy.deepcopy(value)
    return after_checks(config, check, folder)[study]
