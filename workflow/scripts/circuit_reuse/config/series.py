"""Checkpoints of one model as a series: an entry of model_sources with `revisions` stands for one model of each."""

import re

from circuit_reuse.config.errors import ConfigError

STEP = re.compile(r"step[-_]?(\d+)")


def expand(config):
    """Replace every series by its models, in place: in model_sources, and in all lists of models.

    A model is called <name>-<revision>; its source has `series` (the name) and `step` (the training step).
    raises: ConfigError for a series whose source names no place for the revision, or whose models have equal names
    """
    sources, members = config["model_sources"], {}
    for name in [name for name, source in sources.items() if "revisions" in source]:
        source = sources.pop(name)
        revisions = source.pop("revisions")
        if "revision" in source or "package" in source or not ("hub" in source or "{revision}" in source["path"]):
            raise ConfigError(
                f"model_sources.{name}.revisions: needs hub without revision, or a path with {{revision}} where each lies"
            )
        steps = [step_of(revision) for revision in revisions]
        if None in steps and any(step is not None for step in steps):
            raise ConfigError(
                f"model_sources.{name}.revisions: {revisions[steps.index(None)]!r} has no number, which is its training step, and others have; "
                "name a revision with a number, or leave it out"
            )
        members[name] = [f"{name}-{revision.replace('/', '-')}" for revision in revisions]
        # Where none has a number, they are in the order of training.
        steps = range(len(steps)) if None in steps else steps
        for step, model, revision in zip(steps, members[name], revisions, strict=True):
            if model in sources:
                raise ConfigError(f"model_sources: {model!r} is there twice, once as a revision of {name!r}")
            where = (
                {"revision": revision} if "hub" in source else {"path": source["path"].replace("{revision}", revision)}
            )
            sources[model] = source | where | {"series": name, "step": step}
    for block in (config, *(config[study] for study in STUDIES if study in config)):
        if block.get("models"):
            block["models"] = [model for name in block["models"] for model in members.get(name, [name])]


# Blocks of the config that may have models of their own.
STUDIES = ("scaling", "sequences", "weights", "contrast")


def step_of(revision):
    """The training step of a revision: the number after `step`, else its last number, else None."""
    numbers = STEP.findall(revision) or re.findall(r"\d+", revision)
    return int(numbers[-1]) if numbers else None


def of_models(models, sources):
    """The series among some models: {name: [[step, model], ...] by step}, those of two models and more."""
    found = {}
    for model in models:
        if series := sources[model].get("series"):
            found.setdefault(series, []).append([sources[model]["step"], model])
    return {name: sorted(each) for name, each in found.items() if len(each) > 1}
