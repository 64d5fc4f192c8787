"""The Parquet table of planted circuits."""

import pyarrow as pa

from circuit_reuse.data.tables import column, optional, table

PLANTED = table(
    model=column(pa.string(), "task and architecture of the planted model"),
    method=column(pa.string(), "attribution method, or activation-difference"),
    seed=column(pa.int32(), "seed of its places, rotation, decoys and prompts"),
    auroc=column(pa.float64(), "area under the curve of components against truth"),
    precision=column(pa.float64(), "share of truth among as many of largest score"),
    components=column(pa.int32(), "heads and MLPs"),
    circuit=column(pa.string(), "what was planted"),
    accuracy=column(pa.float64(), "share of prompts answered rightly"),
    necessity=column(pa.float64(), "share of the effect when the circuit alone is corrupted"),
    sufficiency=column(pa.float64(), "share kept when all but the circuit is corrupted"),
    weakest=column(pa.float64(), "least share when one part alone is corrupted"),
    why=optional(pa.string(), "why the method missed it; null where it did not"),
)

SCHEMAS = {"planted": PLANTED}
