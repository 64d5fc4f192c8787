"""A whole config, checked before any job: the common part, and that of every study."""

import re

from circuit_reuse.config import checks
from circuit_reuse.config.errors import ConfigError, note
from circuit_reuse.studies.registry import STUDIES


def check(config, project, directory, asked=tuple(STUDIES)):
    """Check a config with all that it names, and fill in its defaults, in place.

    project:   the project's folder
    directory: the folder that the workflow runs in, to which paths are relative
    asked:     studies that are to run; a mistake in the settings of another one is only noted
    raises:    ConfigError with a line for each study's first mistake; ModelError for a model's own files
    """
    checks.check(config)
    mistakes = []
    for name, study in STUDIES.items():
        try:
            study.module("checks").check(config, (project, directory))
        except ValueError as problem:
            if name in asked:
                mistakes.append(str(problem))
            else:
                note(f"{name} is not asked for, and could not run with this config: {problem}")
    if mistakes:
        raise ConfigError("\n".join(dict.fromkeys(mistakes)))


def asked_for(targets):
    """The studies that some targets are about: all of them where a target does not say.

    targets: names of rules or files, as on the command line
    """
    found = set()
    for target in map(str, targets):
        name = target.removeprefix("paper_")
        name = name if name in STUDIES else next(iter(re.findall(r"/(?:tables|figures)/(\w+)/", target)), None)
        if name not in STUDIES:
            return tuple(STUDIES)
        found.add(name)
    return tuple(name for name in STUDIES if name in found) or tuple(STUDIES)
