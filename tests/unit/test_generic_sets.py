"""Two tasks with the same circuit draw random sets of their own, and losses of text stay with the sets that they are of."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.stats import sharing
from circuit_reuse.studies.reuse import stage_generic_tests as stage
from circuit_reuse.studies.reuse import summary

TEXTS, SETS = 12, 8


def test_the_loss_of_a_set_is_beside_its_effect_on_its_own_task(monkeypatch):
    rng = np.random.default_rng(0)
    rise = {"first": rng.uniform(0.1, 1, SETS), "second": rng.uniform(0.1, 1, SETS)}
    intact = rng.uniform(2, 3, TEXTS)

    def runs(circuit, control, change):
        return pd.DataFrame(
            {
                "circuit": circuit,
                "control": control,
                "text": range(TEXTS),
                "loss": intact + change,
                "loss_guessing": 9.0,
            }
        )

    parts = [runs("intact", None, 0), runs("c", None, 0.5)]
    for task, values in rise.items():
        parts += [runs(sharing.matched_of("c", task), n, value) for n, value in enumerate(values)]
    losses = pd.concat(parts)

    def read(path, schema):
        return losses if path == "runs" else path

    class Outcomes:
        """The effect of a set is twice what text loses without it: the task needs what text needs."""

        def __init__(self, task):
            self.task = task

        def circuit(self, *_):
            return np.full(4, -1.0)

        def baseline(self, _):
            return np.zeros(4)

    written = {}
    monkeypatch.setattr(stage.tables, "read", read)
    monkeypatch.setattr(stage, "chosen_circuits", lambda *_: {task: ("c", ["a0.h0"], None) for task in rise})
    monkeypatch.setattr(stage.gather, "one_by", lambda *_: {task: task for task in rise})
    monkeypatch.setattr(stage.testing, "Outcomes", Outcomes)
    monkeypatch.setattr(stage.testing, "random_effects", lambda outcomes, _: -2 * rise[outcomes.task])
    cfg = {"seed": 0, "bootstrap": 200, "cross_task": {"top_k": 8, "threshold": 0.75}}
    stage.test(
        SimpleNamespace(
            cfg=cfg,
            input=SimpleNamespace(runs="runs", effects=[], circuits=[]),
            output=SimpleNamespace(generic="generic", sets="sets"),
            wildcards=SimpleNamespace(model="m"),
            write=lambda name, _, rows: written.update({name: pd.DataFrame(rows)}),
        )
    )
    sets = written["sets"]
    assert len(sets) == 2 * (SETS + 1)
    assert sets["effect"].to_numpy() == pytest.approx(-2 * sets["loss_change"].to_numpy())
    # All on one line, the circuit's own as well: nothing is left of its effect.
    assert written["generic"]["effect_left"].to_numpy() == pytest.approx(0, abs=1e-6)


def test_two_tasks_with_one_circuit_are_two_tests():
    """Each is ranked among random sets of its own: three tests, of which the smallest p has q = 3 p."""
    rows = {"method": "atp", "model": "m", "task": ["a", "b", "c"], "circuit": ["x", "x", "y"]}
    found = summary.generic(pd.DataFrame(rows | {"p_value": [0.01, 0.5, 0.9], "p_left": [0.9, 0.01, 0.5]}))
    assert found["q_value"][0] == pytest.approx(0.03) and found["q_left"][1] == pytest.approx(0.03)
