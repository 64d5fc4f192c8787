"""The stage that learns the masks of one task, or reads a mask that the user gives."""

from functools import cached_property

import numpy as np
import torch

from circuit_reuse.data import jobs
from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import batching, models
from circuit_reuse.stats import circuits
from circuit_reuse.studies.weights import mask_files, masks, matrices, nodes, outcomes, schemas, tau_files, weight_sets

# Of the train examples, the share on which the size of a mask is chosen, and at most so many.
CHOOSING, MOST = 0.25, 64


def learn(job):
    """Masks, their history, and how size and loss trade off."""
    cfg = job.cfg
    model = models.of_job(job)
    prepared = MaskedTask(model, job)
    kind = prepared.asked.loss
    if cfg["file"]:
        tau, active = given(job, model)
        found, history, curves = [(None, tau, torch.from_numpy(active))], [], []
        target = prepared.target()
    else:
        rng = circuits.generator(cfg["seed"], job.wildcards.model, job.wildcards.task, "masks")
        target = prepared.target()
        check_target(prepared, target, job.wildcards.task)
        settings = masks.Settings(*(cfg[key] for key in ("coefficients", "steps", "batch", "rate", "temperature")))
        tau, history = masks.train(model, prepared.fitting, prepared.replacement, kind, settings, rng)
        found, curves = [], []
        for coefficient, row in zip(cfg["coefficients"], tau, strict=True):
            mask, curve = masks.discretise(row, prepared.losses, target)
            found.append((coefficient, row, mask))
            curves += prepared.pareto_front(coefficient, row, curve)
            job.log.info("coefficient %g: %d nodes, target loss %.3f", coefficient, int(mask.sum()), target)
    rows = [prepared.circuit(*each, target) for each in found]
    chosen = min(range(len(rows)), key=lambda place: (rows[place]["n_nodes"], rows[place]["loss"]))
    for place, row in enumerate(rows):
        row["chosen"] = place == chosen
        row["mask"] = weight_sets.mask_hash(job.model, prepared.names_of(found[place][2]))
    listed = [row for place, each in enumerate(found) for row in prepared.listed(*each, rows[place])]
    job.write(job.output.masks, schemas.MASKS, listed)
    job.write(job.output.history, schemas.HISTORY, history)
    job.write(job.output.pareto_front, schemas.PARETO_FRONT, curves)
    job.write(job.output.circuits, schemas.WEIGHT_CIRCUITS, rows)


def given(job, model):
    """(tau [node] or None, active bool [node]) of the mask that the user gives."""
    file = job.cfg["file"]
    if file.endswith(".safetensors"):
        tau, active = tau_files.of_file(file, nodes.sites(model))
        return tau, active
    return None, mask_files.read_mask(file, job.model, nodes.names(model), job.wildcards.task)


def check_target(prepared, target, task):
    """A target must ask for some nodes, and the model must reach it; known before masks are trained.

    raises: LeftOut with the numbers
    """
    everything = prepared.all_nodes()
    empty, full = prepared.losses(~everything)[0], prepared.losses(everything)[0]
    if empty <= target:
        raise LeftOut(
            f"task {task!r}: with every node replaced the loss is {empty:.3f} nats, within the target of "
            f"{target:.3f}, so no circuit is needed; use a smaller weights.masks.target, another "
            "weights.replacement, or leave the task out of weights.tasks"
        )
    if full > target:
        raise LeftOut(
            f"task {task!r}: the loss of the whole model is {full:.3f} nats, above the target of {target:.3f}, so no mask "
            "can reach it; use a larger weights.masks.target, or leave the task out of weights.tasks"
        )


def of_few_lengths(examples):
    """Examples of the commonest length first, each length in its order: every length is a run of all weights."""
    often = examples["length"].map(examples["length"].value_counts())
    order = np.lexsort([np.arange(len(examples)), examples["length"], -often])
    return examples.iloc[order]


class MaskedTask:
    """A model on the examples of one task: what masks are trained, chosen and judged on.

    cfg: replacement, loss, metric, accuracy, target, held_out
    """

    def __init__(self, model, job):
        self.model, self.cfg, self.tokens = model, job.cfg, job.compute["batch_tokens"]
        cfg = self.cfg
        self.asked = outcomes.Asked(outcomes.loss_kind(cfg["accuracy"], cfg["loss"]), cfg["metric"], cfg["accuracy"])
        # A node has one mean for all positions, so no example lacks one.
        train, held_out = jobs.splits(job.input.examples, cfg | {"replacement": "zero"}, job.wildcards.task)
        count = min(MOST, max(1, int(CHOOSING * len(train))))
        self.held_out = of_few_lengths(held_out).head(cfg["held_out"]).reset_index(drop=True)
        self.fitting, self.choosing, self.testing = (
            list(batching.batches(part.reset_index(drop=True), self.tokens, model.device))
            for part in (train.iloc[:-count], train.iloc[-count:], self.held_out)
        )
        mean, self.activity = nodes.moments(model, [batch.clean for batch in self.fitting])
        self.replacement = mean if cfg["replacement"] == "mean" else torch.zeros_like(mean)

    def runs(self, states, batches, unpruned=None):
        """Outcomes of runs with nodes in some states on batches.

        states: [copy, node], equal ones are run once;  unpruned: node values for each batch, see nodes.run
        """
        every, place = torch.unique(states, dim=0, return_inverse=True)

        def run(number, batch, items):
            put_in = unpruned and unpruned[number]
            return nodes.run(self.model, batch.clean, torch.stack(items), self.replacement, put_in)

        found = outcomes.evaluate(batches, list(every), run, self.asked, self.tokens)
        place = place.cpu().numpy()
        return outcomes.CopyOutcomes(found.loss[place], found.metric[place], found.correct[place])

    def losses(self, kept, held_out=False):
        """Mean loss of masks, a list.  kept: bool [mask, node]."""
        states = torch.where(kept, nodes.OWN, nodes.REPLACED)
        found = self.runs(states, self.testing if held_out else self.choosing)
        return found.loss.mean(1).astype(float).tolist()

    def target(self):
        """The loss that masks must reach, nats."""
        if self.cfg["target"].get("loss") is not None:
            return float(self.cfg["target"]["loss"])
        return self.losses(self.all_nodes())[0] + float(self.cfg["target"]["excess"])

    def all_nodes(self):
        """The mask that keeps everything, [1, node]."""
        return torch.ones(1, len(self.replacement), dtype=torch.bool, device=self.model.device)

    def weights_of(self, mask):
        """Which weights a mask's circuit has, bool [weight].  mask: bool [node]."""
        joins = matrices.joins(matrices.matrices(self.model), mask.cpu().numpy())
        return weight_sets.circuit_of(self.weights, joins)

    @cached_property
    def weights(self):
        """All weights in a row, [weight]."""
        return matrices.flat(self.model)

    def pareto_front(self, coefficient, tau, curve):
        """Rows of the pareto_front of one mask."""
        kept = torch.stack([masks.largest(tau, row["n_nodes"]) for row in curve])
        losses = self.losses(kept, held_out=True)
        return [
            row | {"coefficient": coefficient, "n_weights": int(self.weights_of(mask).sum()), "loss_held_out": loss}
            for row, mask, loss in zip(curve, kept, losses, strict=True)
        ]

    def circuit(self, coefficient, tau, mask, target):
        """A row of the circuits table, but for the hash and the choice."""
        both = torch.stack([mask.to(self.model.device), self.all_nodes()[0]])
        states = torch.where(both, nodes.OWN, nodes.REPLACED)
        tested, (loss, full) = self.runs(states, self.testing), self.losses(both)
        sizes = np.abs(self.weights[self.weights_of(mask)].astype(float))
        return {
            "coefficient": coefficient,
            "n_nodes": int(mask.sum()),
            "n_nodes_total": len(mask),
            "n_weights": len(sizes),
            "n_weights_total": int((self.weights != 0).sum()),
            "size_mean": float(sizes.mean()) if len(sizes) else None,
            "size_std": float(sizes.std()) if len(sizes) else None,
            "loss_target": target,
            "loss": loss,
            "loss_full": full,
            "loss_held_out": float(tested.loss[0].mean()),
            "loss_full_held_out": float(tested.loss[1].mean()),
            "accuracy_held_out": float(tested.correct[0].mean()),
            "replacement": self.cfg["replacement"],
            "loss_kind": self.asked.loss,
        }

    def names_of(self, mask):
        """Names of the nodes of a mask."""
        return [name for name, kept in zip(nodes.names(self.model), mask.tolist(), strict=True) if kept]

    def listed(self, coefficient, tau, mask, row):
        """Rows of the masks table."""
        places = [(site, channel) for site in nodes.sites(self.model) for channel in range(site.width)]
        taus = [None if t != t else t for t in tau.tolist()] if tau is not None else [None] * len(mask)
        return [
            {
                "coefficient": coefficient,
                "layer": site.layer,
                "location": site.location,
                "channel": channel,
                "node": f"{site.layer}.{site.location}.{channel}",
                "tau": t,
                "active": bool(kept),
                "chosen": row["chosen"],
                "mask": row["mask"],
            }
            for (site, channel), t, kept in zip(places, taus, mask.tolist(), strict=True)
        ]


def read_chosen(job, model):
    """The mask that is evaluated: (bool [node], its hash).

    raises: ValueError if the file is of another model than the one that is loaded
    """
    return mask_files.chosen(job.input.masks, job.model, nodes.names(model))
