"""Which tables each figure of the sequence study is drawn from."""

from pathlib import Path

import pandas as pd

from circuit_reuse import tables
from circuit_reuse.figures import drawing, sequences, sequences_heads
from circuit_reuse.sequences import schemas


def draw(input, output, cfg, threads, log):
    """Draw every figure whose files are among the outputs.

    cfg: models, tasks, variants, foreign, probes, titles, colours, threshold, shown, figures
    """
    found = {Path(path).stem: pd.read_csv(path) for path in input.tables}
    patterns = []
    for path in map(Path, input.attention):
        patterns.append(tables.read(path, schemas.ATTENTION).assign(model=path.parts[-4], task=path.parts[-2]))
    patterns = pd.concat(patterns, ignore_index=True)
    look = sequences.Look(
        cfg["models"],
        cfg["tasks"],
        [*cfg["variants"], *cfg["foreign"], *cfg["probes"]],
        cfg["titles"],
        cfg["colours"],
        cfg["threshold"],
        cfg["alpha"],
    )
    figures = {
        "cross_task": lambda: sequences.cross_task(found["cross_task"], look),
        "overlap": lambda: sequences.overlap(found["overlap"], look),
        "inclusion": lambda: sequences.inclusion(found["inclusion"], look),
        "frontier": lambda: sequences.frontier(found["frontier"], look),
        "importance": lambda: sequences.importance(found["importance"], look),
        "edge_cuts": lambda: sequences.edge_cuts(found["edge_cuts"], look),
        "edge_agreement": lambda: sequences.edge_agreement(found["edges"], look),
        "direct": lambda: sequences.direct(found["direct"], look),
        "ov_scores": lambda: sequences_heads.ov_scores(found["ov_scores"], look),
        "motifs": lambda: sequences_heads.motifs(found["motifs"], look),
        "attention": lambda: sequences_heads.attention(patterns, found["importance"], look, cfg["shown"]),
        "lens": lambda: sequences_heads.lens(found["lens"], look),
        "lengths": lambda: sequences_heads.lengths(found["lengths"], look),
    }
    drawing.draw(figures, output.figures, cfg["figures"], threads, log)
