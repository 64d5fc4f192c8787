"""The Parquet table of planted circuits."""

import pyarrow as pa

from circuit_reuse.data.csv_tables import columns
from circuit_reuse.data.tables import column, optional, table

PLANTED = table(
    model=column(pa.string(), "task and architecture of the planted model"),
    method=column(pa.string(), "attribution method, or activation-difference"),
    seed=column(pa.int32(), "seed of its places, rotation, decoys and prompts"),
    auroc=column(pa.float64(), "area under the curve of components against truth"),
    precision=column(pa.float64(), "share of truth among as many of largest score"),
    n_components=column(pa.int32(), "heads and MLPs"),
    circuit=column(pa.string(), "what was planted"),
    accuracy=column(pa.float64(), "share of prompts answered rightly"),
    necessity=column(pa.float64(), "share of the effect when the circuit alone is corrupted"),
    sufficiency=column(pa.float64(), "share kept when all but the circuit is corrupted"),
    weakest=column(pa.float64(), "least share when one part alone is corrupted"),
    why=optional(pa.string(), "why the method missed it; null where it did not"),
)

SCHEMAS = {"planted": PLANTED}

OF_TESTS = {
    "n_examples": "examples of each data set",
    "n_datasets": "data sets simulated",
    "share": "share of the data sets in which the test rejects, or the interval holds the truth",
    "share_low": "lower end of its Clopper-Pearson interval",
    "share_high": "upper end",
    "verdict": "calibrated, conservative or anti-conservative",
}
# The tables for people, by name.
CSVS = {
    "planted": columns("", PLANTED),
    "planted_summary": columns(
        "",
        PLANTED,
        ends="auroc precision",
        without=("seed", "n_components", "circuit", "accuracy", "necessity", "sufficiency", "weakest"),
        n_seeds="seeds; intervals are over these",
        why="commonest reason for a miss",
    ),
    "false_positives": columns(
        "", OF_TESTS, test="test, by the name of its p", setting="how the data are made", level="nominal level"
    ),
    "power": columns(
        "",
        OF_TESTS,
        test="test, by the name of its p",
        size="size of the effect, standard deviations",
        without=("verdict",),
    ),
    "coverage": columns(
        "", OF_TESTS, interval="interval", setting="how the data are made", level="nominal level", width="median width"
    ),
}
