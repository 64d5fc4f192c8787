"""Jobs that begin the longest chain go first."""

import json
import random
from functools import cache
from types import SimpleNamespace

import pytest
import scheduling


@pytest.mark.parametrize("seed", range(20))
def test_the_rank_of_a_job_is_the_longest_of_all_chains_that_begin_with_it(seed):
    """The slow way: every chain is listed."""
    rng = random.Random(seed)
    waits = {job: [before for before in range(job) if rng.random() < 0.3] for job in range(12)}
    took = {job: rng.randint(1, 9) for job in waits}

    @cache
    def chains(job):
        after = [other for other, before in waits.items() if job in before]
        return [[job, *chain] for other in after for chain in chains(other)] or [[job]]

    found = scheduling.ranks(waits, took.get)
    assert found == {job: max(sum(map(took.get, chain)) for chain in chains(job)) for job in waits}


class Job:
    def __init__(self, rule):
        self.rule, self.wildcards = SimpleNamespace(name=rule), {"model": "own"}


class Dag:
    """Two jobs as Snakemake has them, the second with a priority that the user gave."""

    def __init__(self):
        self.first, self.second = Job("prune_nodes"), Job("cross_sequences")
        self._priority = {self.first: 0, self.second: 7}

    def needrun_jobs(self):
        return [self.first, self.second]

    def job_dependencies(self, job):
        return [self.first] if job is self.second else []

    def priority(self, job):
        return self._priority[job]


def test_a_priority_of_the_users_stays():
    dag = Dag()
    scheduling.longest_chains_first(dag, {"own": {"path": "models/own"}})
    assert dag._priority[dag.second] == 7 and dag._priority[dag.first] > 300
    # Jobs of the small trained models take as long as in the default run.
    dag = Dag()
    scheduling.longest_chains_first(dag, {"own": {"path": "resources/models/own"}})
    assert 0 < dag._priority[dag.first] < 60


def test_the_screen_is_given_what_the_jobs_of_each_model_are_expected_to_take(tmp_path, monkeypatch):
    monkeypatch.setenv(scheduling.EXPECTED, str(tmp_path / "expected"))
    scheduling.longest_chains_first(Dag(), {"own": {"path": "models/own"}})
    found = json.loads((tmp_path / "expected").read_text())
    assert set(found) == {"prune_nodes own", "cross_sequences own"}
    assert all(count == 1 and seconds > 60 for count, seconds in found.values())
