"""Which tests share a false discovery rate, where a table and a figure need the same."""

from circuit_reuse.data import gather
from circuit_reuse.stats import statistics
from circuit_reuse.studies.reuse import schemas


def specificity(paths):
    """Rows of specificity.csv with q_value; paths: the tables of all models."""
    return statistics.with_q(
        gather.rows(paths, schemas.SPECIFICITY),
        "p_value",
        within=("component_set", "method"),
        # Two other tasks may have the same circuit, or share the same core with a task.
        once=("model", "method", "target", "component_set", "circuit_own", "circuit_other"),
    )
