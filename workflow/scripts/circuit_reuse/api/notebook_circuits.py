"""Shared circuits, what removing them does, pruning and comparison, for a notebook."""

import logging
import warnings

import numpy as np
import pandas as pd

from circuit_reuse.api.boundary import (
    CONTROLS,
    METRIC,
    SEED,
    TOKENS,
    between,
    kinds_of,
    names_of,
    one_of,
    scores_of,
    size,
    used_of,
)
from circuit_reuse.api.notebook_scores import score
from circuit_reuse.config.checks import SETTINGS
from circuit_reuse.data import components
from circuit_reuse.data.circuit_files import Circuit
from circuit_reuse.engine import effects
from circuit_reuse.engine.replacements import REPLACEMENTS
from circuit_reuse.stats import circuits, clusters, sharing, similarity
from circuit_reuse.stats.statistics import mean_interval, rank_p
from circuit_reuse.studies.sequences import evaluator, pruning

LOG = logging.getLogger(__name__)
# Strategies of pruning that need no scores.
STRATEGIES = (*pruning.SINGLE, *pruning.ALTERNATING, "random")


def circuit(scores, examples, top_k=8, threshold=0.75, kinds=("head",)):
    """The components that many example circuits of the train split share.

    top_k:     components of an example's circuit: a number, or a share below 1
    threshold: share of the train examples whose circuit must hold a component
    kinds:     head, mlp, or both
    returns:   (names, reuse): reuse is their number as a share of an example circuit's size, at most 1
    raises:    ValueError for a number or a name that is not allowed, if no train example can be used, or if the scores lack one that can
    """
    threshold = between("threshold", threshold, 0, 1)
    rows = scores_of(scores, used_of(examples, "train"))
    values, names = sharing.select(rows.to_numpy(float), list(scores.columns), kinds_of(kinds))
    k = components.resolve_k(size("top_k", top_k, len(names)), len(names))
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

    circuit:     names, or what `circuit` returns
    controls:    how many random sets for each rank, and disjoint ones of the same composition
    replacement: what removed components become: corrupt (their output on the corrupt prompt), mean (over the corrupt prompts of the train
                 split of the same length), zero, or resample (another prompt's)
    kinds:       what counts as removable (head, mlp): those in the circuit without it.  `faithfulness` leaves all else
                 as it is: of a circuit of heads, every MLP
    accuracy:    top1, or preferred for tasks with several right answers (greater_than)
    returns:     a Series; `result.attrs["random"]` has the mean effect of each random set of the same layers, for `plot`:
                 metric, effect with its 95 % interval;
                 effect_random, the mean over random sets with as many heads and MLPs in each layer, with what 95 % of them lie in, difference_random
                 (effect less that, by example) with its interval, p_value (one-sided rank among these sets, which may overlap with the circuit: does it
                 hurt more?) and n_random, their number (NaN and 0 where the circuit fills its layers);
                 p_uniform, the rank among sets from any layer; effect_control, the mean over n_controls disjoint sets from any layer;
                 accuracy, and accuracy_circuit without the circuit; faithfulness of the circuit alone (0 all removed, 1 the intact model; more if
                 what works against the task is gone); n_examples, and n_clusters, over which intervals are taken (none with fewer than 6)
    raises:      ValueError for an empty circuit, unknown components or one that is listed twice, or if no held-out example can be used
    """
    one_of("replacement", replacement, REPLACEMENTS)
    one_of("accuracy", accuracy, SETTINGS["accuracy"])
    controls, seed = between("controls", controls, *CONTROLS, whole=True), between("seed", seed, *SEED, whole=True)
    names = names_of(circuit, model.space)
    kinds = kinds_of(kinds or sorted({components.kind(name) for name in names}))
    names_of(names, model.space, kinds)
    train, test = used_of(examples, "train", model), used_of(examples, "held_out", model)
    universe, stream = model.space.of_kinds(kinds), f"api {seed}"
    alone, drawn, layered = random_circuits(names, universe, kinds, controls, stream)
    run = effects.Evaluator(model, test, train, replacement, METRIC, universe, accuracy, TOKENS, seed)

    def result(direction, sets):
        """Metric and correctness [set, example]."""
        frame = run(effects.Intervention("circuit", direction, list(enumerate(sets))))
        shape = len(sets), len(test)
        return frame["metric"].to_numpy().reshape(shape), frame["correct"].to_numpy().reshape(shape)

    intact, right = result("none", [[]])
    removed, wrong = result("remove", [names, *alone, *drawn, *layered])
    kept, _ = result("keep", [names, []])
    own, disjoint, uniform, matched = np.split(removed - intact, np.cumsum([1, len(alone), len(drawn)]))
    found = summary_of(own[0], disjoint, uniform, matched, test["cluster"], stream)
    floor = kept[1].mean()
    found = {"metric": intact.mean(), **found, "accuracy": right.mean(), "accuracy_circuit": wrong[0].mean()}
    found |= {
        # Undefined where the model is no better than with everything removed.
        "faithfulness": (kept[0].mean() - floor) / (intact.mean() - floor) if intact.mean() > floor else float("nan"),
        "n_examples": len(test),
        "n_clusters": test["cluster"].nunique(),
    }
    if found["n_clusters"] < min(clusters.FEWEST, len(test)):
        text = f"the held-out examples fall into {found['n_clusters']} clusters; with fewer than {clusters.FEWEST} there are no intervals"
        warnings.warn(text, stacklevel=2)
    table = pd.Series(found, name="result")
    table.attrs["random"] = matched.mean(axis=1)
    return table


def summary_of(own, disjoint, uniform, matched, cluster, stream):
    """Effects with their intervals and ranks.

    own: [example], changes by the circuit;  disjoint, uniform, matched: [set, example], by random sets
    """

    def interval(values, what):
        return mean_interval(values, 2000, circuits.generator(stream, what), clusters=cluster)

    effect, (low, high) = own.mean(), interval(own, "interval")
    found = {"effect": effect, "effect_low": low, "effect_high": high}
    names = (
        "effect_random",
        "effect_random_low",
        "effect_random_high",
        "difference_random",
        "difference_random_low",
        "difference_random_high",
    )
    found |= dict.fromkeys((*names, "p_value"), np.nan)
    if len(matched):
        ends = np.percentile(matched.mean(axis=1), [2.5, 97.5])
        beyond = own - matched.mean(axis=0)
        values = (matched.mean(), *ends, beyond.mean(), *interval(beyond, "difference"))
        found |= dict(zip(names, values, strict=True)) | {"p_value": rank_p(effect, matched.mean(axis=1), larger=False)}
    found |= {"n_random": len(matched)}
    found |= {"p_uniform": rank_p(effect, uniform.mean(axis=1), larger=False) if len(uniform) else np.nan}
    return found | {"effect_control": disjoint.mean() if len(disjoint) else np.nan, "n_controls": len(disjoint)}


def plot(result, ax=None):
    """Draw what `ablate` found: the effect with its interval, among the random sets of the same layers.

    returns: the matplotlib axes
    raises:  ValueError for another result
    """
    from matplotlib import pyplot

    from circuit_reuse.report import palette

    if "effect_low" not in result:
        raise ValueError("result has no effect; it must be what `ablate` returns")
    ax = ax or pyplot.subplots(figsize=(3.4, 2.5), layout="constrained")[1]
    random = result.attrs.get("random", ())
    if len(random):
        label = f"{len(random)} random circuits of its layers"
        ax.hist(random, bins="auto", color=palette.BLUE, alpha=0.7, label=label)
    ax.axvspan(result["effect_low"], result["effect_high"], color=palette.VERMILION, alpha=0.2, linewidth=0)
    ax.axvline(0, color="0.6", linewidth=0.8)
    ax.axvline(result["effect"], color=palette.VERMILION, label="circuit, 95 % interval")
    ax.set(xlabel="change in metric (logits)", ylabel="random circuits", title=title_of(result))
    # Below the axis, as bars may stand anywhere.
    ax.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.3))
    return ax


def title_of(result):
    """The p and the numbers of prompts and of clusters, over which the interval is."""
    prompts = f"{result['n_examples']:.0f} prompts in {result['n_clusters']:.0f} clusters"
    return f"p = {result['p_value']:.2g}; {prompts}" if np.isfinite(result["p_value"]) else prompts


def prune(model, examples, threshold=0.2, strategy="backward_first", replacement="mean", seed=0, score_by=METRIC):
    """Take components out one by one while the metric stays near the full model's, on the train split.

    threshold: how far from the full model's metric a circuit may be, as a share of it
    strategy:  backward, forward, backward_first, forward_first, or random: the order in which components are tried
    score_by:  what the score is a share of: logit_difference, probability_difference, or kl (1 - KL / KL of the empty circuit)
    returns:   (names, trace): the circuit, heads and MLPs, and a DataFrame of what was tried and what it scored (1: the full model)
    """
    one_of("replacement", replacement, ("corrupt", "mean", "zero"))
    one_of("strategy", strategy, STRATEGIES)
    one_of("score_by", score_by, ("logit_difference", "probability_difference", "kl"))
    threshold, seed = between("threshold", threshold, 0, 1), between("seed", seed, *SEED, whole=True)
    train = used_of(examples, "train", model)
    names = model.space.of_kinds(("head", "mlp"))
    evaluate = evaluator.CircuitEvaluator(model, train, train, replacement, score_by, TOKENS)
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

    first, second: lists of names, {name: score} with the best first, or what `circuit` returns
    returns:       a Series: n_shared, jaccard, jaccard_null, beyond_chance, p_overlap, and more (similarity.compare)
    """
    both = []
    for each in (first, second):
        names = names_of(each, model.space, ("input", *components.KINDS))
        both.append(
            Circuit(dict(each) if isinstance(each, dict) else dict.fromkeys(names), ranked=isinstance(each, dict))
        )
    values, bounds = similarity.compare(*both, model.space)
    return pd.Series(
        values | {f"{name}_{end}": b[i] for name, b in bounds.items() for i, end in enumerate(("low", "high"))}
    )
