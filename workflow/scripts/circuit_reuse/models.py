"""Load a model as a TransformerLens bridge, and cut its examples into batches."""

import os
import time
from dataclasses import dataclass

# A folder holds all that is needed; nothing may be fetched while a job runs.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge
from transformers.activations import NewGELUActivation
from transformers.utils import logging as transformers_logging

from circuit_reuse import fingerprint
from circuit_reuse.components import Space

transformers_logging.disable_progress_bar()


@dataclass(frozen=True)
class Model:
    """A frozen model with its component space.

    bridge:   the TransformerBridge, weights unprocessed, no parameter gradients
    space:    layers, heads and widths
    parallel: whether an MLP reads the stream before its own layer's attention (GPT-NeoX)
    """

    bridge: TransformerBridge
    space: Space
    parallel: bool

    @property
    def device(self):
        """Where the weights lie."""
        return next(self.bridge.original_model.parameters()).device


def load(folder, device="auto", dtype="float32", threads=None):
    """Boot a bridge from a local folder.

    device:  cpu, cuda, mps or auto (the best there is)
    dtype:   float32, bfloat16 or float16
    threads: processor threads; results on a processor are the same bits for the same number
    raises:  ModelError if the folder has no safetensors weights or no tokenizer
    """
    fingerprint.files(folder)
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    bridge = TransformerBridge.boot_transformers(
        str(folder), device=device, dtype=getattr(torch, dtype), trust_remote_code=False
    )
    bridge.requires_grad_(False)
    bridge.eval()
    fuse_activations(bridge.original_model)
    space = fingerprint.shape(folder)
    return Model(bridge, space, bool(getattr(bridge.cfg, "parallel_attn_mlp", False)))


def fuse_activations(model):
    """Put one fused kernel where GPT-2's GELU is written out in eight operations.

    The function is the same (the tanh approximation); on a processor the written-out form
    takes almost half of the time of a small model.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, torch.nn.GELU(approximate="tanh"))


def logits(model, tokens):
    """Logits after the last position, float32, [example, vocabulary]."""
    return model.bridge(tokens, return_type="logits", logits_to_keep=1)[:, -1].float()


def metric_values(last, answer, distractor, metric):
    """The metric of each example.

    last:    [example, vocabulary] logits after the last position
    metric:  logit_difference (answer - distractor, logits) or log_probability (nats)
    returns: [example]
    """
    if metric == "logit_difference":
        chosen = last.gather(1, torch.stack([answer, distractor], 1))
        return chosen[:, 0] - chosen[:, 1]
    return last.log_softmax(-1).gather(1, answer[:, None])[:, 0]


@dataclass(frozen=True)
class Batch:
    """Examples of one length: no padding, so no example depends on another.

    rows:           places in the list of examples that the batch was made from
    clean, corrupt: token ids [example, position];  answer, distractor: [example]
    """

    rows: list
    clean: torch.Tensor
    corrupt: torch.Tensor
    answer: torch.Tensor
    distractor: torch.Tensor


def batches(examples, size, device="cpu"):
    """Batches of examples of equal length, shortest first.

    examples: a DataFrame of the examples table (valid rows only)
    size:     examples in a batch, at most
    """
    lengths = examples["length"].to_numpy()
    for length in sorted(set(lengths)):
        rows = [row for row, value in enumerate(lengths) if value == length]
        for start in range(0, len(rows), size):
            yield batch_of(examples, rows[start : start + size], device)


def batch_of(examples, rows, device):
    """One batch from rows of equal length."""
    part = examples.iloc[rows]

    def tensor(values):
        return torch.tensor([list(map(int, value)) for value in values], device=device)

    return Batch(
        rows=list(rows),
        clean=tensor(part["clean_tokens"]),
        corrupt=tensor(part["corrupt_tokens"]),
        answer=torch.tensor(part["answer"].astype(int).to_numpy(), device=device),
        distractor=torch.tensor(part["distractor"].astype(int).to_numpy(), device=device),
    )


def patiently(work, examples, size, device, title):
    """Run `work` on every batch with a progress bar, halving batches that do not fit.

    work:   function of a Batch; called again with smaller batches if memory runs out
    yields: (batch, result)
    raises: torch.OutOfMemoryError if a single example does not fit
    """
    pending = list(batches(examples, size, device))
    with tqdm(total=len(examples), desc=title, unit="example", disable=None) as bar:
        while pending:
            batch = pending.pop(0)
            try:
                result = work(batch)
            except torch.OutOfMemoryError:
                if len(batch.rows) == 1:
                    raise
                torch.cuda.empty_cache()
                half = len(batch.rows) // 2
                tqdm.write(f"out of memory with {len(batch.rows)} examples: trying {half}")
                parts = (batch.rows[:half], batch.rows[half:])
                pending[:0] = [batch_of(examples, part, device) for part in parts]
                continue
            yield batch, result
            bar.update(len(batch.rows))


def log_rate(log, count, began):
    """Log how fast it went."""
    seconds = max(time.monotonic() - began, 1e-9)
    log.info("%d examples in %.2f s, %.1f examples per second", count, seconds, count / seconds)
