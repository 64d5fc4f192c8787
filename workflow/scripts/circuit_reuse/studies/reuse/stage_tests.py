"""The stage that tests whether removing a shared circuit does more than removing random ones."""

from circuit_reuse.data import tables
from circuit_reuse.stats import testing
from circuit_reuse.studies.reuse import schemas


def test(job):
    """The tests table: one row per (K, p)."""
    effects = tables.read(job.input.effects, tables.EFFECTS)
    circuits = tables.read(job.input.circuits, schemas.CIRCUITS)
    wildcards = job.wildcards
    stream = (job.cfg["seed"], wildcards.model, wildcards.task, wildcards.method, "tests")
    rows = testing.tests_table(effects, circuits, job.cfg, stream)
    gap = gap_of(tables.read_all(job.input.examples, tables.EXAMPLES), effects["example"].unique())
    job.write(job.output.tests, schemas.TESTS, [row | {"gap": gap} for row in rows])
    job.log.info("%d rows", len(rows))


def gap_of(examples, tested):
    """Mean metric of the clean prompts less that of the corrupt ones, over the examples that were tested."""
    mine = examples[examples["example"].isin(tested)]
    return float((mine["clean_metric"] - mine["corrupt_metric"]).mean())
