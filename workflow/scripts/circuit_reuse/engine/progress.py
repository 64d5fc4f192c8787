"""A line of progress for long work: how far, how fast, how long still.

On a terminal it is a bar.  Elsewhere (a file, a cluster) it is a line of the log and of the output every half
minute, for work that takes longer than that.
"""

import contextlib
import logging
import os
import sys
from pathlib import Path

from tqdm import tqdm

SECONDS = 30
# What the job is, in front of every line; set by job.py.
VARIABLE = "CIRCUIT_REUSE_JOB"
# Where the screen of the run, if it has one, looks for the last line.
NOTE = "CIRCUIT_REUSE_NOTE"


class Lines:
    """Where a bar goes that nobody watches: whole lines, in the log and the output of the job."""

    def write(self, text):
        """What tqdm draws, without its returns to the beginning of the line."""
        line = text.strip("\r\n ")
        if not line:
            return
        logging.getLogger("progress").info("%s", line)
        note = os.environ.get(NOTE)
        if note:
            # The screen of the run shows it (workflow/screen).
            with contextlib.suppress(OSError):
                Path(note).write_text(line, encoding="utf-8")
        else:
            print(line, file=sys.stderr, flush=True)

    def flush(self):
        """Nothing is held back."""


def bar(iterable=None, total=None, desc="", unit="it", quiet=False):
    """A tqdm bar over an iterable, or to be moved on by hand (`update`); quiet: none at all."""
    noted = NOTE in os.environ
    watched = sys.stderr.isatty() and not noted
    return tqdm(
        iterable,
        total=total,
        desc=f"{os.environ.get(VARIABLE, '')} {desc}".strip(),
        unit=unit,
        disable=quiet,
        dynamic_ncols=watched,
        file=sys.stderr if watched else Lines(),
        mininterval=0.2 if watched else 2 if noted else SECONDS,
        maxinterval=SECONDS * 2,
        delay=0 if watched else 2 if noted else SECONDS,
    )
