"""The stage that simulates every test and interval of the workflow where the truth is known."""

from circuit_reuse.data import csv_tables
from circuit_reuse.validate import coverage, nulls, power, schemas


def simulate(job):
    """False-positive rates, power and coverage, as tables."""
    cfg, seed = job.cfg, job.cfg["seed"]
    found = {"false_positives": nulls.nulls(cfg["datasets"], seed)}
    job.log.info("false positives of %d tests and settings", len(found["false_positives"]))
    found["power"] = power.power(cfg["power_datasets"], seed)
    job.log.info("power")
    found["coverage"] = coverage.coverage(cfg["intervals"], seed)
    for name, rows in found.items():
        csv_tables.write(getattr(job.output, name), rows, schemas.CSVS[name])
    wrong = found["false_positives"].query("verdict == 'anti-conservative'")
    for row in wrong.itertuples():
        job.log.info("anti-conservative: %s, %s: %.3f", row.test, row.setting, row.share)
