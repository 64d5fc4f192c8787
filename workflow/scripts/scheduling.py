"""Which jobs go first, and how long they take: those that begin the longest chain of jobs (list scheduling by critical path, Graham 1969).

Without it the short jobs of all studies go first, and the longest chain runs alone at the end.
"""

import graphlib
import json
import os
from pathlib import Path

import explain

EMBEDDED = "resources/models/"
# Where the screen reads what is expected (workflow/screen).
EXPECTED = "CIRCUIT_REUSE_EXPECTED"


def longest_chains_first(dag, sources):
    """Give each job of a run the seconds of the longest chain that it begins as its priority, unless the user gave one.

    dag: Snakemake's;  sources: model_sources of the config
    Times are those of `make explain`: of earlier jobs in this folder, else those that come with the project.
    """
    jobs = set(dag.needrun_jobs())
    waits = {job: [each for each in dag.job_dependencies(job) if each in jobs] for job in jobs}
    times, real = explain.known_times(Path.cwd())[0], explain.real_times()
    # How large a model is does not matter here: it is one of the embedded ones, or takes long.
    sizes = {
        name: explain.REAL_PARAMETERS for name, source in sources.items() if EMBEDDED not in str(source.get("path", ""))
    }
    seconds = {
        job: explain.seconds_of(job.rule.name, job.wildcards.get("model"), times, real, sizes) or 1.0 for job in jobs
    }
    for job, rank in ranks(waits, seconds.get).items():
        if not dag.priority(job):
            # Snakemake asks its rules for priorities, and a rule does not know what waits for its jobs.
            dag._priority[job] = round(rank)
    if path := os.environ.get(EXPECTED):
        Path(path).write_text(json.dumps(by_kind(seconds)), encoding="utf-8")


def by_kind(seconds):
    """{"rule model": [jobs, seconds of each]} of a run's jobs.  seconds: {job: seconds}"""
    found = {}
    for job, took in seconds.items():
        kind = found.setdefault(f"{job.rule.name} {job.wildcards.get('model', '')}".strip(), [0, took])
        kind[0] += 1
    return found


def ranks(waits, seconds):
    """{job: seconds of the longest chain that it begins}.

    waits: {job: jobs that it waits for};  seconds: function of a job
    """
    longest, found = dict.fromkeys(waits, 0.0), {}
    for job in reversed(list(graphlib.TopologicalSorter(waits).static_order())):
        found[job] = seconds(job) + longest[job]
        for before in waits[job]:
            longest[before] = max(longest[before], found[job])
    return found
