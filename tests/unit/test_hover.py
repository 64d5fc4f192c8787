"""Values under the pointer: each mark of a figure has its own, in the order of the data."""

import re

import numpy as np
from circuit_reuse.report import hover, style


def test_every_mark_has_its_value_and_a_figure_without_values_is_as_before(tmp_path):
    figure, axes = style.grid(1, 2)
    (line,) = axes[0, 0].plot([1, 2, 3], [1, np.nan, 5], marker="o")
    hover.values(line, ["1: one", "3: <five> & more"])
    points = axes[0, 1].scatter([1, 2, 3], [2, 1, 3], s=[4, 5, 6])
    hover.values(points, ["a", "b", "c"])
    bar = axes[0, 1].errorbar(2, 2, yerr=[[1], [1]], fmt="D")
    hover.values(bar[0], ["the bar"])
    style.save(figure, tmp_path / "figure", ["svg", "png"], 100)
    text = (tmp_path / "figure.svg").read_text()
    assert re.findall(r"<title>(.*?)</title>", text) == [
        "1: one",
        "3: &lt;five&gt; &amp; more",
        "a",
        "b",
        "c",
        "the bar",
    ]
    assert "><title>1: one</title></use>" in text and all(f"><title>{each}</title></path>" in text for each in "abc")


def test_marks_that_are_not_as_many_as_their_values_get_none(tmp_path):
    figure, axes = style.grid(1, 1)
    (line,) = axes[0, 0].plot([1, 2], [1, 2], marker="o")
    hover.values(line, ["only one"])
    style.save(figure, tmp_path / "figure", ["svg"], 100)
    assert "<title>" not in (tmp_path / "figure.svg").read_text()
