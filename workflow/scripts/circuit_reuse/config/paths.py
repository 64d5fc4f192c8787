"""Paths that a config names."""

import contextlib
import os
from pathlib import Path

from circuit_reuse.config.errors import ConfigError


def from_project(config, project):
    """Replace, in place, relative paths below resources/ and config/ that only the project has: for a run in another folder.

    config: a dict of any depth;  project: its folder
    """
    items = config.items() if isinstance(config, dict) else enumerate(config)
    for key, value in list(items):
        if isinstance(value, (dict, list)):
            from_project(value, project)
        elif isinstance(value, str) and value.startswith(("resources/", "config/")):
            there = Path(project, value)
            with contextlib.suppress(OSError, ValueError):
                # What no disk can hold (a name of 300 characters) is refused by the key's own check.
                config[key] = str(there) if not Path(value).exists() and there.exists() else value


def readable(path, key):
    """The full path, anywhere on disk, if what is there can be read; whether anything is there is not looked at.

    raises: ConfigError for a path that cannot be read
    """
    if str(path).startswith("~"):
        raise ConfigError(f"{key}: {path!r} is taken as it is, ~ is no home folder; write the full path")
    try:
        full = Path(path).resolve()
        mode = os.R_OK | os.X_OK if full.is_dir() else os.R_OK
        if full.exists() and not os.access(full, mode):
            raise PermissionError("no permission")
    except (OSError, RuntimeError) as problem:
        raise ConfigError(f"{key}: {path!r} cannot be read: {getattr(problem, 'strerror', None) or problem}") from None
    return full


def readable_file(path, key):
    """The full path of a file that is there and can be read; raises ConfigError."""
    full = readable(path, key)
    if not full.is_file():
        raise ConfigError(f"{key}: there is no file {path}")
    return full
