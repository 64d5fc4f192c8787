"""The stage that compares a task's shared circuit over halves of the examples, templates and methods."""

from itertools import combinations

import numpy as np

from circuit_reuse.data import components, gather, jobs, tables
from circuit_reuse.stats import circuits, sharing, similarity
from circuit_reuse.studies.reuse import schemas
from circuit_reuse.studies.reuse.shared_circuits import chosen

# Examples of some templates, at least, for a circuit of their own.
LEAST = 4


def measure(job):
    """The stability table of one task: a row for every two circuits of it, at one K and threshold."""
    cfg, rows = job.cfg, []
    at = cfg["cross_task"]
    train = tables.read_all(job.input.examples, tables.EXAMPLES)
    train = jobs.used(train, "train").set_index("example")
    whole = {}
    paths = gather.by(job.input.scores, "method")
    for method in (method for method in cfg["methods"] if method in paths):
        scores = tables.read_all(paths[method], tables.SCORES)
        values, numbers, names = sharing.matrix(scores, train.index)
        values, names = sharing.select(values, names, cfg["kinds"])
        member = circuits.top_k(values, components.resolve_k(at["top_k"], len(names)))
        templates = train.loc[numbers, "template"].to_numpy()
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, method, "stability")
        pairs = [*halves(len(member), cfg["halves"], stream), *frames(templates, cfg["halves"], stream)]
        for kind, first, second in pairs:
            found = [circuits.shared_names(member[picked], names, at["threshold"]) for _, picked in (first, second)]
            about = {"method": method, "kind": kind, "first": first[0], "second": second[0]}
            about |= {"n_examples_first": len(first[1]), "n_examples_second": len(second[1])}
            rows.append(about | compared(*found, names))
        whole[method] = circuits.shared_names(member, names, at["threshold"]), names
        if job.input.variants and method == cfg["methods"][0]:
            variants = tables.read(job.input.variants, schemas.VARIANTS)
            rows += varied(variants, scores, train.index, cfg, names, method)
    for first, second in combinations(whole, 2):
        about = {"method": first, "kind": "method", "first": first, "second": second}
        about |= {"n_examples_first": len(train), "n_examples_second": len(train)}
        rows.append(about | compared(whole[first][0], whole[second][0], whole[first][1]))
    at = chosen(at)
    job.write(job.output.stability, schemas.STABILITY, [at | row for row in rows])


def halves(count, draws, stream):
    """Random splits into two halves: (kind, (name, places of the examples), (name, places))."""
    for draw, (first, second) in enumerate(circuits.random_halves(count, draws, *stream)):
        yield "halves", (f"{draw} a", first), (f"{draw} b", second)


def frames(templates, draws, stream):
    """Random splits of the templates into two halves, as in `halves`: all examples of a template are on one side."""
    known = np.array(sorted(set(templates)))
    for draw, (first, second) in enumerate(circuits.random_halves(len(known), draws, *stream, "frames")):
        sides = [np.flatnonzero(np.isin(templates, known[picked])) for picked in (first, second)]
        if min(map(len, sides)) >= LEAST:
            yield "template", (f"{draw} a", sides[0]), (f"{draw} b", sides[1])


def varied(variants, scores, train, cfg, names, method):
    """Rows that compare the circuit with those of other steps and corruptions, on the examples that these have."""
    at = cfg["cross_task"]
    for variant, other in variants.groupby("variant", sort=False, observed=True):
        numbers, sides = train[train.isin(other["example"])], []
        for table in (scores, other):
            values, _, every = sharing.matrix(table, numbers)
            values, _ = sharing.select(values, every, cfg["kinds"])
            member = circuits.top_k(values, components.resolve_k(at["top_k"], len(names)))
            sides.append(circuits.shared_names(member, names, at["threshold"]))
        kind = "steps" if variant.endswith(" steps") else "corruption"
        about = {"method": method, "kind": kind, "first": "as configured", "second": variant}
        about |= {"n_examples_first": len(numbers), "n_examples_second": len(numbers)}
        yield about | compared(*sides, names)


def compared(first, second, names):
    """What two circuits share, beside random sets with as many components in each layer."""
    found = similarity.beside_layers(first, second, names)
    return {
        "n_components_first": len(first),
        "n_components_second": len(second),
        **{name: found[name] for name in ("jaccard", "jaccard_null")},
    }
