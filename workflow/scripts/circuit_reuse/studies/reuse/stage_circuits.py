"""The stage that builds the example circuits, shared circuits and controls of one task."""

from circuit_reuse.data import examples, jobs, tables
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import schemas


def share(job):
    """Circuits, inclusion, similarity and clusters from the scores of the train split."""
    cfg = job.cfg
    pairs = tables.read_all(job.input.examples, tables.EXAMPLES)
    examples.enough_of_each(pairs, cfg["min_valid"], job.wildcards.task)
    train = jobs.used(pairs, "train")
    scores = tables.read_all(job.input.scores, tables.SCORES)
    values, numbers, names = sharing.matrix(scores, train["example"])
    values, names = sharing.select(values, names, cfg["circuits"]["kinds"])
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, job.wildcards.method)
    rows = sharing.task_circuits(values, names, numbers, cfg["circuits"], stream)
    job.write(job.output.circuits, schemas.CIRCUITS, rows)
    job.write(job.output.inclusion, schemas.INCLUSION, sharing.inclusion(values, names, cfg["circuits"]))
    job.write(job.output.similarity, schemas.SIMILARITY, sharing.similarity(values, numbers, cfg["circuits"]))
    ordered = train.set_index("example").loc[numbers].reset_index()
    job.write(job.output.clusters, schemas.CLUSTERS, sharing.clusters(values, ordered, cfg["circuits"]))
    job.log.info("circuits from %d examples, %d components", len(numbers), len(names))
