"""The stage that prunes the nodes of one task in every order asked for."""

from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse import circuits, effects, jobs, models, sharing, tables
from circuit_reuse.left_out import LeftOut
from circuit_reuse.sequences import keeping, named, pruning, schemas, stages


def prune_task(input, output, params, wildcards, threads, log):
    """All walks of one task, and what their circuits score; see prune_nodes.py."""
    cfg = params.cfg
    model = models.of_job(input, params, threads)
    train, held_out = jobs.splits(input.examples, cfg, wildcards.task)
    names = model.space.of_kinds(stages.KINDS)
    context = context_of(input, train, cfg, params.rows_code)
    settings = cfg["metric"], params.compute["batch_tokens"], cfg["means"]
    keeper = keeping.Keeper(
        model, train, train, cfg["replacement"], *settings, known=earlier(output.evaluated, context, names)
    )
    stages.check_task(keeper.full, wildcards.task, wildcards.model)
    empty = stages.share(keeper([names])[0], keeper.full)
    check_empty(empty, cfg, wildcards.task)
    stream = (cfg["seed"], wildcards.model, wildcards.task, "prune")
    scores = attributions(input.scores, train, names)
    walks = pruning.planned(cfg, len(train), stream)
    cut = (
        next(pruning.passes("attribution", names, scores, stream))
        if pruning.wanted_cut(cfg["first_cut"], names)
        else ()
    )
    generators = [
        pruning.steps(
            walk,
            pruning.passes(walk.strategy, names, scores, (*stream, "order", walk.order)),
            keeper.full,
            cfg["add_back"] and walk.strategy not in pruning.SINGLE,
            cut,
        )
        for walk in walks
    ]
    keeping.run(walks, generators, keeper, log)

    test = keeping.Keeper(model, held_out, train, cfg["replacement"], *settings)
    included = pruning.inclusion(walks, names)
    new = ~held_out["variant"].isin(set(train["variant"])).to_numpy()
    judge = Judge(keeper, test, names, empty, new, cfg["bootstrap"], stream)
    rows = [judge.walk(walk) for walk in walks]
    if included:
        for points in cfg["thresholds"]:
            kept = pruning.frequent(included, points, cfg["frequency"])
            rows.append(judge.circuit("frequent", points, kept))
    for name, circuit in named.of_files(cfg["circuits"], model.space, wildcards.task).items():
        rows.append(judge.circuit("file", cfg["threshold"], circuit, name))
    jobs.write(output.pruned, schemas.PRUNED, rows, cfg, input)
    jobs.write(output.steps, schemas.STEPS, steps_of(walks, names), cfg, input)
    jobs.write(output.inclusion, schemas.INCLUSION, included, cfg, input)
    jobs.write(output.frontier, schemas.FRONTIER, judge.frontier(), cfg, input)
    found = [
        {"context": context, "removed": bits(removed, names), "metric": keeper.used[removed].tolist()}
        for removed in keeper.used
    ]
    found.sort(key=lambda row: row["removed"])
    jobs.write(output.evaluated, schemas.EVALUATED, found, cfg | {"walks": None}, input)


def context_of(input, train, cfg, code):
    """Hash of all that the metric of a circuit depends on."""
    return effects.context_of(
        jobs.about(input), train, train, [cfg["replacement"], cfg["means"], cfg["dtype"]], cfg["metric"], [], code, 0
    )


def bits(removed, names):
    """A set of components as a hexadecimal number, a bit each."""
    return f"{sum(1 << place for place, name in enumerate(names) if name in removed):x}"


def earlier(path, context, names):
    """Metrics of circuits that an earlier run left, if they still hold: {removed: [example]}."""
    if not Path(path).is_file():
        return {}
    try:
        table = tables.read(path, schemas.EVALUATED)
    except (ValueError, OSError):
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
            f"task {task!r}: with every head and MLP replaced the score is still {empty:.1f} per cent, "
            f"so the empty circuit meets sequences.pruning.thresholds: {', '.join(f'{t:g}' for t in met)}; use "
            "smaller ones, another sequences.replacement, or leave the task out of sequences"
        )


class Judge:
    """Scores circuits on the train examples they were pruned on, and on the held-out ones."""

    def __init__(self, keeper, test, names, empty, new, resamples, stream):
        self.keeper, self.test, self.names, self.empty = keeper, test, names, empty
        # Held-out examples whose variant (of a sequence: where it starts) no train example has.
        self.new = new
        self.resamples, self.stream = resamples, stream
        self.seen, self.tested = {}, {}

    def held_out(self, kept):
        """Score, low and high of a circuit on the held-out examples; each circuit is run once."""
        kept = frozenset(kept)
        if kept not in self.tested:
            values = self.test([set(self.names) - kept])[0]
            stream = (*self.stream, bits(kept, self.names))
            bounds = stages.share_interval(values, self.test.full, self.resamples, stream)
            fresh = None
            if self.new.sum() > 1:
                fresh = stages.share(values[self.new], self.test.full[self.new])
            self.tested[kept] = (stages.share(values, self.test.full), *bounds, fresh)
        return dict(zip(("score", "low", "high", "score_new"), self.tested[kept], strict=True))

    def row(self, strategy, points, kept, score, **more):
        """A row of the pruned table."""
        kept = circuits.sorted_names(kept)
        make = circuits.make_of(kept)
        optional = dict.fromkeys(("order", "draw", "name", "size_before", "score_before", "passes", "candidates"))
        return optional | {
            "strategy": strategy,
            "threshold": float(points),
            "components": kept,
            "heads": make.get("head", 0),
            "mlps": make.get("mlp", 0),
            "score_train": score,
            "empty_train": self.empty,
            "n_new": int(self.new.sum()),
            **self.held_out(kept),
            **more,
        }

    def walk(self, walk):
        """A walk's circuit."""
        kept = set(self.names) - walk.removed
        return self.row(
            walk.strategy,
            walk.limit.points,
            kept,
            walk.score,
            order=walk.order,
            draw=walk.draw,
            size_before=len(self.names) - len(walk.pruned),
            score_before=walk.score_pruned,
            passes=walk.passes,
            candidates=walk.candidates,
        )

    def circuit(self, strategy, points, kept, name=None):
        """A circuit that no walk made."""
        score = stages.share(self.keeper([set(self.names) - set(kept)])[0], self.keeper.full)
        return self.row(strategy, points, kept, score, name=name)

    def frontier(self):
        """Rows of the frontier table: of all circuits run on the train examples, the best of each size.

        Sizes are those at which a circuit comes nearer to the full model than any smaller one.
        """
        full, best = self.keeper.full, {}
        for removed, values in self.keeper.used.items():
            size, score = len(self.names) - len(removed), stages.share(values, full)
            key = (abs(100 - score), bits(removed, self.names))
            if size not in best or key < best[size][0]:
                best[size] = (key, removed, score)
        seen = [(size, key[0], removed, score) for size, (key, removed, score) in best.items()]
        rows = []
        for size, _, removed, score in pruning.frontier(seen):
            kept = circuits.sorted_names(set(self.names) - removed)
            row = {"size": size, "score_train": score, "components": kept} | self.held_out(kept)
            rows.append({key: value for key, value in row.items() if key != "score_new"})
        return rows


def steps_of(walks, names):
    """Rows of the steps table: what each walk took out or put back, in order."""
    rows = []
    for walk in walks:
        before, size = 100.0, len(names)
        for number, (in_pass, action, name, score) in enumerate(walk.trace, start=1):
            size += 1 if action == "add" else -1
            rows.append(
                {
                    "strategy": walk.strategy,
                    "threshold": float(walk.limit.points),
                    "order": walk.order,
                    "draw": walk.draw,
                    "step": number,
                    "in_pass": in_pass,
                    "action": action,
                    "component": name,
                    "size": size,
                    "score": score,
                    "change": score - before,
                }
            )
            before = score
    return rows
