"""Which jobs go first: those that begin the longest chain of jobs (list scheduling by critical path, Graham 1969).

Without it the short jobs of all studies go first, and the longest chain runs alone at the end.
"""

import graphlib
import json

import explain

EMBEDDED = "resources/models/"


def longest_chains_first(dag, sources):
    """Give each job of a run the seconds of the longest chain that it begins as its priority, unless the user gave one.

    dag: Snakemake's;  sources: model_sources of the config
    """
    jobs = set(dag.needrun_jobs())
    waits = {job: [each for each in dag.job_dependencies(job) if each in jobs] for job in jobs}
    tiny, real = (json.loads(path.read_text()) if path.is_file() else {} for path in (explain.SHIPPED, explain.REAL))
    embedded = {name for name, source in sources.items() if EMBEDDED in str(source.get("path", ""))}

    def seconds(job):
        model = job.wildcards.get("model")
        known = tiny if model is None or model in embedded else tiny | real
        return known.get(job.rule.name, 1.0)

    for job, rank in ranks(waits, seconds).items():
        if not dag.priority(job):
            # Snakemake asks its rules for priorities, and a rule does not know what waits for its jobs.
            dag._priority[job] = round(rank)


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
