"""The stage that writes the prompt pairs of one shard of a task."""

from circuit_reuse.data import tables
from circuit_reuse.prompts import rows


def write(job):
    """Make or read the prompts; raises ValueError if there are too few."""
    found = rows.rows(job.wildcards.task, job.cfg, getattr(job.input, "file", None))
    job.write(job.output.prompts, tables.PROMPTS, found)
    job.log.info("%d prompt pairs", len(found))
