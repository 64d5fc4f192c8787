"""The stage that runs circuits of nodes and of edges of every size on held-out examples."""

import time

import numpy as np
import pandas as pd

from circuit_reuse.data import components, tables
from circuit_reuse.data.examples import enough_of_each
from circuit_reuse.engine import edge_circuits, edge_means, interventions, models, prepared
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.stats import sharing, statistics
from circuit_reuse.studies.reuse import faithfulness, hypotheses, schemas


def task_curves(job):
    """Curves, areas, completeness, minimality and the tests of hypotheses of one task."""
    cfg, compute = job.cfg, job.compute
    model = models.of_job(job)
    examples = tables.read_all(job.input.examples, tables.EXAMPLES)
    enough_of_each(examples, cfg["min_valid"], job.wildcards.task)
    used = examples[examples["used"]]
    train = used[used["split"] == "train"].reset_index(drop=True)
    runs = Runs(model, used[used["split"] == "held_out"], cfg["metric"], compute["batch_tokens"])
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, job.wildcards.method, "curves")
    began = time.monotonic()

    values, _, names = sharing.matrix(tables.read_all(job.input.scores, tables.SCORES), train["example"])
    mean = signed = pd.Series(values.mean(axis=0), names)[model.space.names]
    raw, found = [], pd.DataFrame(columns=schemas.EDGES.names)
    method = METHODS[job.wildcards.method]
    if not method.signed:
        # What has no sign cannot put the helpful ones first, but the strongest.
        signed = -mean
    if method.edges:
        steps = cfg["steps"] if method.steps else 0
        found = edge_means.mean_edges(model, train, cfg["metric"], steps, compute["batch_tokens"])
        if not method.signed:
            signed = found.groupby("writer")["score"].sum()[model.space.names]
        scores = found["score"].to_numpy()
        plan = faithfulness.plan(scores, scores, cfg["random_draws"], stream)
        metrics = runs.edges(plan)
        raw.append(faithfulness.frame(plan, runs.numbers, metrics).assign(level="edge"))
    plan = faithfulness.plan(mean.to_numpy(), signed.to_numpy(), cfg["random_draws"], stream)
    metrics = runs.nodes(plan)
    raw.insert(0, faithfulness.frame(plan, runs.numbers, metrics).assign(level="node"))
    raw = pd.concat(raw, ignore_index=True)
    rows = summarise(raw, runs, cfg["bootstrap"], stream)
    # Without the input, which is never removed here: with it gone, every run is the corrupt one, whatever the circuit.
    mean = mean.drop("input")
    circuit = largest(mean, cfg["k"])
    whole = halves(runs, mean, circuit, cfg, stream)
    tests = hypotheses.tested(runs, list(mean.index), circuit, cfg, stream)
    job.write(job.output.runs, schemas.CURVE_RUNS, raw)
    job.write(job.output.curves, schemas.CURVES, rows)
    job.write(job.output.edges, schemas.EDGES, found)
    job.write(job.output.completeness, schemas.COMPLETENESS, whole)
    job.write(job.output.hypotheses, schemas.HYPOTHESES, tests)
    job.log.info("%d circuits in %.1f s", len(raw) // len(runs.numbers), time.monotonic() - began)


class Runs:
    """Held-out examples with their clean and corrupt runs, made once for all circuits."""

    def __init__(self, model, examples, metric, tokens):
        self.model, self.metric, self.tokens = model, metric, tokens
        examples = examples.reset_index(drop=True)
        self.numbers = examples["example"].to_numpy()
        self.clusters = pd.Series(examples["cluster"].to_numpy(str), self.numbers)
        clean, corrupt = np.empty(len(examples)), np.empty(len(examples))
        self.prepared = list(prepared.prepared(model, examples, None, "corrupt", tokens))
        for batch, base, _ in self.prepared:
            last, _ = interventions.run(model, batch.corrupt, batch.prefix)
            clean[batch.rows] = self.values(base.last, batch, 1)[0]
            corrupt[batch.rows] = self.values(last, batch, 1)[0]
        self.clean = pd.Series(clean, self.numbers)
        self.corrupt = pd.Series(corrupt, self.numbers)

    def values(self, last, batch, sets):
        """Metrics of a run, [set, example], as numpy."""
        return prepared.values(last, batch, sets, self.metric)

    def removing(self, sets):
        """Metric with each set of components corrupted, [set, example]."""
        result = np.empty((len(sets), len(self.numbers)))
        for batch, base, corrupt in self.prepared:
            scan = interventions.scan(self.model, base, sets, corrupt, self.tokens)
            self.collect(result, batch, scan)
        return result

    def nodes(self, plan):
        """Metric of each node circuit of a plan, [circuit, example]."""
        names = np.array(self.model.space.names)
        return self.removing([list(names[~member]) for *_, member in plan])

    def edges(self, plan):
        """Metric of each edge circuit of a plan, [circuit, example]."""
        there = edge_circuits.exist(self.model)
        kept = np.zeros((len(plan), *there.shape), dtype=bool)
        kept[:, there] = [member for *_, member in plan]
        result = np.empty((len(plan), len(self.numbers)))
        for batch, _, corrupt in self.prepared:
            self.collect(result, batch, edge_circuits.scan(self.model, batch, corrupt, kept))
        return result

    def collect(self, result, batch, scan):
        """Put the metrics of a scan where they belong."""
        for places, last in scan:
            result[np.ix_(places, batch.rows)] = self.values(last, batch, len(places))


def summarise(raw, runs, resamples, stream):
    """Rows of the curves table: faithfulness at each size, and the areas on each row."""
    rows = []
    for level, part in raw.groupby("level", sort=False):
        areas = faithfulness.areas(part, runs, resamples, (*stream, level))
        columns = {
            f"{name}{end}": value
            for name, values in areas.items()
            for end, value in zip(("", "_low", "_high"), values, strict=True)
        }
        found = faithfulness.curve(part, runs, resamples, (*stream, level))
        total = int(part["n_kept"].max())
        rows += [{"level": level, "n_total": total, **row, **columns} for row in found]
    return [statistics.clean(row) for row in rows]


def largest(mean, top_k):
    """The circuit of the K nodes (or of a share of all) of largest mean |score|, in the order of the computation."""
    order = faithfulness.order_of(mean.to_numpy(), "absolute")
    return [mean.index[place] for place in sorted(order[: components.resolve_k(top_k, len(mean))])]


def halves(runs, mean, circuit, cfg, stream):
    """Rows of the completeness table for a circuit.

    source: Wang et al. 2023, section 4
    """
    chosen = faithfulness.subsets(circuit, cfg["subsets"], stream)
    outside = [name for name in mean.index if name not in circuit]
    sets = [outside]
    for _, out in chosen:
        sets += [list(out), [*outside, *out]]
    metrics = runs.removing(sets)
    clean, corrupt = runs.clean.to_numpy(), runs.corrupt.to_numpy()
    whole = faithfulness.share(metrics[0], clean, corrupt)
    rows = []
    for place, (kind, out) in enumerate(chosen):
        full, kept = (faithfulness.share(metrics[1 + 2 * place + n], clean, corrupt) for n in range(2))
        difference = abs(full - kept) if kind == "completeness" else whole - kept
        rows.append(
            statistics.clean(
                {
                    "kind": kind,
                    "n_components": len(circuit),
                    "left_out": sorted(out, key=mean.index.get_loc),
                    "faithfulness": whole,
                    "faithfulness_model_without": full,
                    "faithfulness_without": kept,
                    "difference": difference,
                }
            )
        )
    return rows
