"""The stage that compares a method's scores with activation patching on a few examples of every task."""

from circuit_reuse.data import components, gather, tables
from circuit_reuse.stats import sharing, testing
from circuit_reuse.studies.reuse import schemas


def compare(job):
    """Rank correlation and overlap of the largest scores, over what circuits may hold."""
    cfg, rows = job.cfg, []
    exactly, scored = (gather.one_by(files, "task") for files in (job.input.exact, job.input.scores))
    for task in (task for task in cfg["tasks"] if task in exactly):
        exact, scores = (tables.read(paths[task], tables.SCORES) for paths in (exactly, scored))
        numbers, found = exact["example"].unique(), []
        for table in (scores, exact):
            values, order, names = sharing.matrix(table, numbers)
            found.append(sharing.select(values, names, cfg["kinds"])[0])
        k = components.resolve_k(cfg["top_k"], found[0].shape[1])
        about = {"task": task, "method": job.wildcards.method}
        rows += [about | row for row in testing.agreement(*found, order, k)]
    job.write(job.output.agreement, schemas.AGREEMENT, rows)
    job.log.info("%d examples", len(rows))
