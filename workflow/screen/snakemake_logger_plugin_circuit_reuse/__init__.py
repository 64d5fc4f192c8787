"""Snakemake's messages as a line or two that stay: how far a run is, how long still, and what runs.

    PYTHONPATH=workflow/screen snakemake --logger circuit-reuse ...

`make run` does this; VERBOSE=1 shows all that Snakemake says, which is in .snakemake/log either way.
"""

import os
import sys
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase

from snakemake_logger_plugin_circuit_reuse.screen import Screen


class LogHandler(LogHandlerBase):
    """What Snakemake logs, on the screen; a dry run and VERBOSE=1 are shown as Snakemake shows them."""

    def __post_init__(self):
        """A screen, or Snakemake's own handler."""
        self.verbose = bool(os.environ.get("VERBOSE")) or self.common_settings.dryrun
        if self.verbose:
            from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

            given = self.common_settings
            self.plain = ColorizingTextHandler(nocolor=given.nocolor)
            self.plain.setFormatter(DefaultFormatter(given.quiet, given.show_failed_logs))
            self.plain.addFilter(
                DefaultFilter(given.quiet, given.debug_dag, given.verbose, given.dryrun, given.printshellcmds)
            )
            return
        # Jobs leave what they last said there, instead of writing between the lines (engine/progress.py).
        note = Path(".snakemake", "note").resolve()
        os.environ["CIRCUIT_REUSE_NOTE"] = str(note)
        durations = Path(__file__).resolve().parents[3] / "resources" / "durations.json"
        # What the jobs of this run are expected to take, from when it begins (workflow/scripts/scheduling.py).
        expected = Path(".snakemake", "expected").resolve()
        expected.unlink(missing_ok=True)
        os.environ["CIRCUIT_REUSE_EXPECTED"] = str(expected)
        self.screen = Screen(sys.stderr, durations, note, expected)

    def emit(self, record):
        """Show a record."""
        if self.verbose:
            if self.plain.filter(record):
                self.plain.emit(record)
        else:
            self.screen.take(record)

    def close(self):
        """Leave the screen as it is."""
        if not self.verbose:
            self.screen.end()
        super().close()

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False
