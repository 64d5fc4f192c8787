"""The stage that removes weights of one circuit and of its controls."""

import numpy as np
import pandas as pd

from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import batching, models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.weights import matrices, nodes, random_masks, schemas, stage_masks, sweep, weight_sets

BINS = 40


def run(job):
    """The sweep, its random circuits, the circuit's edges and sizes."""
    cfg = job.cfg
    model = models.of_job(job)
    prepared = stage_masks.MaskedTask(model, job)
    active, mask = stage_masks.read_chosen(job, model)
    found, values = matrices.matrices(model), matrices.flat(model)
    weights = sweep.circuit(values, found, active)
    check(weights, job.wildcards)
    # Before there are plans and gains: it takes a copy of all weights.
    bins = size_bins(values)

    def draws(*names):
        return circuits.generator(cfg["seed"], job.wildcards.model, job.wildcards.task, mask, *names)

    sweeper = sweep.Sweeper(model, values, prepared.testing, prepared.asked, job.compute["batch_tokens"])
    # First-order gains from the train split: the orders must not know the held-out examples.
    gains = matrices.gradients(model, prepared.fitting, prepared.asked.loss)
    gains *= values
    np.negative(gains, out=gains)
    plan, levels, wholes = sweep.planned(
        weights,
        cfg["controls"],
        weight_sets.shares(cfg["points"]),
        cfg["trials"],
        draws,
        cfg["quantiles"],
        cfg["pool_too_small"] == "widen",
    )
    plan += sweep.by_importance(weights, gains, weight_sets.shares(cfg["points"]))
    job.write(job.output.edges, schemas.WEIGHT_EDGES, edges(weights, found, gains, nodes.names(model), mask))
    del gains
    batching.release_memory()
    plan.append(("all_non_circuit", 0, 1.0, weights.outside()))
    plan.append(("all_weights", 0, 1.0, values != 0))
    sites = [site.part for site in nodes.sites(model)]
    busiest = random_masks.most_active(active, sites, prepared.activity.cpu().numpy())
    plan += of_busiest(sweep.circuit(values, found, busiest), cfg, draws)
    result = sweeper([numbers for *_, numbers in plan])
    rows = rows_of(plan, result, mask, prepared.held_out)
    job.write(job.output.sweep, schemas.SWEEP, rows)
    job.write(job.output.matches, schemas.MATCHES, matches(wholes, levels, weights))
    job.write(job.output.sizes, schemas.SIZES, sizes(wholes, weights, found, bins))
    count = len(plan)
    # The sets of a large model's circuit and controls take as much memory as a copy of the model.
    del plan, wholes, rows, result
    batching.release_memory()

    others = sweep.random_circuits(values, found, active, sites, cfg["random_circuits"], draws)
    random = of_random(sweeper, others, cfg, draws, job.log)
    job.write(job.output.random, schemas.RANDOM_SWEEP, random)
    job.log.info(
        "%d weights of %d; %d sets of the sweep, %d of random circuits",
        len(weights.inside()),
        int((values != 0).sum()),
        count,
        len(random),
    )


def of_random(sweeper, others, cfg, draws, log):
    """The sweep of random circuits; raises LeftOut if none leaves room for its controls."""
    shares = weight_sets.shares(cfg["points"])[:: cfg["every"]]
    found = sweep.sweep_random(
        sweeper, others, cfg["controls"], shares, cfg["random_trials"], draws, cfg["quantiles"], log
    )
    if not found:
        raise LeftOut("no random mask leaves enough weights outside it for the controls; a smaller circuit leaves more")
    return found


def of_busiest(weights, cfg, draws):
    """The sweep of the mask of the most active nodes, under names of its own."""
    if not len(weights.inside()):
        return []
    rows, _, _ = sweep.planned(
        weights,
        [cfg["matched"]],
        weight_sets.shares(cfg["points"]),
        cfg["trials"],
        lambda *names: draws("active", *names),
        cfg["quantiles"],
        True,
    )
    named = {"circuit": "active", cfg["matched"]: "active_matched"}
    return [(named[condition], *more) for condition, *more in rows]


def check(weights, wildcards):
    """A circuit without weights has nothing to remove.

    raises: LeftOut
    """
    if not len(weights.inside()):
        raise LeftOut(
            f"the circuit of {wildcards.task} in {wildcards.model} joins no two active nodes, so it "
            "has no weights; lower weights.masks.target or weights.masks.coefficients"
        )


def rows_of(plan, result, mask, examples):
    """Rows of the sweep table as a frame."""
    condition, trial, share, numbers = zip(*plan, strict=True)
    counts = [weight_sets.count(each) for each in numbers]
    return result.frame(examples, mask=mask, condition=condition, trial=trial, share=share, n_removed=counts)


def matches(wholes, levels, weights):
    """Rows of the matches table: how like the circuit's weights each control's are."""
    rows = []
    # Trials differ in the order of the circuit's weights alone.
    own = by_matrix(weights, wholes["circuit"][0])
    together = np.sort(np.concatenate(own))
    for control in levels:
        distances, worst, powers = [], [], []
        for numbers in wholes[control]:
            other = by_matrix(weights, numbers)
            others = np.sort(np.concatenate(other))
            distances.append(distance(together, others))
            powers.append(float(np.square(others, dtype=float).sum() / np.square(together, dtype=float).sum()))
            both = [distance(*pair) for pair in zip(own, other, strict=True) if all(map(len, pair))]
            worst.append(max(both, default=1.0))
        total = sum(levels[control].values())
        shares = {f"from_{step}": levels[control].get(step, 0) / total for step in (*weight_sets.WIDEN, "nearest")}
        means = {"distance": distances, "worst_distance": worst, "power": powers}
        rows.append({"control": control, **{k: float(np.mean(v)) for k, v in means.items()}, **shares})
    return rows


def by_matrix(weights, numbers):
    """Sizes |w| of the weights of a set in each matrix, a list of rising arrays."""
    numbers = np.sort(numbers)
    sizes = np.abs(weights.values[numbers])
    return [np.sort(part) for part in np.split(sizes, np.searchsorted(numbers, weights.starts[1:-1]))]


def distance(first, second):
    """Kolmogorov and Smirnov's: the largest difference of two distribution functions.  first, second: rising, not empty"""

    def above(one, other):
        # F(one) - F(other) is largest at a value of one, at the last of equal ones.
        ranks = np.arange(1, len(one) + 1) / len(one)
        return (ranks - np.searchsorted(other, one, side="right") / len(other)).max()

    return float(max(above(first, second), above(second, first)))


def size_bins(values):
    """Edges of BINS bins of |w|, from 0 to the largest, of equal ratios above the smallest thousandth of the nonzero weights."""
    every = values[values != 0]
    np.abs(every, out=every)
    most = every.max()
    least = np.quantile(every, 0.001, overwrite_input=True)
    edges = np.geomspace(max(least, 1e-9), most, BINS + 1)
    edges[0] = 0.0
    return edges


def sizes(wholes, weights, found, edges):
    """Rows of the sizes table: histograms of |w| in the first trial.  edges: of the bins, common to all"""
    rows = []
    for condition, drawn in wholes.items():
        for each, mine in zip(found, by_matrix(weights, drawn[0]), strict=True):
            for bin_, count in enumerate(np.histogram(mine, edges)[0]):
                if count:
                    rows.append(
                        {
                            "condition": condition,
                            "matrix": f"{each.layer}.{each.name}",
                            "size_from": float(edges[bin_]),
                            "size_to": float(edges[bin_ + 1]),
                            "n_weights": int(count),
                        }
                    )
    return rows


def edges(weights, found, gains, names, mask):
    """The circuit's weights one by one, as a frame in the order of the table."""
    numbers = weights.inside()
    place = weights.groups(numbers, "matrix")
    source, target, at = (np.empty(len(numbers), dtype=np.int32) for _ in range(3))
    rows = np.empty(len(numbers), dtype=np.int32)
    for matrix, each in enumerate(found):
        mine = slice(*np.searchsorted(place, [matrix, matrix + 1]))
        rows[mine], at[mine] = np.divmod(numbers[mine] - each.start, each.shape[1])
        source[mine], target[mine] = each.inputs[at[mine]], each.outputs[rows[mine]]
    # Names as categories: there are millions of weights, and each name stands many times.
    kinds = [each.name for each in found]
    known = list(dict.fromkeys(kinds))
    nodes_of = pd.CategoricalDtype(names)
    return pd.DataFrame(
        {
            "mask": pd.Categorical.from_codes(np.zeros(len(numbers), dtype=np.int8), [mask]),
            "layer": np.array([each.layer for each in found])[place],
            "matrix": pd.Categorical.from_codes(np.array([known.index(name) for name in kinds])[place], known),
            "row": rows,
            "column": at,
            "writer": pd.Categorical.from_codes(source, dtype=nodes_of),
            "reader": pd.Categorical.from_codes(target, dtype=nodes_of),
            "weight": weights.values[numbers],
            "importance": gains[numbers].astype(np.float32),
        }
    )
