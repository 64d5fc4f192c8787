"""The stage that evaluates the nodes of one circuit: interchange, sweeps, relaxation, variance."""

import numpy as np
import pandas as pd
import torch

from circuit_reuse.engine import models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.weights import matrices, nodes, outcomes, random_masks, schemas, stage_masks, weight_sets

OWN, REPLACED, UNPRUNED = nodes.OWN, nodes.REPLACED, nodes.UNPRUNED


def run(job):
    """All evaluations of nodes."""
    cfg = job.cfg
    model = models.of_job(job)
    prepared = stage_masks.MaskedTask(model, job)
    active, mask = stage_masks.read_chosen(job, model)

    def draws(*names):
        return circuits.generator(cfg["seed"], job.wildcards.model, job.wildcards.task, mask, *names)

    layer = np.concatenate([np.full(site.width, site.layer) for site in nodes.sites(model)])
    plan = [*fixed(active), *interchanges(active, layer, cfg, draws), *sweeps(active, cfg, draws)]
    unpruned = [nodes.values(model, batch.clean) for batch in prepared.testing]
    states = torch.tensor(np.stack([each[-1] for each in plan]), device=model.device)
    result = prepared.runs(states, prepared.testing, unpruned)
    rows = rows_of(plan, result, mask, prepared.held_out)
    job.write(job.output.runs, schemas.NODE_RUNS, rows)
    random = of_random_masks(prepared, active, cfg["random_circuits"], draws)
    job.write(job.output.random, schemas.NODE_RANDOM, random)
    job.write(job.output.fvu, schemas.FVU, unexplained(prepared, active))
    found = importance(prepared, active, cfg["steps"], cfg["exact"], draws)
    job.write(job.output.importance, schemas.NODE_IMPORTANCE, found)
    job.log.info("%d runs of nodes, %d random masks", len(plan), len(random))


def state(own, put_in=None):
    """States of all nodes: OWN where `own`, UNPRUNED where `put_in`, else REPLACED."""
    found = np.where(own, OWN, REPLACED).astype(np.uint8)
    if put_in is not None:
        found[put_in] = UNPRUNED
    return found


def fixed(active):
    """What needs no draw: [(condition, layer, trial, share, count, states)]."""
    every, none = np.ones_like(active), np.zeros_like(active)
    return [
        ("clean", None, 0, 0.0, 0, state(every)),
        ("sufficiency", None, 0, 1.0, int((~active).sum()), state(active)),
        ("necessity", None, 0, 1.0, int(active.sum()), state(~active)),
        ("none", None, 0, 1.0, len(active), state(none)),
    ]


def interchanges(active, layer, cfg, draws):
    """In the pruned run, shares of the active nodes unpruned: of all layers, and of each.

    A draw belongs to a trial, not to a batch, and larger shares hold the smaller ones.
    """
    for where in (None, *range(int(layer.max()) + 1)):
        pool = np.flatnonzero(active if where is None else active & (layer == where))
        for trial in range(cfg["node_trials"]):
            order = draws("interchange", where, trial).permutation(pool)
            for share in cfg["fractions"]:
                chosen = weight_sets.removed(order, share)
                yield "interchange", where, trial, share, len(chosen), state(active, chosen)


def sweeps(active, cfg, draws):
    """Nodes replaced in the unpruned run, and masked nodes left on in the pruned one."""
    size, shares = int(active.sum()), weight_sets.shares(cfg["points"])
    places = {
        "nodes_circuit": np.flatnonzero(active),
        "nodes_all": np.arange(len(active)),
        "nodes_outside": np.flatnonzero(~active),
        "relaxation": np.flatnonzero(~active),
    }
    for condition, pool in places.items():
        for trial in range(cfg["trials"]):
            order = draws(condition, trial).permutation(pool)
            if condition != "relaxation":
                # As many as the circuit has; outside it there may be fewer, and then the curve ends there.
                order = order[:size]
            for share in shares:
                chosen = weight_sets.removed(order, share)
                own = active.copy() if condition == "relaxation" else np.ones_like(active)
                own[chosen] = condition == "relaxation"
                reported = share if condition == "relaxation" else len(chosen) / size
                yield condition, None, trial, float(reported), len(chosen), state(own)


def rows_of(plan, result, mask, examples):
    """Rows of the node runs as a frame."""
    condition, layer, trial, share, counts, _ = zip(*plan, strict=True)
    layers = pd.array(layer, dtype="Int32")
    return result.frame(
        examples, mask=mask, condition=condition, layer=layers, trial=trial, share=share, n_removed=counts
    )


def of_random_masks(prepared, active, count, draws):
    """Loss of random masks with as many active nodes of each site and degree, in both directions."""
    found, values = matrices.matrices(prepared.model), matrices.flat(prepared.model)
    degrees = matrices.degrees(found, values, len(active))
    stratum = random_masks.strata([site.part for site in nodes.sites(prepared.model)], degrees)
    drawn = [random_masks.random_mask(active, stratum, draws("nodes", number)) for number in range(count)]
    states = [state(own) for mask in drawn for own in (mask, ~mask)]
    loss = prepared.runs(torch.tensor(np.stack(states)), prepared.testing).loss.mean(1).reshape(-1, 2)
    return [
        {"number": number, "sufficiency": float(kept), "necessity": float(gone)}
        for number, (kept, gone) in enumerate(loss)
    ]


def unexplained(prepared, active):
    """Variance of the active nodes that the pruned run does not explain; see schemas.FVU.

    Each node's squared difference is divided by its own variance, over all positions and examples (or
    the last position), then nodes are averaged; nodes that do not vary are left out.  What the first
    layer's attention reads is the embedding in both runs, so it is left out of sums over locations.
    """
    model, listed = prepared.model, nodes.sites(prepared.model)
    states = torch.tensor(state(active), device=model.device)
    sums, last = 0, 0
    for batch in prepared.testing:
        full = nodes.values(model, batch.clean, whole=True)
        pruned = nodes.values(model, batch.clean, states, prepared.replacement, whole=True)
        full, pruned = (torch.cat(found, -1).double() for found in (full, pruned))
        sums = sums + moments(full, pruned)
        last = last + moments(full[:, -1:], pruned[:, -1:])
    every, final = (parts(found.cpu().numpy()) for found in (sums, last))
    rows = []
    for site in listed:
        where = np.zeros_like(active)
        where[site.part] = True
        rows.append(fvu_row(every, final, active & where, site.layer, site.location))
    later = active.copy()
    later[listed[0].part] = False
    layers = np.concatenate([np.full(site.width, site.layer) for site in listed])
    for layer in (None, *range(model.space.layers)):
        chosen = later if layer is None else later & (layers == layer)
        rows.append(fvu_row(every, final, chosen, layer, None))
    return rows


def moments(full, pruned):
    """Sums over positions and examples: squared difference, value, its square, number, [4, node]."""
    parts = ((full - pruned).square(), full, full.square(), torch.ones_like(full))
    return torch.stack([part.sum((0, 1)) for part in parts])


def parts(sums):
    """Squared differences and variances of the nodes, as sums, from `moments`."""
    error, total, squares, count = sums
    variance = squares - total**2 / count
    # What is left of a constant by rounding is no variance.
    variance[variance <= 1e-9 * squares] = 0
    return error, variance


def fvu_row(every, final, chosen, layer, location):
    """A row of the table.  every, final: (squared differences, variances), all and last positions."""
    (error, variance), (error_last, variance_last) = every, final
    varies, varies_last = chosen & (variance > 0), chosen & (variance_last > 0)
    known = bool(varies.any())
    return {
        "layer": layer,
        "location": location,
        "n_nodes": int(chosen.sum()),
        "fvu": float((error[varies] / variance[varies]).mean()) if known else None,
        "pooled": float(error[varies].sum() / variance[varies].sum()) if known else None,
        "fvu_last": float((error_last[varies_last] / variance_last[varies_last]).mean()) if varies_last.any() else None,
    }


def importance(prepared, active, steps, most, draws):
    """What replacing each active node alone adds to the loss of the pruned run, held out.

    By integrated gradients along the line on which all active nodes go from replaced to kept together
    (Sundararajan et al. 2017), and exactly, one run a node: of more nodes than `most`, half so many of
    the largest attribution and half drawn from the others.
    """
    gains = integrated(prepared, active, steps)
    places = np.flatnonzero(active)
    exact = places
    if len(places) > most:
        order = places[np.argsort(-np.abs(gains[places]), kind="stable")]
        first = most // 2
        drawn = draws("importance").permutation(order[first:])[: most - first]
        exact = np.sort(np.concatenate([order[:first], drawn]))
    states = np.stack([state(active), *(state(active) for _ in exact)])
    states[np.arange(len(exact)) + 1, exact] = REPLACED
    loss = prepared.runs(torch.tensor(states), prepared.testing).loss.mean(1)
    alone = dict(zip(exact.tolist(), (loss[1:] - loss[0]).tolist(), strict=True))
    names = nodes.names(prepared.model)
    rows = []
    for place in places.tolist():
        layer, location, _ = names[place].split(".")
        rows.append(
            {
                "node": names[place],
                "layer": int(layer),
                "location": location,
                "importance": alone.get(place),
                "attribution": float(gains[place]),
            }
        )
    return rows


def integrated(prepared, active, steps):
    """Loss that each node saves, by the midpoint rule, [node]; they sum to what all save."""
    full = torch.tensor(active, dtype=torch.float32, device=prepared.model.device)
    total, count = torch.zeros_like(full), 0
    for batch in prepared.testing:
        for step in range(steps):
            mask = (full * (step + 0.5) / steps)[None].requires_grad_()
            last = nodes.masked(prepared.model, batch.clean, mask, prepared.replacement)
            loss = outcomes.losses(last, batch.answer, batch.distractor, prepared.asked.loss).sum()
            total -= torch.autograd.grad(loss, mask)[0][0] * full / steps
        count += len(batch.rows)
    return (total / count).cpu().numpy()
