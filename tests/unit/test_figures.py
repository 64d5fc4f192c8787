"""What figures draw where a model does not do a task."""

import numpy as np
import pandas as pd
from circuit_reuse.report import style
from circuit_reuse.studies.reuse import plots


def test_error_bars_reach_the_ends_of_the_interval_and_are_never_negative():
    bars = style.bars([1.0, 2.0, 3.0], [0.5, 2.0 + 1e-12, np.nan], [2.5, 2.0, 4.0])
    assert bars[:, 0].tolist() == [0.5, 1.5] and (bars[:, :2] >= 0).all() and np.isnan(bars[0, 2])


def test_no_effect_is_drawn_as_a_share_of_a_gap_that_is_not_positive():
    row = {"model": "m", "effect": -1.0, "effect_low": -2.0, "effect_high": -0.5, "n_components": 3}
    row |= {"q_value": 0.018, "n_examples": 16, "n_clusters": 12}
    tests = pd.DataFrame([row | {"task": "able", "gap": 2.0}, row | {"task": "unable", "gap": -2.0}])
    effects = {("m", task): [np.array([-0.1, 0.1]), np.array([-0.2, 0.1])] for task in ("able", "unable")}
    titles = {"able": "Able", "unable": "Unable"}
    figure = plots.effect_against_controls(tests, effects, ["m"], list(titles), titles, "logits")
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["q = 0.018\nn = 16 (12)", "clean ≤ corrupt"]
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    assert [float(line.get_ydata()[0]) for line in diamonds] == [-50]
    style.pyplot.close(figure)


def test_ticks_with_powers_are_formulas_and_names_with_dollar_signs_are_not():
    figure, axes = style.grid(1, 1)
    axes[0, 0].plot([0, 3e6], [0, 1])
    axes[0, 0].ticklabel_format(axis="x", style="sci", scilimits=(-2, 4), useMathText=True)
    axes[0, 0].set_title("$a$ and $b$")
    figure.draw_without_rendering()
    formulas = style.ticks_with_powers(figure)
    shown = [text for text in figure.findobj(style.Text) if "$" in text.get_text()]
    assert axes[0, 0].title in shown and len(shown) > 2
    assert set(shown) - formulas == {axes[0, 0].title}
    style.pyplot.close(figure)
