"""Node masks learned on a frozen model: which nodes a task needs.

source: Gao et al. 2025, appendix: a threshold at zero with a straight-through gradient, a coefficient for
        every active node, and the nodes of largest tau once training is over
"""

from dataclasses import dataclass

import torch

from circuit_reuse.data.left_out import LeftOut
from circuit_reuse.engine import progress
from circuit_reuse.studies.weights import nodes, outcomes


@dataclass(frozen=True)
class Settings:
    """How masks are trained.

    coefficients: sparsity coefficient of an active node, nats; one mask each, all trained side by side
    steps, batch: steps of AdamW, and examples of one length in each
    rate:         first learning rate, falling linearly to 0
    temperature:  width of the sigmoid whose slope stands in for that of the threshold
    """

    coefficients: tuple
    steps: int
    batch: int
    rate: float
    temperature: float = 1.0


class Threshold(torch.autograd.Function):
    """1 from 0 on, else 0; backward the slope of a sigmoid (straight-through)."""

    @staticmethod
    def forward(context, tau, temperature):
        """tau: any shape;  temperature: a number"""
        context.save_for_backward(tau)
        context.temperature = temperature
        return (tau >= 0).to(tau.dtype)

    @staticmethod
    def backward(context, gradient):
        """Gradient times sigmoid'(tau / T) / T."""
        slope = torch.sigmoid(context.saved_tensors[0] / context.temperature)
        return gradient * slope * (1 - slope) / context.temperature, None


def train(model, batches, replacement, kind, settings, rng):
    """Thresholds of all nodes for every coefficient, [coefficient, node], and the history.

    batches: batching.Batch list, of one length each: a step draws one by its number of examples,
             and then `batch` of these
    rng:     numpy Generator
    returns: (tau, [{step, coefficient, loss, n_nodes}])
    """
    coefficients = torch.tensor(settings.coefficients, device=model.device)
    start = rng.normal(0.1, 0.01, nodes.total(model))
    tau = torch.tensor(start, dtype=torch.float32, device=model.device)
    tau = tau.clamp(-1, 1).repeat(len(coefficients), 1).requires_grad_()
    # No weight decay: it would pull every tau to 0, which is where a node is decided on.
    optimizer = torch.optim.AdamW([tau], lr=settings.rate, betas=(0.9, 0.95), weight_decay=0.0)
    sizes = [len(batch.rows) for batch in batches]
    history = []
    for step in progress.bar(range(settings.steps), desc="masks", unit="step"):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (1 - step / settings.steps)
        batch = batches[rng.choice(len(batches), p=[size / sum(sizes) for size in sizes])]
        chosen = rng.permutation(len(batch.rows))[: settings.batch]
        mask = Threshold.apply(tau, settings.temperature)
        last = nodes.masked(model, batch.clean[chosen], mask, replacement)
        loss = outcomes.losses(last, batch.answer[chosen], batch.distractor[chosen], kind).mean(1)
        optimizer.zero_grad()
        (loss + coefficients * mask.sum(1)).sum().backward()
        # Each mask is clipped alone, so none depends on which others are trained beside it.
        size = tau.grad.square().mean(1, keepdim=True).sqrt()
        tau.grad.div_(size.clamp_min(1.0))
        optimizer.step()
        with torch.no_grad():
            tau.clamp_(-1, 1)
        if step % 25 == 0 or step == settings.steps - 1:
            active = (tau >= 0).sum(1)
            history += [
                {"step": step, "coefficient": c, "loss": float(value), "n_nodes": int(n)}
                for c, value, n in zip(settings.coefficients, loss.detach(), active, strict=True)
            ]
    return tau.detach(), history


def largest(tau, count):
    """The mask of the `count` largest tau, bool [node]; of equal ones the first."""
    order = torch.argsort(tau, descending=True, stable=True)
    mask = torch.zeros(len(tau), dtype=torch.bool, device=tau.device)
    mask[order[:count]] = True
    return mask


def counts(nodes_total, active, finest):
    """Sizes that are tried for a circuit: from few nodes to all, evenly in their logarithm."""
    found = {round(nodes_total * 2 ** (-place / finest)) for place in range(8 * finest)}
    return sorted((found | {active, nodes_total}) - {0})


def discretise(tau, loss_of, target, finest=4):
    """The smallest mask of largest tau whose loss reaches the target.

    loss_of: function of masks (bool [mask, node]) to their mean losses, on prompts that the mask
             was not trained on
    target:  nats
    returns: (mask [node], curve [{n_nodes, loss}])
    raises:  LeftOut if even all nodes miss it
    The loss is no monotone function of the size, so every size on a grid is tried, not bisected,
    and then those between the first that reaches the target and the one before it.
    """
    total = len(tau)
    sizes = counts(total, int((tau >= 0).sum()), finest)
    curve = {}

    def measure(tried):
        stacked = torch.stack([largest(tau, count) for count in tried])
        curve.update(zip(tried, loss_of(stacked), strict=True))

    measure(sizes)
    reached = [size for size in sizes if curve[size] <= target]
    if not reached:
        raise LeftOut(
            f"no mask reaches the target loss of {target:.3f} nats: with all {total} nodes it is "
            f"{curve[total]:.3f}; raise weights.masks.target"
        )
    first = reached[0]
    before = max((size for size in sizes if size < first), default=0)
    step = max(1, (first - before) // 16)
    between = [size for size in range(before + step, first, step) if size not in curve]
    if between:
        measure(between)
        first = min(size for size in curve if curve[size] <= target)
    rows = [{"n_nodes": size, "loss": curve[size]} for size in sorted(curve)]
    return largest(tau, first), rows
