"""Simulate every test and interval of the workflow where the truth is known."""

import job


def main(input, output, params, wildcards, threads, log):
    """False-positive rates, power and coverage, as tables and one figure."""
    from circuit_reuse.calibration import coverage, nulls, power
    from circuit_reuse.figures import calibration as figures
    from circuit_reuse.figures import style

    cfg, seed = params.cfg, params.cfg["seed"]
    found = {"false_positives": nulls.nulls(cfg["datasets"], seed)}
    log.info("false positives of %d tests and settings", len(found["false_positives"]))
    found["power"] = power.power(cfg["power_datasets"], seed)
    log.info("power")
    found["coverage"] = coverage.coverage(cfg["intervals"], seed)
    for name, rows in found.items():
        rows.to_csv(getattr(output, name), index=False)
        stem = next(path for path in output.figures if f"/{name}." in path)
        figure = getattr(figures, name)(rows)
        style.save(figure, stem, cfg["figures"]["formats"], cfg["figures"]["dpi"])
    wrong = found["false_positives"].query("verdict == 'anti-conservative'")
    for row in wrong.itertuples():
        log.info("anti-conservative: %s, %s: %.3f", row.test, row.setting, row.share)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
