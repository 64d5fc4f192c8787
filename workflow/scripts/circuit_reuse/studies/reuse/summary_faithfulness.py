"""The tables of the curves of faithfulness that people read."""

from circuit_reuse.data import gather
from circuit_reuse.stats import statistics
from circuit_reuse.studies.reuse import faithfulness, schemas


def summarise(job):
    """All curves, the areas, completeness and the tests of hypotheses."""
    curves = gather.rows(job.input.curves, schemas.CURVES)
    areas = [name for name in schemas.CURVES.names if name.startswith(schemas.AREAS)]
    written = {
        "curves": curves.drop(columns=areas),
        "areas": faithfulness.area_table(curves, ["model", "task", "method", "level"]),
        "completeness": gather.rows(job.input.completeness, schemas.COMPLETENESS),
        "hypotheses": statistics.with_q(
            gather.rows(job.input.hypotheses, schemas.HYPOTHESES), "p_value", within=("test", "method")
        ),
    }
    job.write_csvs(written, schemas.FAITHFULNESS_CSVS)
