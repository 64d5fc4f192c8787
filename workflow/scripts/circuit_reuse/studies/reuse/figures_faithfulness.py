"""Tables and figures of the curves of faithfulness."""

from pathlib import Path

from circuit_reuse.data import gather
from circuit_reuse.report import style
from circuit_reuse.studies.reuse import faithfulness, plots_curves, schemas


def draw(job):
    """All curves, the areas, completeness, and a figure a method and level."""
    cfg = job.cfg
    curves = gather.rows(job.input.curves, schemas.CURVES)
    areas = [name for name in schemas.CURVES.names if name.startswith(("cpr", "cmd"))]
    written = {
        "curves": curves.drop(columns=areas),
        "areas": faithfulness.area_table(curves, ["model", "task", "method", "level"]),
        "completeness": gather.rows(job.input.completeness, schemas.COMPLETENESS),
    }
    job.write_csvs(written)
    for stem in sorted({Path(path).with_suffix("") for path in job.output.figures}):
        mine = curves[(curves["method"] == stem.parent.name) & (curves["level"] == stem.name)]
        figure = plots_curves.curves(mine, cfg["models"], cfg["tasks"], cfg["titles"], stem.name)
        style.save(figure, stem, cfg["figures"]["formats"], cfg["figures"]["dpi"])
