"""A line of progress for long work: how far, how fast, how long still.

On a terminal it is a bar.  Elsewhere (a file, a cluster) it is a line of the log and of the output every half
minute, for work that takes longer than that.
"""

import logging
import os
import sys

from tqdm import tqdm

SECONDS = 30
# What the job is, in front of every line; set by job.py.
VARIABLE = "CIRCUIT_REUSE_JOB"


class Lines:
    """Where a bar goes that nobody watches: whole lines, in the log and the output of the job."""

    def write(self, text):
        """What tqdm draws, without its returns to the beginning of the line."""
        line = text.strip("\r\n ")
        if line:
            logging.getLogger("progress").info("%s", line)
            print(line, file=sys.stderr, flush=True)

    def flush(self):
        """Nothing is held back."""


def bar(iterable=None, total=None, desc="", unit="it", quiet=False):
    """A tqdm bar over an iterable, or to be moved on by hand (`update`); quiet: none at all."""
    watched = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        desc=f"{os.environ.get(VARIABLE, '')} {desc}".strip(),
        unit=unit,
        disable=quiet,
        dynamic_ncols=watched,
        file=sys.stderr if watched else Lines(),
        mininterval=0.2 if watched else SECONDS,
        maxinterval=SECONDS * 2,
        delay=0 if watched else SECONDS,
    )
