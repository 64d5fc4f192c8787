"""Checkpoints of one model as a series: an entry of model_sources with `revisions` stands for one model of each."""

import re

from circuit_reuse.config.errors import ConfigError

# Characters of the name of a model, as folders are called by it (config.schema.yaml).
LONGEST = 100
UNITS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
# A number and its unit, as in 10B or 1.5T; the letter of another word, as in 7bit, is none.
NUMBER = r"(\d+(?:\.\d+)?)([kmbtKMBT](?![A-Za-z]))?"
STEP = re.compile(rf"step[-_]?{NUMBER}")
ANY = re.compile(rf"(?<![\d.]){NUMBER}(?![\d.])")
COMMIT = re.compile(r"(?=.*[a-f])[0-9a-f]{40}")


def expand(config):
    """Replace every series by its models, in place: in model_sources, and in `models` of the config and of its studies.

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
        for model in (f"{name}-{revision}" for revision in revisions):
            if len(model) > LONGEST:
                raise ConfigError(
                    f"model_sources.{name}.revisions: {model[:30]!r}..., the name of a model, has {len(model)} characters; at most {LONGEST} are allowed"
                )
        steps = steps_of(name, revisions)
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
            # One that is named beside its series is there once.
            block["models"] = list(
                dict.fromkeys(model for name in block["models"] for model in members.get(name, [name]))
            )


# Blocks of the config that may have models of their own.
STUDIES = ("scaling", "sequences", "weights", "contrast")


def steps_of(name, revisions):
    """The training step of every revision of a series, None for one without a number.

    raises: ConfigError for two of one step, or for amounts (10B) beside plain numbers, which count something else
    """
    found = [step_of(revision) for revision in revisions]
    amounts = [amount for _, amount in found]
    steps = [step for step, _ in found]
    if True in amounts and False in amounts:
        one, other = (revisions[amounts.index(which)] for which in (True, False))
        raise ConfigError(
            f"model_sources.{name}.revisions: {one!r} has a number with a unit, and {other!r} one without; both must count the same, "
            "or training has no order: leave one of them out"
        )
    for place, step in enumerate(steps):
        if step is not None and step in steps[:place]:
            raise ConfigError(
                f"model_sources.{name}.revisions: {revisions[steps.index(step)]!r} and {revisions[place]!r} are both of step {step}; "
                "each must have a training step of its own: leave one of them out"
            )
    return steps


def step_of(revision):
    """(training step, whether it is an amount as of tokens) of a revision; (None, None) without a number.

    The number after `step`, else the last one; 1T is 1,000,000,000,000.  A commit has none, nor has a version such as 1.5.
    """
    steps = STEP.findall(revision)
    numbers = steps or ([] if COMMIT.fullmatch(revision) else ANY.findall(revision))
    numbers = [(number, unit) for number, unit in numbers if unit or "." not in number]
    if not numbers:
        return None, None
    number, unit = numbers[-1]
    return (round(float(number) * UNITS[unit.lower()]) if unit else int(number)), bool(unit) and not steps


def of_models(models, sources):
    """The series among some models: {name: [[step, model], ...] by step}, those of two models and more."""
    found = {}
    for model in models:
        if series := sources[model].get("series"):
            found.setdefault(series, []).append([sources[model]["step"], model])
    return {name: sorted(each) for name, each in found.items() if len(each) > 1}
