"""The library in a notebook: score, circuit, ablate, prune, compare.

    import sys; sys.path.insert(0, "workflow/scripts")
    from circuit_reuse import api

The same functions that the workflow's jobs call, without files between them: tables are pandas DataFrames,
circuits are lists of component names (`input`, `a<layer>.h<head>`, `m<layer>`).  docs/library.md has an example
of each.  What the workflow adds is that nothing is run twice, and that whole studies are corrected for the
number of their tests.
"""

import logging

import numpy as np
import pandas as pd

from circuit_reuse.config.checks import SETTINGS
from circuit_reuse.config.errors import nearest
from circuit_reuse.data import components, metrics
from circuit_reuse.data import examples as reading
from circuit_reuse.data.circuit_files import Circuit
from circuit_reuse.engine import edge_circuits, edge_means, effects, fine_scores, models, places
from circuit_reuse.engine.replacements import REPLACEMENTS
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.prompts import rows as sources
from circuit_reuse.prompts import tasks
from circuit_reuse.stats import circuits, sharing, similarity, testing
from circuit_reuse.stats.statistics import mean_interval, rank_p
from circuit_reuse.studies.common import stage_examples, stage_scores
from circuit_reuse.studies.reuse import stage_curves
from circuit_reuse.studies.sequences import evaluator, pruning

LOG = logging.getLogger(__name__)
TOKENS = 4096
METRIC = "logit_difference"


def one_of(name, value, known):
    """Check a name at the boundary.

    raises: ValueError that says what is known, and which of it is nearest
    """
    if value not in known:
        raise ValueError(f"{name} is {value!r}; known: {', '.join(map(str, known))}{nearest(value, list(known))}")


def between(name, value, low, high):
    """Check a number at the boundary; raises ValueError."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; it must be from {low} to {high}")


def load(folder, device="auto", dtype="float32", threads=None):
    """A model from a folder with config.json, tokenizer.json and safetensors weights.

    threads: of the processor; one is fastest for models as small as the embedded ones
    returns: models.Model
    raises:  ModelError if the folder cannot be used, in one line that says why
    """
    return models.load(folder, device, dtype, threads)


def examples(model, folder, task, count=64, seed=0, held_out_share=0.5, file=None, **options):
    """Prompt pairs of a task, tokenised, with the intact model's metric: a row an example.

    folder:  of the model, for its tokenizer
    task:    a built-in task (prompts.tasks.TASKS), or any name with a file of one's own
    file:    a CSV with the columns clean, corrupt, answer, distractor
    options: of the task's family, such as length=5 for a sequence; or shots, chat, bos, accuracy of any task
    returns: a DataFrame; `used` says which rows are valid, `split` whether train or held_out
    raises:  ValueError for an unknown task or a file that cannot be used
    """
    if file is None:
        one_of("task", task, tasks.TASKS)
    between("held_out_share", held_out_share, 0, 1)
    about = tasks.TASKS.get(task, tasks.Task("custom", task))
    asked = {name: options.pop(name, getattr(about, name)) for name in tasks.SETTINGS}
    cfg = {
        "seed": seed,
        "held_out_share": held_out_share,
        "examples": [0, count],
        "task": {
            "family": "custom" if file else about.family,
            "options": about.options | options,
            "shots": asked["shots"],
        },
    }
    prompts = pd.DataFrame(sources.rows(task, cfg, file))
    settings = {"metric": METRIC, "accuracy": asked["accuracy"], "correct_only": False, "count": "used", "quota": None}
    reader = reading.reader(folder, asked["bos"] or "auto", asked["chat"])
    return stage_examples.draw(model, reader, prompts, settings, TOKENS, LOG)


def score(model, examples, method="eap-ig", metric=METRIC, steps=5):
    """How much each component matters on each example.

    method:  a name in methods.registry.METHODS, such as eap-ig, gim, or patching (exact, and slower)
    steps:   of ig, eap-ig and eap-ig-absolute
    returns: a DataFrame [example, component], in units of the metric: the (estimated) change of the metric
             if the component alone were as on the corrupt prompt
    """
    one_of("method", method, METHODS)
    one_of("metric", metric, metrics.UNITS)
    between("steps", steps, 1, 1000)
    used = examples[examples["used"]].reset_index(drop=True)
    cfg = {"metric": metric, "steps": steps}
    found = stage_scores.scores(model, used, method, cfg, TOKENS, LOG)
    values, numbers, names = sharing.matrix(found)
    return pd.DataFrame(values, index=pd.Index(numbers, name="example"), columns=names)


def edges(model, examples, metric=METRIC, steps=5):
    """How much each edge matters: EAP-IG from every component to every one that reads what it writes (steps=0: EAP).

    returns: a DataFrame of the train split, strongest first: writer, reader (a5.h1.q, .k or .v, m3 or logits), score (mean over the
             examples, signed), its standard error, and score_absolute
    raises:  ValueError for a model whose stream is no sum of what components write
    """
    one_of("metric", metric, metrics.UNITS)
    between("steps", steps, 0, 1000)
    train = examples[examples["used"] & (examples["split"] == "train")].reset_index(drop=True)
    found = edge_means.mean_edges(model, train, metric, steps, TOKENS)
    return found.sort_values("score", key=abs, ascending=False, ignore_index=True)


def edge_circuit(model, examples, kept, metric=METRIC):
    """What a circuit of edges keeps on held-out examples: every edge that is not kept sees its writer's corrupt value.

    kept:    a DataFrame with the columns writer and reader, such as the first rows of `edges`
    returns: faithfulness: 0 with no edge kept, 1 the intact model
    """
    test = examples[examples["used"] & (examples["split"] == "held_out")].reset_index(drop=True)
    runs = stage_curves.Runs(model, test, metric, TOKENS)
    writers, readers = model.space.names, places.reader_names(model.space)
    for name, column, known in (("writer", kept["writer"], writers), ("reader", kept["reader"], readers)):
        for value in column.unique():
            one_of(name, value, known)
    mask = np.zeros((len(writers), len(readers)), dtype=bool)
    mask[[writers.index(name) for name in kept["writer"]], [readers.index(name) for name in kept["reader"]]] = True
    there = edge_circuits.exist(model)
    metrics = runs.edges([("kept", None, 0, mask[there])])[0]
    return float(testing.faithfulness_of(metrics, runs.corrupt.to_numpy(), runs.clean.to_numpy(), axis=0))


def positions(model, examples, metric=METRIC, steps=5):
    """How much each component matters at each named word, at the end, and at the rest, by integrated gradients.

    returns: a DataFrame [example, (component, role)] of all used examples; roles are those of the task's prompts
    """
    one_of("metric", metric, metrics.UNITS)
    used = examples[examples["used"]].reset_index(drop=True)
    values, names = fine_scores.of_positions(model, used, metric, steps, TOKENS)
    columns = pd.MultiIndex.from_tuples(names, names=["component", "role"])
    return pd.DataFrame(values, index=pd.Index(used["example"], name="example"), columns=columns)


def circuit(scores, examples, top_k=8, threshold=0.75, kinds=("head",)):
    """The components that many example circuits of the train split share.

    top_k:     components of an example's circuit: a number, or a share below 1
    threshold: share of the train examples whose circuit must hold a component
    returns:   (names, reuse): reuse is their number as a share of an example circuit's size, at most 1
    """
    between("threshold", threshold, 0, 1)
    for kind in kinds:
        one_of("kinds", kind, components.KINDS)
    train = examples[examples["used"] & (examples["split"] == "train")]["example"]
    rows = scores.loc[scores.index.isin(train)]
    values, names = sharing.select(rows.to_numpy(float), list(scores.columns), kinds)
    k = circuits.resolve_k(top_k, len(names))
    member = circuits.top_k(values, k)
    return circuits.shared_names(member, names, threshold), circuits.reuse(member, threshold, k)


def random_circuits(circuit, universe, kinds, count, name):
    """Disjoint random circuits of a circuit's composition (none where too few components are left), any, and those of its layers."""
    try:
        alone = circuits.controls(circuit, universe, kinds, count, name)
    except circuits.PoolTooSmall:
        alone = []
    drawn = circuits.random_sets(circuits.composition_of(circuit), universe, count, name)
    # The circuit itself is no control of itself.
    drawn = [names for names in drawn if set(names) != set(circuit)]
    return alone, drawn, circuits.layer_matched_sets(circuit, universe, count, name)


def ablate(model, examples, circuit, controls=100, replacement="corrupt", kinds=None, accuracy="top1", seed=0):
    """What removing a circuit does on held-out examples, beside size-matched random circuits.

    controls:    how many random sets for each rank, and disjoint ones of the same composition for the difference
    replacement: what removed components become: corrupt, mean, zero or resample
    kinds:       what counts as removable (head, mlp): those in the circuit without it.  `faithfulness` leaves all else
                 as it is: of a circuit of heads, every MLP
    accuracy:    top1, or preferred for tasks with several right answers (greater_than)
    returns:     a Series: metric, effect with its 95 % interval, the mean effect of disjoint controls (NaN
                 where the model has too few other components), p_value (one-sided rank: does it hurt more than random sets with
                 as many heads and MLPs in each layer, which may overlap with it? NaN where there is no such set) and n_random,
                 their number, p_uniform (the same among sets from any layer), accuracy before and after, the faithfulness of the circuit
                 alone (0 all removed, 1 the intact model), n_examples, and the number of their clusters, over which the interval is taken
    raises:      ValueError for an empty circuit or unknown components
    """
    one_of("replacement", replacement, REPLACEMENTS)
    one_of("accuracy", accuracy, SETTINGS["accuracy"])
    kinds = kinds or sorted({components.kind(name) for name in circuit})
    train, test = (examples[examples["used"] & (examples["split"] == split)] for split in ("train", "held_out"))
    universe = model.space.of_kinds(kinds)
    if not circuit or set(circuit) - set(universe):
        unknown = ", ".join(sorted(set(circuit) - set(universe)))
        raise ValueError(
            f"a circuit of {' and '.join(kinds)} of this model is needed; not among them: {unknown or 'nothing was given'}"
        )
    name = f"api {seed}"
    alone, drawn, layered = random_circuits(circuit, universe, kinds, controls, name)
    run = effects.Evaluator(model, test, train, replacement, METRIC, universe, accuracy, TOKENS, seed)

    def result(direction, sets):
        """Metric and correctness [set, example]."""
        frame = run(effects.Intervention("circuit", direction, list(enumerate(sets))))
        shape = len(sets), len(test)
        return frame["metric"].to_numpy().reshape(shape), frame["correct"].to_numpy().reshape(shape)

    intact, right = result("none", [[]])
    removed, wrong = result("remove", [list(circuit), *alone, *drawn, *layered])
    kept, _ = result("keep", [list(circuit), []])
    change = removed - intact
    low, high = mean_interval(change[0], 2000, circuits.generator(name, "interval"), clusters=test["cluster"])
    uniform, matched = np.split(change[1 + len(alone) :].mean(axis=1), [len(drawn)])
    floor = kept[1].mean()
    return pd.Series(
        {
            "metric": intact.mean(),
            "effect": change[0].mean(),
            "effect_low": low,
            "effect_high": high,
            "effect_control": change[1 : 1 + len(alone)].mean() if alone else np.nan,
            "p_value": rank_p(change[0].mean(), matched, larger=False) if len(matched) else np.nan,
            "n_random": len(matched),
            "p_uniform": rank_p(change[0].mean(), uniform, larger=False),
            "accuracy": right.mean(),
            "accuracy_circuit": wrong[0].mean(),
            "faithfulness": (kept[0].mean() - floor) / (intact.mean() - floor),
            "n_examples": len(test),
            "n_clusters": test["cluster"].nunique(),
        }
    )


def prune(model, examples, threshold=0.2, strategy="backward_first", replacement="mean", seed=0):
    """Take components out one by one while the metric stays near the full model's, on the train split.

    threshold: how far from the full model's metric a circuit may be, as a share of it
    strategy:  backward_first, forward_first, ... (sequences.pruning.STRATEGIES that need no scores), or random
    returns:   (names, trace): the circuit, and a DataFrame of what was tried and what it scored (1: the full model)
    """
    one_of("replacement", replacement, ("corrupt", "mean", "zero"))
    between("threshold", threshold, 0, 1)
    train = examples[examples["used"] & (examples["split"] == "train")].reset_index(drop=True)
    names = model.space.of_kinds(("head", "mlp"))
    evaluate = evaluator.CircuitEvaluator(model, train, train, replacement, METRIC, TOKENS)
    pruning_run = pruning.PruningRun(strategy, pruning.Limit(threshold), np.ones(len(train)), order=0)
    order, first = pruning.passes(strategy, names, {}, ("api", seed)), ()
    if pruning.wanted_cut("auto", names):
        means = score(model, examples, "atp").loc[train["example"]].mean()
        first = next(pruning.passes("attribution", names, means.to_dict(), ()))
    evaluator.run([pruning_run], [pruning.steps(pruning_run, order, evaluate.full, not first, first)], evaluate, LOG)
    trace = pd.DataFrame(pruning_run.trace, columns=["pass", "step", "component", "score"])
    return [name for name in names if name not in pruning_run.removed], trace


def compare(model, first, second):
    """How alike two circuits of a model are, and how alike they would be by chance.

    first, second: lists of names, or {name: score}, best first
    returns:       a Series: n_shared, jaccard, jaccard_null, beyond_chance, p_overlap, and more (similarity.compare)
    """
    both = [
        Circuit(dict(each) if isinstance(each, dict) else dict.fromkeys(each), ranked=isinstance(each, dict))
        for each in (first, second)
    ]
    values, bounds = similarity.compare(*both, model.space)
    return pd.Series(
        values | {f"{name}_{end}": b[i] for name, b in bounds.items() for i, end in enumerate(("low", "high"))}
    )
