"""What is said of a config: mistakes, notes, and the nearest valid name."""

import difflib


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
