"""Which tests share a false discovery rate, where a table and a figure need the same."""

from circuit_reuse.data import gather
from circuit_reuse.stats import statistics
from circuit_reuse.studies.reuse import schemas

# What names a circuit that is tested.
HYPOTHESIS = ("model", "task", "method", "circuit")


def tests(table):
    """Rows of the tests table with q_value, over all that is tested by one method; a circuit that is shared at several thresholds is one
    hypothesis and counts once.
    """
    return statistics.with_q(table, "p_value", within=("method",), once=HYPOTHESIS)


def overlap(paths):
    """Rows of overlap.csv with q_value; paths: the tables of all models."""
    rows = gather.rows(paths, schemas.OVERLAP)
    # Two tasks may have the same circuit: any third one is compared with it once.
    pair = [" ".join(sorted(pair)) for pair in zip(rows["circuit_first"], rows["circuit_second"], strict=True)]
    rows = statistics.with_q(rows.assign(pair=pair), "p_value", within=("method",), once=("model", "method", "pair"))
    return rows.drop(columns="pair")


def specificity(paths):
    """Rows of specificity.csv with q_value; paths: the tables of all models."""
    return statistics.with_q(
        gather.rows(paths, schemas.SPECIFICITY),
        "p_value",
        within=("component_set", "method"),
        # Two other tasks may have the same circuit, or share the same core with a task.
        once=("model", "method", "target", "component_set", "circuit_own", "circuit_other"),
    )
