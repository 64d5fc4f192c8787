"""Tests of what a circuit is said to be: against planted circuits, and against made-up metrics."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.engine import batching, interventions, models
from circuit_reuse.studies.reuse import hypotheses
from circuit_reuse.validate import planted_recovery, planted_tasks

pytestmark = pytest.mark.usefixtures("one_thread")

CFG = {"inflated": 50, "quantile": 0.8, "permutations": 199}


@pytest.fixture(scope="module", params=["gpt2", "neox"])
def planted(request):
    """(runs, names, circuit) of a planted model."""
    model, circuit = planted_recovery.load("induction", request.param, 1)
    batch = next(batching.batches(planted_tasks.examples("induction", 24, 1), 10**6))
    base, _ = interventions.base(model, batch.clean)
    _, corrupt = interventions.run(model, batch.corrupt)

    def removing(sets):
        last = interventions.replace(model, base, sets, corrupt)
        values = models.metric_values(last, *batch.targets(len(sets)), "logit_difference")
        return values.view(len(sets), -1).double().numpy()

    clean = pd.Series(removing([[]])[0])
    runs = SimpleNamespace(removing=removing, clean=clean, clusters=pd.Series(range(24)))
    return runs, model.space.of_kinds(), circuit


def test_the_parts_of_a_planted_circuit_are_needed_and_a_decoy_is_not(planted):
    runs, names, circuit = planted
    decoy = next(name for name in names if name not in circuit)
    rows = hypotheses.tested(runs, names, [*circuit, decoy], CFG, ("t",))
    found = {row["component"]: row for row in rows if row["test"] == "minimality"}
    assert all(found[name]["p_value"] < 0.05 and found[name]["statistic"] > 1 for name in circuit)
    assert found[decoy]["p_value"] > 0.3
    assert {row["n_components"] for row in rows} == {len(circuit) + 1}


def test_half_a_circuit_is_not_equivalent_to_the_model(planted):
    runs, names, circuit = planted
    row = next(r for r in hypotheses.tested(runs, names, circuit[:1], CFG, ("t",)) if r["test"] == "equivalence")
    assert row["p_value"] < 0.001 and row["statistic"] < 0.1


def test_what_goes_with_the_model_is_not_independent_of_it():
    rng = np.random.default_rng(0)
    model = rng.normal(size=40)
    assert hypotheses.independence(model + 0.3 * rng.normal(size=40), model, 199, 0)[1] == 1 / 200
    # Not by correlation alone.
    assert hypotheses.independence(np.abs(model), model, 199, 0)[1] < 0.02
    assert hypotheses.independence(rng.normal(size=40), model, 199, 0)[1] > 0.05
    assert hypotheses.independence(np.ones(40), model, 199, 0)[1] == 1


def test_equivalence_counts_examples_that_differ():
    model = np.arange(10.0)
    assert hypotheses.equivalence(model, model) == (0.5, 1.0)
    assert hypotheses.equivalence(model + 1, model) == (1.0, pytest.approx(2 / 2**10))
    assert hypotheses.minimality(2.0, np.linspace(0, 1, 50), 0.9) == pytest.approx(0.9**50)
