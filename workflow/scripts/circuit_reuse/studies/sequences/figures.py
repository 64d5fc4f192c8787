"""Which tables each figure of the sequence study is drawn from."""

from pathlib import Path

from circuit_reuse.data import csv_tables, gather
from circuit_reuse.report import drawing
from circuit_reuse.studies.sequences import plots, plots_heads, schemas


def draw(job):
    """Draw every figure whose files are among the outputs.

    cfg: models, tasks, variants, control_tasks, probes, titles, colours, threshold, shown, figures
    """
    found = {Path(path).stem: csv_tables.read(path) for path in job.input.tables}
    patterns = gather.rows(job.input.attention, schemas.ATTENTION)
    context = plots.SequencesContext(
        job.cfg["models"],
        job.cfg["tasks"],
        [*job.cfg["variants"], *job.cfg["control_tasks"], *job.cfg["probes"]],
        job.cfg["titles"],
        job.cfg["colours"],
        job.cfg["threshold"],
        job.cfg["alpha"],
    )
    figures = {
        "cross_task": lambda: plots.cross_task(found["cross_task"], context),
        "overlap": lambda: plots.overlap(found["overlap"], context),
        "inclusion": lambda: plots.inclusion(found["inclusion"], context),
        "pareto_front": lambda: plots.pareto_front(found["pareto_front"], context),
        "importance": lambda: plots.importance(found["importance"], context),
        "edge_cuts": lambda: plots.edge_cuts(found["edge_cuts"], context),
        "edge_agreement": lambda: plots.edge_agreement(found["edges"], context),
        "direct": lambda: plots.direct(found["direct"], context),
        "ov_scores": lambda: plots_heads.ov_scores(found["ov_scores"], context),
        "motifs": lambda: plots_heads.motifs(found["motifs"], context),
        "attention": lambda: plots_heads.attention(patterns, found["importance"], context, job.cfg["shown"]),
        "neuron_inputs": lambda: plots_heads.neuron_inputs(found["neuron_inputs"], found["neurons"], context),
        "lens": lambda: plots_heads.lens(found["lens"], context),
        "lengths": lambda: plots_heads.lengths(found["lengths"], context),
    }
    drawing.draw(figures, job.output.figures, job.cfg["figures"], job.threads, job.log)
