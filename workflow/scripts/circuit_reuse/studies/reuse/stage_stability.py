"""The stage that compares a task's shared circuit over halves of the examples, sentence frames and methods."""

from itertools import combinations

from circuit_reuse.data import gather, tables
from circuit_reuse.stats import circuits, sharing, similarity
from circuit_reuse.studies.reuse import schemas

# Examples of one sentence frame, at least, for a circuit of their own.
LEAST = 4


def measure(job):
    """The stability table of one task: a row for every two circuits of it, at one K and threshold."""
    cfg, rows = job.cfg, []
    at = cfg["cross_task"]
    train = tables.read_all(job.input.examples, tables.EXAMPLES)
    train = train[train["used"] & (train["split"] == "train")].set_index("example")
    whole = {}
    paths = gather.by(job.input.scores, "method")
    for method in (method for method in cfg["methods"] if method in paths):
        scores = tables.read_all(paths[method], tables.SCORES)
        values, numbers, names = sharing.matrix(scores, train.index)
        values, names = sharing.select(values, names, cfg["kinds"])
        member = circuits.top_k(values, circuits.resolve_k(at["top_k"], len(names)))
        templates = train.loc[numbers, "template"].to_numpy()
        stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, method, "stability")
        pairs = [*halves(member, cfg["halves"], stream), *frames(templates)]
        for kind, first, second in pairs:
            found = [circuits.shared_names(member[picked], names, at["threshold"]) for _, picked in (first, second)]
            about = {"method": method, "kind": kind, "first": first[0], "second": second[0]}
            about |= {"n_examples_first": int(first[1].sum()), "n_examples_second": int(second[1].sum())}
            rows.append(about | compared(*found, names))
        whole[method] = circuits.shared_names(member, names, at["threshold"]), names
    for first, second in combinations(whole, 2):
        about = {"method": first, "kind": "method", "first": first, "second": second}
        about |= {"n_examples_first": len(train), "n_examples_second": len(train)}
        rows.append(about | compared(whole[first][0], whole[second][0], whole[first][1]))
    at = {name: float(at[name]) for name in ("top_k", "threshold")}
    job.write(job.output.stability, schemas.STABILITY, [at | row for row in rows])


def halves(member, draws, stream):
    """Random splits into two halves: (kind, (name, bool [example]), (name, bool [example]))."""
    rng, half = circuits.generator(*stream), len(member) // 2
    for draw in range(draws if half else 0):
        place = rng.permutation(len(member))
        place = place.argsort()
        yield "halves", (f"{draw} a", place < half), (f"{draw} b", (place >= half) & (place < 2 * half))


def frames(templates):
    """Every two sentence frames with enough examples, as in `halves`."""
    picked = [(name, templates == name) for name in sorted(set(templates))]
    for first, second in combinations([each for each in picked if each[1].sum() >= LEAST], 2):
        yield "template", first, second


def compared(first, second, names):
    """What two circuits share, beside random sets with as many components in each layer."""
    probability = similarity.shared_at_random(first, second, names, similarity.layer_and_kind)
    null = sum(
        chance * shared / max(1, len(first) + len(second) - shared)
        for shared, chance in enumerate(probability.tolist())
    )
    some = bool(first or second)
    return {
        "n_components_first": len(first),
        "n_components_second": len(second),
        "jaccard": circuits.jaccard(first, second) if some else None,
        "jaccard_null": null if some else None,
    }
