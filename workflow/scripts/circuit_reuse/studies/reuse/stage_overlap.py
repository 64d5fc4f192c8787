"""The stage that measures how far circuits are shared in each task of a model, against what chance shares."""

from circuit_reuse.data import gather, jobs, tables
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import overlap, schemas


def measure(job):
    """The reuse table of a model: one row per (task, K, p)."""
    cfg = job.cfg
    pairs, paths = (gather.by(files, "task") for files in (job.input.examples, job.input.scores))
    # What was left out is not among the inputs.
    tasks = [task for task in cfg["tasks"] if task in paths]
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.method, "reuse")
    scores, examples = {}, {}
    for task in tasks:
        train = tables.read_all(pairs[task], tables.EXAMPLES)
        train = jobs.used(train, "train")
        values, numbers, names = sharing.matrix(tables.read_all(paths[task], tables.SCORES), train["example"])
        scores[task], names = sharing.select(values, names, cfg["kinds"])
        examples[task] = train.set_index("example").loc[numbers].reset_index()
    settings = {"top_k": cfg["top_k"], "thresholds": cfg["thresholds"], **cfg["reuse"]}
    rows = []
    for task in tasks:
        others = {other: (scores[other], examples[other]["cluster"]) for other in tasks if other != task}
        rows += overlap.reuse_table(task, scores[task], names, examples[task], others, settings, stream)
    job.write(job.output.reuse, schemas.REUSE, rows)
    job.log.info("%d rows", len(rows))
