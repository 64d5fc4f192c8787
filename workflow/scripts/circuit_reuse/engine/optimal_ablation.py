"""Removal by the constants that do least harm: what a set of components is worth when nothing wrong is put in its place.

Values from the corrupt prompt, and means too, may themselves mislead what reads them.  Here every removed component writes one vector, the
same on all prompts and at all positions but the first, and these vectors are learned to keep the model's answers.
source: Li & Janson 2024, Optimal ablation for interpretability
"""

import torch

from circuit_reuse.data import components
from circuit_reuse.engine import batching, models


class Constants:
    """One vector for each removed component, parameters of the gradient.

    start: interventions.Activations of one row and position: the values that learning begins from
    """

    def __init__(self, names, start):
        self.places = [components.place(name) for name in names]
        # A copy: the same start serves many sets.
        self.values = [
            (start.mlp[layer][0, 0] if head is None else start.z[layer][0, 0, head])
            .detach()
            .clone()
            .float()
            .requires_grad_()
            for layer, head in self.places
        ]

    def hooks(self):
        """Hooks that put the vectors in, everywhere but at the first position."""
        by_hook = {}
        for (layer, head), value in zip(self.places, self.values, strict=True):
            name = f"blocks.{layer}.hook_mlp_out" if head is None else f"blocks.{layer}.attn.hook_z"
            by_hook.setdefault(name, []).append((head, value))
        return [(name, self.putting(found)) for name, found in by_hook.items()]

    @staticmethod
    def putting(found):
        """A hook for the components of one hook point."""

        def put(tensor, hook):
            later = tensor[:, 1:].clone()
            for head, value in found:
                if head is None:
                    later = value.to(tensor.dtype).expand_as(later)
                else:
                    later[:, :, head] = value.to(tensor.dtype)
            return torch.cat([tensor[:, :1], later], dim=1)

        return put


def divergence(model, batch, hooks, clean):
    """KL(clean || run with hooks) at the answer, [example], and the logits there."""
    with model.bridge.hooks(fwd_hooks=hooks):
        last = models.logits(model, batch.clean)
    found = clean.log_softmax(-1)
    return (found.exp() * (found - last.float().log_softmax(-1))).sum(1), last


def learn(model, batches, clean, names, start, steps, rate):
    """The constants of a set after gradient descent on the divergence from the intact model, on train examples.

    clean: logits of the intact model for each batch;  rate: of Adam, as a share of the mean size of the starting values
    returns: (Constants of the step with the least divergence, that divergence, the one at the start)
    """
    constants = Constants(names, start)
    scale = torch.cat([value.detach().abs() for value in constants.values]).mean().clamp_min(1e-6)
    optimiser = torch.optim.Adam(constants.values, lr=float(rate * scale))
    count, best, first, kept = sum(len(batch.rows) for batch in batches), None, None, None
    for _ in range(steps + 1):
        optimiser.zero_grad()
        total = 0.0
        with torch.enable_grad():
            for batch, logits in zip(batches, clean, strict=True):
                loss = divergence(model, batch, constants.hooks(), logits)[0].sum() / count
                loss.backward()
                total += float(loss.detach())
        first = total if first is None else first
        if best is None or total < best:
            best, kept = total, [value.detach().clone() for value in constants.values]
        optimiser.step()
    for value, best_value in zip(constants.values, kept, strict=True):
        value.data.copy_(best_value)
    return constants, best, first


@torch.no_grad()
def outcomes(model, batches, clean, constants, metric):
    """Metric and divergence of every example with the constants put in: two lists in the order of the batches."""
    found = []
    for batch, logits in zip(batches, clean, strict=True):
        kl, last = divergence(model, batch, constants.hooks(), logits)
        found.append((models.metric_values(last, *batch.targets(), metric), kl))
    return [torch.cat(values).double().cpu().numpy() for values in zip(*found, strict=True)]


def prepared(model, examples, tokens):
    """Batches of whole prompts, and the intact model's logits at the answer of each."""
    batches = list(batching.batches(examples, tokens, model.device))
    with torch.no_grad():
        return batches, [models.logits(model, batch.clean).float() for batch in batches]
