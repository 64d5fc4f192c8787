"""What runs of many copies give: loss, metric and correctness of each copy on each example."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy, softplus

from circuit_reuse.engine import batching, effects, models, progress

# Weights of the copies of one run, bytes, at most, but always one copy.
ROOM = 2**28
# From so many copies on one wants to see how far they are; copies of all weights take long, however few.
MANY = 100


@dataclass(frozen=True)
class Asked:
    """How a task is judged.

    loss:     cross_entropy (of the answer, over the vocabulary) or binary (against the distractor)
    metric:   see models.metric_values;  accuracy: top1, preferred or choice
    """

    loss: str
    metric: str
    accuracy: str


@dataclass(frozen=True)
class CopyOutcomes:
    """loss [item, example] in nats, metric [item, example], correct bool [item, example]."""

    loss: np.ndarray
    metric: np.ndarray
    correct: np.ndarray

    def frame(self, examples, **columns):
        """A row an item and example, items outermost.

        examples: their rows, with example and cluster;  columns: one value for all, or one for each item
        """
        count = len(examples)
        about = {name: np.tile(examples[name].to_numpy(), len(self.loss)) for name in ("example", "cluster")}
        frame = pd.DataFrame(about)
        for name, value in columns.items():
            one = np.isscalar(value) or value is None
            frame[name] = value if one else pd.Series(value).repeat(count).to_numpy()
        for name in ("loss", "metric", "correct"):
            frame[name] = getattr(self, name).reshape(-1)
        return frame


def losses(last, answer, distractor, kind):
    """Loss of each row, nats.

    last:       [..., example, vocabulary];  answer: [example]
    distractor: [example] or [example, distractor]; binary takes their mean logit
    """
    rows = last.float().flatten(0, -2)
    copies = len(rows) // len(answer)
    distractor = distractor.view(len(answer), -1).repeat(copies, 1)
    answer = answer.repeat(copies)
    if kind == "cross_entropy":
        found = cross_entropy(rows, answer, reduction="none")
    else:
        found = softplus(-models.metric_values(rows, answer, distractor, None, "logit_difference"))
    return found.view(last.shape[:-1])


@torch.no_grad()
def evaluate(batches, items, run, asked, tokens, copy_bytes=0):
    """CopyOutcomes of all items on all examples, several items in each run.

    batches:    batching.Batch list that together hold every example once
    run:        function (number of the batch, batch, items) to logits [item, example, vocabulary]
    tokens:     tokens of one run, at most, but always one item
    copy_bytes: what the weights of one item take at once: its largest matrix
    """
    count = sum(len(batch.rows) for batch in batches)
    loss, metric = (np.empty((len(items), count), dtype=np.float32) for _ in range(2))
    correct = np.empty((len(items), count), dtype=bool)
    bar = progress.bar(total=len(batches) * len(items), desc="runs", quiet=len(items) <= MANY and not copy_bytes)
    for number, batch in enumerate(batches):
        size = tokens // batch.clean.numel()
        if copy_bytes:
            size = min(size, ROOM // copy_bytes)
        what = f"copies of {len(batch.rows)} examples"

        def work(places, number=number, batch=batch):
            return run(number, batch, [items[place] for place in places])

        places = range(len(items))
        for part, last in batching.in_pieces(work, places, size, batch.clean.device, what):
            rows = np.ix_(list(part), batch.rows)
            found = judged(last, batch, asked)
            loss[rows], metric[rows], correct[rows] = found
            bar.update(len(part))
    bar.close()
    return CopyOutcomes(loss, metric, correct)


def judged(last, batch, asked):
    """Loss, metric and correctness of each copy and example, numpy [copy, example]."""
    copies, rows = len(last), last.flatten(0, 1)
    targets = batch.targets(copies)
    loss = losses(last, batch.answer, batch.distractor, asked.loss)
    metric = models.metric_values(rows, *targets, asked.metric).view(copies, -1)
    right, _ = effects.answered(rows, *targets, asked.accuracy)
    return loss.cpu().numpy(), metric.float().cpu().numpy(), right.view(copies, -1).cpu().numpy()


def loss_kind(accuracy, asked="auto"):
    """The loss of a task: where many answers are right, the answer against the distractor."""
    if asked != "auto":
        return asked
    return "cross_entropy" if accuracy == "top1" else "binary"
