"""What is said of a config: mistakes, notes, and the nearest valid name."""

import difflib


class ConfigError(ValueError):
    """A mistake in the config or in a file that it names, reported in one line."""

    def __init__(self, message):
        super().__init__(" ".join(str(message).split()))


class ConfigNote(UserWarning):
    """What is no mistake, but should be known before a run."""


def nearest(name, known):
    """A hint at the nearest valid name, or nothing."""
    close = difflib.get_close_matches(str(name), list(map(str, known)), n=1, cutoff=0.5)
    return f". Did you mean {close[0]}?" if close else ""
