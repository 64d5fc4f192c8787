"""A whole config, checked before any job: the common part, and that of every study."""

from circuit_reuse.config import checks
from circuit_reuse.studies.registry import STUDIES


def check(config, project, directory):
    """Check a config with all that it names, and fill in its defaults, in place.

    project:   the project's folder
    directory: the folder that the workflow runs in, to which paths are relative
    raises:    ConfigError (or ModelError, for a model's own files) with the first mistake, in one line
    """
    checks.check(config, project, directory)
    for study in STUDIES.values():
        study.module("checks").check(config, (project, directory))
