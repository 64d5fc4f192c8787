"""Edge attribution over many examples: mean, spread and size of each edge that exists."""

import numpy as np
import pandas as pd

from circuit_reuse.engine import batching, edge_circuits, edges, places


def mean_edges(model, examples, metric, steps, tokens):
    """Rows of the edges table: every edge that exists."""
    parts = []
    found = batching.run_in_batches(
        lambda batch: edges.edge_scores(model, batch.shortened(model), metric, steps),
        examples,
        tokens,
        model.device,
        "edges",
    )
    there = edge_circuits.exist(model)
    for _, scores in found:
        parts.append(scores.cpu().numpy()[:, there])
    scores = np.concatenate(parts)
    writers, readers = np.nonzero(there)
    names, read = model.space.names, places.reader_names(model.space)
    return pd.DataFrame(
        {
            "writer": [names[n] for n in writers],
            "reader": [read[n] for n in readers],
            "score": scores.mean(0),
            "score_standard_error": scores.std(0, ddof=1) / np.sqrt(len(scores)),
            "score_absolute": np.abs(scores).mean(0),
        }
    )
