"""What is said of a config: mistakes, notes, and the nearest valid name."""

import difflib
import warnings


class ConfigError(ValueError):
    """Mistakes in the config or in files that it names, a line each."""

    def __init__(self, message):
        super().__init__("\n".join(" ".join(line.split()) for line in str(message).splitlines()))


class ConfigNote(UserWarning):
    """What is no mistake, but should be known before a run."""


def nearest(name, known):
    """A hint at the nearest valid name, or nothing."""
    close = difflib.get_close_matches(str(name), list(map(str, known)), n=1, cutoff=0.5)
    return f". Did you mean {close[0]}?" if close else ""


def member(key, value, where, known):
    """What a key names must be among what is known in another place of the config; raises ConfigError."""
    if value not in known:
        raise ConfigError(f"{key}: {value!r} is not in {where} ({', '.join(known) or 'empty'}){nearest(value, known)}")


def note(text):
    """Warn of what should be known, as of the place that called the caller."""
    warnings.warn(text, ConfigNote, stacklevel=3)
