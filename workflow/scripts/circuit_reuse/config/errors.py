"""What is said of a config: mistakes, notes, and the nearest valid name."""

import difflib
import re
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


def as_number(value, whole=False):
    """A hint at how YAML takes a text such as 1e-3 for a number, or nothing; whole: whether it must be a whole one."""
    match = re.fullmatch(r"([-+]?)(\d+)\.?(\d*)[eE]([-+]?)(\d{1,3})", value) if isinstance(value, str) else None
    if match is None or (whole and not float(value).is_integer()):
        return ""
    sign, before, after, way, power = match.groups()
    right = int(float(value)) if whole else f"{sign}{before}.{after or 0}e{way or '+'}{power}"
    return f", and YAML reads {value} as text: write {right}"


def member(key, value, where, known):
    """What a key names must be among what is known in another place of the config; raises ConfigError."""
    if value not in known:
        raise ConfigError(f"{key}: {value!r} is not in {where} ({', '.join(known) or 'empty'}){nearest(value, known)}")


def note(text):
    """Warn of what should be known, as of the place that called the caller."""
    warnings.warn(text, ConfigNote, stacklevel=3)
