"""Tables and figures of the curves of faithfulness."""

import job


def main(input, output, params, wildcards, threads, log):
    """All curves, the areas, completeness, and a figure a method and level."""
    from pathlib import Path

    from circuit_reuse import faithfulness, summary, tables
    from circuit_reuse.figures import faithfulness as figures
    from circuit_reuse.figures import style

    cfg = params.cfg
    curves = summary.gather(input.curves, tables.CURVES)
    areas = [name for name in tables.CURVES.names if name.startswith(("cpr", "cmd"))]
    curves.drop(columns=areas).to_csv(output.curves, index=False)
    by = ["model", "task", "method", "level"]
    faithfulness.area_table(curves, by).to_csv(output.areas, index=False)
    completeness = summary.gather(input.completeness, tables.COMPLETENESS)
    completeness.assign(left_out=completeness["left_out"].map(" ".join)).to_csv(output.completeness, index=False)
    for stem in sorted({Path(path).with_suffix("") for path in output.figures}):
        mine = curves[(curves["method"] == stem.parent.name) & (curves["level"] == stem.name)]
        figure = figures.curves(mine, cfg["models"], cfg["tasks"], cfg["titles"], stem.name)
        style.save(figure, stem, cfg["figures"]["formats"], cfg["figures"]["dpi"])


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
