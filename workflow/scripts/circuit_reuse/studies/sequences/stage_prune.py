"""The stage that prunes the nodes of one task in every order asked for."""

import numpy as np
import pandas as pd

from circuit_reuse.data import jobs, tables
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import effects, models
from circuit_reuse.stats import circuits, sharing
from circuit_reuse.studies.sequences import evaluator, pruning, schemas, shares, stage_names


def prune_task(job):
    """All pruning runs of one task, and what their circuits score."""
    cfg = job.cfg
    model = models.of_job(job)
    train, held_out = jobs.splits(job.input.examples, cfg, job.wildcards.task)
    names = model.space.of_kinds(shares.KINDS)
    context = context_of(job, train)
    settings = scored_by(cfg), job.compute["batch_tokens"], cfg["means"]
    evaluate = evaluator.CircuitEvaluator(
        model, train, train, cfg["replacement"], *settings, known=earlier(job.output.evaluated, context, names)
    )
    shares.check_task(evaluate.full, job.wildcards.task, job.wildcards.model)
    empty = shares.share(evaluate([names])[0], evaluate.full)
    check_empty(empty, cfg, job.wildcards.task)
    stream = (cfg["seed"], job.wildcards.model, job.wildcards.task, "prune")
    scores = attributions(job.input.scores, train, names)
    pruning_runs = pruning.planned(cfg, train["cluster"], stream)
    cut = (
        next(pruning.passes("attribution", names, scores, stream))
        if pruning.wanted_cut(cfg["first_cut"], names)
        else ()
    )
    generators = [
        pruning.steps(
            pruning_run,
            pruning.passes(pruning_run.strategy, names, scores, (*stream, "order", pruning_run.order)),
            evaluate.full,
            cfg["add_back"] and pruning_run.strategy not in pruning.SINGLE,
            cut,
        )
        for pruning_run in pruning_runs
    ]
    evaluator.run(pruning_runs, generators, evaluate, job.log)

    test = evaluator.CircuitEvaluator(model, held_out, train, cfg["replacement"], *settings)
    included = pruning.inclusion(pruning_runs, names)
    new = ~held_out["variant"].isin(set(train["variant"])).to_numpy()
    judge = Judge(evaluate, test, names, empty, new, cfg["bootstrap"], stream, scored_by(cfg))
    rows = [judge.row_of(pruning_run) for pruning_run in pruning_runs]
    if included:
        for threshold in cfg["thresholds"]:
            kept = pruning.frequent(included, threshold, cfg["frequency"])
            rows.append(judge.circuit("frequent", threshold, kept))
    for name, circuit in stage_names.of_files(cfg["circuits"], model.space, job.wildcards.task).items():
        rows.append(judge.circuit("file", cfg["threshold"], circuit, name))
    job.write(job.output.pruned, schemas.PRUNED, rows)
    job.write(job.output.steps, schemas.STEPS, steps_of(pruning_runs, names))
    job.write(job.output.inclusion, schemas.INCLUSION, included)
    job.write(job.output.pareto_front, schemas.PARETO_FRONT, judge.pareto_front())
    found = [
        {"context": context, "removed": bits(removed, names), "metric": evaluate.used[removed].tolist()}
        for removed in evaluate.used
    ]
    found.sort(key=lambda row: row["removed"])
    job.write(job.output.evaluated, schemas.EVALUATED, found, cfg=cfg | {"pruning_runs": None})


def scored_by(cfg):
    """What a circuit's score is a share of: the study's metric, or `kl` (evaluator.CircuitEvaluator)."""
    return "kl" if cfg["score"] == "kl" else cfg["metric"]


def context_of(job, train):
    """Hash of all that the metric of a circuit depends on."""
    cfg, code = job.cfg, job.params.rows_code
    settings = [cfg["replacement"], cfg["means"], cfg["dtype"]]
    return effects.context_of(job.model, train, train, settings, scored_by(cfg), [], code, 0)


def bits(removed, names):
    """A set of components as a hexadecimal number, a bit each."""
    return f"{sum(1 << place for place, name in enumerate(names) if name in removed):x}"


def earlier(path, context, names):
    """Metrics of circuits that an earlier run left, if they still hold: {removed: [example]}."""
    table = tables.earlier(path, schemas.EVALUATED)
    if table is None:
        return {}
    table = table[table["context"] == context]
    found = {}
    for text, metric in zip(table["removed"], table["metric"], strict=True):
        number = int(text, 16)
        removed = frozenset(name for place, name in enumerate(names) if number >> place & 1)
        found[removed] = np.asarray(metric, dtype=np.float32)
    return found


def attributions(path, train, names):
    """Mean attribution of each component over the train examples."""
    values, _, columns = sharing.matrix(tables.read(path, tables.SCORES), train["example"])
    means = pd.Series(values.mean(axis=0), columns)
    return {name: float(means[name]) for name in names}


def check_empty(empty, cfg, task):
    """A limit that the empty circuit meets asks for nothing.

    raises: LeftOut that names the thresholds
    """
    met = [t for t in cfg["thresholds"] if pruning.Limit(t, cfg["two_sided"]).holds(empty)]
    if met:
        raise LeftOut(
            f"task {task!r}: with every head and MLP replaced the score is still {100 * empty:.1f} per cent, "
            f"so the empty circuit meets sequences.pruning.thresholds: {', '.join(f'{t:g}' for t in met)}; use "
            "smaller ones, another sequences.replacement, or leave the task out of sequences"
        )


class Judge:
    """Scores circuits on the train examples they were pruned on, and on the held-out ones."""

    def __init__(self, evaluate, test, names, empty, new, resamples, stream, scored_by):
        self.evaluate, self.test, self.names, self.empty = evaluate, test, names, empty
        # Held-out examples whose variant (of a sequence: where it starts) no train example has.
        self.new = new
        self.resamples, self.stream, self.scored_by = resamples, stream, scored_by
        self.seen, self.tested = {}, {}

    def held_out(self, kept):
        """Score, low and high of a circuit on the held-out examples; each circuit is run once."""
        kept = frozenset(kept)
        if kept not in self.tested:
            values = self.test([set(self.names) - kept])[0]
            clusters = self.test.examples["cluster"]
            bounds = shares.score_interval(values, self.test.full, self.resamples, kept, self.stream[:3], clusters)
            fresh = None
            if self.new.sum() > 1:
                fresh = shares.share(values[self.new], self.test.full[self.new])
            self.tested[kept] = (shares.share(values, self.test.full), *bounds, fresh)
        return dict(zip(("score", "score_low", "score_high", "score_new"), self.tested[kept], strict=True))

    def row(self, strategy, threshold, kept, score, **more):
        """A row of the pruned table."""
        kept = circuits.sorted_names(kept)
        composition = circuits.composition_of(kept)
        return {
            "strategy": strategy,
            "threshold": float(threshold),
            "scored_by": self.scored_by,
            "components": kept,
            "n_heads": composition.get("head", 0),
            "n_mlps": composition.get("mlp", 0),
            "score_train": score,
            "score_empty_train": self.empty,
            "n_new": int(self.new.sum()),
            "n_examples": len(self.test.full),
            "n_clusters": self.test.examples["cluster"].nunique(),
            **self.held_out(kept),
            **more,
        }

    def row_of(self, pruning_run):
        """A pruning run's circuit."""
        kept = set(self.names) - pruning_run.removed
        return self.row(
            pruning_run.strategy,
            pruning_run.limit.threshold,
            kept,
            pruning_run.score,
            order=pruning_run.order,
            draw=pruning_run.draw,
            n_components_before=len(self.names) - len(pruning_run.pruned),
            score_train_before=pruning_run.score_pruned,
            n_passes=pruning_run.passes,
            n_candidates=pruning_run.candidates,
        )

    def circuit(self, strategy, threshold, kept, name=None):
        """A circuit that no pruning run made."""
        score = shares.share(self.evaluate([set(self.names) - set(kept)])[0], self.evaluate.full)
        return self.row(strategy, threshold, kept, score, circuit=name)

    def pareto_front(self):
        """Rows of the pareto_front table: of all circuits run on the train examples, the best of each size.

        Sizes are those at which a circuit comes nearer to the full model than any smaller one.
        """
        full, best = self.evaluate.full, {}
        for removed, values in self.evaluate.used.items():
            size, score = len(self.names) - len(removed), shares.share(values, full)
            key = (abs(1 - score), bits(removed, self.names))
            if size not in best or key < best[size][0]:
                best[size] = (key, removed, score)
        seen = [(size, key[0], removed, score) for size, (key, removed, score) in best.items()]
        rows = []
        for size, _, removed, score in pruning.pareto_front(seen):
            kept = circuits.sorted_names(set(self.names) - removed)
            rows.append({"n_components": size, "score_train": score, "components": kept} | self.held_out(kept))
        return rows


def steps_of(pruning_runs, names):
    """Rows of the steps table: what each pruning run took out or put back, in order."""
    rows = []
    for pruning_run in pruning_runs:
        before, size = 1.0, len(names)
        for number, (in_pass, action, name, score) in enumerate(pruning_run.trace, start=1):
            size += 1 if action == "add" else -1
            rows.append(
                {
                    "strategy": pruning_run.strategy,
                    "threshold": float(pruning_run.limit.threshold),
                    "order": pruning_run.order,
                    "draw": pruning_run.draw,
                    "step": number,
                    "in_pass": in_pass,
                    "action": action,
                    "component": name,
                    "n_components": size,
                    "score_train": score,
                    "score_change": score - before,
                }
            )
            before = score
    return rows
