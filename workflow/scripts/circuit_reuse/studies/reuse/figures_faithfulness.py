"""Figures of the curves of faithfulness."""

from pathlib import Path

from circuit_reuse.data import gather
from circuit_reuse.report import style
from circuit_reuse.studies.reuse import plots_curves, schemas


def draw(job):
    """A figure a method and level."""
    cfg = job.cfg
    curves = gather.rows(job.input.curves, schemas.CURVES)
    for stem in sorted({Path(path).with_suffix("") for path in job.output.figures}):
        mine = gather.pick(curves, method=stem.parent.name, level=stem.name)
        figure = plots_curves.curves(mine, cfg["models"], cfg["tasks"], cfg["titles"], stem.name)
        style.save(figure, stem, cfg["figures"]["formats"], cfg["figures"]["dpi"])
