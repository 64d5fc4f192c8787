"""Figures can be read by readers who see colours differently, and in print."""

import itertools

import numpy as np
import pytest
import yaml
from circuit_reuse.config import schema
from circuit_reuse.report import style
from circuit_reuse.studies.contrast import plots as contrast
from circuit_reuse.studies.contrast import plots_circuits as contrast_circuits
from circuit_reuse.studies.scaling import plots as scaling
from circuit_reuse.studies.scaling import plots_runs
from circuit_reuse.studies.sequences import plots as sequences
from circuit_reuse.studies.weights import plots as weights
from matplotlib.colors import to_rgb

# Machado, Oliveira & Fernandes 2009, severity 1: linear RGB as it is seen.
SEEN = {
    "all colours": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# CIE L*a*b* difference (CIE 1976); 2.3 can just be told apart side by side, thin lines need several times that.
LEAST = 15
SCHEMA = yaml.safe_load(schema.SCHEMA.read_text())["properties"]
DIAGRAMS = SCHEMA["sequences"]["properties"]["diagrams"]["properties"]["colours"]["default"]
PALETTES = {
    "circuit, controls, baseline": [style.CIRCUIT, style.CONTROL, style.BASELINE, style.OTHER],
    "values of K": style.BY_K,
    "classes of heads": list(scaling.COLORS.values()),
    "families": scaling.FAMILY_COLORS,
    "controls of heroes": [each[0] for each in plots_runs.MATCHED.values()],
    "circuits of tasks": [*DIAGRAMS, *sequences.MORE],
    "models of the weight study": weights.BY_MODEL,
    "controls of weights": [colour for _, colour, _ in (weights.CONDITIONS | weights.ACTIVE).values()],
    "interpretations of components": [colour for _, colour, _ in contrast.INTERPRETATIONS.values()],
    "sources of circuits": contrast.SOURCES,
    "kinds of pairs": list(contrast_circuits.PAIRS.values()),
    "kinds of components": [colour for _, colour in contrast.KIND.values()],
}


def lab(colour, seen):
    """A colour in CIE L*a*b* (D65), as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = to_xyz @ np.clip(seen @ linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("palette", PALETTES)
def test_colours_of_one_figure_can_be_told_apart(palette, seen):
    for one, other in itertools.combinations(PALETTES[palette], 2):
        far = np.linalg.norm(lab(one, SEEN[seen]) - lab(other, SEEN[seen]))
        assert far >= LEAST, f"{one} and {other} are {far:.1f} apart"


def test_scales_of_colour_run_from_dark_to_light():
    """Values can be told in grey, too: lightness rises with the value, on either side of a middle."""
    from matplotlib import colormaps

    light = [lab(colormaps[style.SEQUENTIAL](v)[:3], np.eye(3))[0] for v in np.linspace(0, 1, 33)]
    assert np.all(np.diff(light) > 0)
    light = [lab(colormaps[style.DIVERGING](v)[:3], np.eye(3))[0] for v in np.linspace(0, 1, 33)]
    assert np.all(np.diff(light[:17]) > 0) and np.all(np.diff(light[16:]) < 0)


def test_text_that_cannot_be_read_in_print_is_set_larger(tmp_path):
    figure, axes = style.grid(1, 1)
    small, large = (axes[0, 0].text(0.5, 0.5, "x", fontsize=size) for size in (4, 9))
    style.save(figure, tmp_path / "x", ["png", "svg"], 50)
    assert small.get_fontsize() == style.SMALLEST and large.get_fontsize() == 9
    # Vector graphics, with text as outlines: no fonts are needed to show them.
    text = (tmp_path / "x.svg").read_text()
    assert "<image" not in text and "<text" not in text and "<path" in text


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_figure_that_is_drawn_again_is_the_same_file(tmp_path, monkeypatch, kind):
    drawn = []
    for year in (2001, 2031):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str((year - 1970) * 31557600))
        figure, axes = style.grid(1, 1)
        axes[0, 0].plot([1, 2], label="a")
        style.save(figure, tmp_path / str(year), [kind], 50)
        drawn.append((tmp_path / f"{year}.{kind}").read_bytes())
    assert drawn[0] == drawn[1]
