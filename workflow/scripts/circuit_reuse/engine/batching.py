"""Batches of examples of equal length, filled by tokens, halved where memory is short.

No batch is padded, so no example depends on another's length.
"""

import contextlib
import ctypes
import math
import re
import sys
import time
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

import torch
from tqdm import tqdm

from circuit_reuse.engine import progress, shortcuts

# A processor works best on short batches; a GPU takes as much as it holds, so there the
# tokens of a batch are doubled as long as the last batch left three quarters of it free.
ROOMY = 0.25


@dataclass(frozen=True)
class Batch:
    """Examples of one length.

    rows:           places in the list of examples that the batch was made from
    clean, corrupt: token ids [example, position];  answer: [example]
    distractor:     [example, distractor], -1 where an example has fewer than others
    choices:        [example, label, variant] of a task of choices, the right label first; -1 for none
    prefix:         what came before these positions, the same in both prompts, or None
    """

    rows: list
    clean: torch.Tensor
    corrupt: torch.Tensor
    answer: torch.Tensor
    distractor: torch.Tensor
    prefix: shortcuts.Prefix | None = None
    choices: torch.Tensor | None = None

    def shared(self):
        """Number of positions before the first in which a clean and a corrupt prompt differ."""
        differ = (self.clean != self.corrupt).any(0).nonzero()
        return int(differ[0]) if len(differ) else self.clean.shape[1] - 1

    def part(self, start, stop):
        """Some of the examples."""
        chosen = slice(start, stop)
        prefix = self.prefix and replace(self.prefix, index=self.prefix.index[chosen])
        columns = ("rows", "clean", "corrupt", "answer", "distractor")
        choices = None if self.choices is None else self.choices[chosen]
        return Batch(*(getattr(self, name)[chosen] for name in columns), prefix, choices)

    def targets(self, repeats=1):
        """Answer, distractor and choices of the examples, the whole batch repeated; see effects.outcomes."""
        choices = None if self.choices is None else self.choices.repeat(repeats, 1, 1)
        return self.answer.repeat(repeats), self.distractor.repeat(repeats, 1), choices

    def shortened(self, model):
        """The batch from the first position on that differs, with the prefix run once.

        Up to there both runs are the same, and nothing that is put in from the corrupt run
        can change them.
        """
        start = self.shared()
        found = shortcuts.prefix(model, self.clean, start)
        if found is None:
            return self
        return replace(self, clean=self.clean[:, start:], corrupt=self.corrupt[:, start:], prefix=found)


def buckets(examples):
    """Places of the examples by length, and within it by the length of what is shared."""
    found = {}
    shared = [int(positions[0]) for positions in examples["positions"]]
    lengths = examples["length"].to_numpy()
    for row in sorted(range(len(examples)), key=lambda row: (lengths[row], -shared[row], row)):
        found.setdefault(int(lengths[row]), []).append(row)
    return found


def batches(examples, tokens, device="cpu"):
    """Batches of examples of equal length, shortest first.

    examples: a DataFrame of the examples table (valid rows only)
    tokens:   clean tokens in a batch, at most, but always one example
    """
    for length, rows in buckets(examples).items():
        size = max(1, tokens // length)
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
        distractor=padded([[int(token) for token in each] for each in part["distractors"]], device),
        choices=choices_of(part, device),
    )


def padded(lists, device):
    """Lists of unequal length as a tensor, -1 where one is shorter."""
    longest = max(map(len, lists))
    return torch.tensor([[*each, *[-1] * (longest - len(each))] for each in lists], device=device)


def choices_of(part, device):
    """Variants of the labels of each example, [example, label, variant]; None for a task without labels."""
    if "choices" not in part or part["choices"].isna().any():
        return None
    labels = [[[int(token) for token in label] for label in each] for each in part["choices"]]
    most = max(map(len, labels))
    flat = [label for each in labels for label in [*each, *[[]] * (most - len(each))]]
    return padded(flat, device).view(len(labels), most, -1)


def run_in_batches(work, examples, tokens, device, title):
    """Run `work` on every batch with a progress bar.

    work:   function of a Batch; called again with smaller batches if memory runs out
    tokens: clean tokens of the first batch
    yields: (batch, result)
    raises: MemoryError that says how much was missing, if a single example does not fit
    """

    def run(rows):
        batch = batch_of(examples, rows, device)
        return batch, work(batch)

    with progress.bar(total=len(examples), desc=title, unit="example") as bar:
        for length, rows in buckets(examples).items():
            what = f"examples of {length} tokens"
            for part, result in in_pieces(run, rows, tokens // length, device, what):
                yield result
                bar.update(len(part))


def release_memory(every=0.0):
    """Return freed memory to the system, which glibc keeps where it lies between what is used; not more often than `every` seconds."""
    if time.monotonic() - release_memory.last >= every and sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
        release_memory.last = time.monotonic()


release_memory.last = 0.0


def by_depth(firsts, space, each, most, device):
    """Runs in pieces: those of one piece run together, from the lowest layer that one of them changes.

    Together, weights are read and Python is paid for once; apart, runs that change high layers only need not run the low ones.
    firsts:  the first layer that each run changes: -1 for the input, infinity for none;  space: components.Space of the model
    each:    tokens of a run;  most: runs of a piece that go together
    returns: lists of places in `firsts`, highest layers first
    """
    order = sorted(range(len(firsts)), key=lambda place: (-firsts[place], place))
    if torch.device(device).type != "cpu":
        # Only many tokens at once make a GPU fast, and `in_pieces` gives it more than `most`.
        return [order]
    groups = [list(group) for _, group in groupby(order, key=firsts.__getitem__)]
    # In tokens, what a layer costs whatever it is run on: its weights are read, which takes about as long as 16 tokens, and Python runs,
    # which takes about as long as 3.5 million products; a layer has about 12 d² weights, each one product of a token.
    once = 16 + 3.5e6 / (12 * space.d_model**2)
    ends = [0, *accumulate(map(len, groups))]
    best, starts = [0.0], []
    for stop, group in enumerate(groups):
        depth = space.layers - min(max(firsts[group[0]], 0), space.layers)
        counts = [ends[stop + 1] - ends[start] for start in range(stop + 1)]
        costs = [
            before + depth * (count * each + math.ceil(count / max(1, most)) * once)
            for before, count in zip(best, counts, strict=True)
        ]
        starts.append(min(range(stop + 1), key=costs.__getitem__))
        best.append(costs[starts[-1]])
    pieces, stop = [], len(groups)
    while stop:
        start = starts[stop - 1]
        pieces.append([place for group in groups[start:stop] for place in group])
        stop = start
    return pieces[::-1]


def in_pieces(work, items, size, device, what):
    """Run `work` on pieces of a list that fit into memory.

    work:   function of a piece
    size:   items of the first piece; halved when memory runs out, doubled on a GPU with room
    what:   the items in words, for the error
    yields: (piece, result)
    raises: MemoryError that says how much was missing, if a single item does not fit
    """
    size, start = max(1, size), 0
    while start < len(items):
        piece = items[start : start + size]
        try:
            with GpuRoom(device) as room:
                result = work(piece)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            missing = shortage(error)
            if missing is None:
                raise
            if len(piece) == 1:
                raise MemoryError(
                    f"memory is exhausted by a single one of the {what}: {missing}; use "
                    "compute.dtype: bfloat16, a smaller model or shorter prompts"
                ) from error
            size = len(piece) // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            tqdm.write(f"out of memory with {len(piece)} {what} ({missing}): trying {size}")
            continue
        yield piece, result
        del result
        release_memory(every=1.0)
        start += len(piece)
        if room.roomy and len(piece) == size:
            size *= 2


class GpuRoom:
    """Whether what ran inside used little of the GPU's memory."""

    def __init__(self, device):
        self.device, self.roomy = torch.device(device), False

    def __enter__(self):
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        return self

    def __exit__(self, *error):
        if self.device.type == "cuda":
            total = torch.cuda.get_device_properties(self.device).total_memory
            self.roomy = torch.cuda.max_memory_allocated(self.device) < ROOMY * total


def shortage(error):
    """What an out-of-memory error says of the memory that was missing; None for another error."""
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in text:
        wanted = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w+)", text)
        return f"it needs {wanted[1]} more than there is" if wanted else text or "nothing is left"
    return None


def log_rate(log, count, began):
    """Log how fast it went."""
    seconds = max(time.monotonic() - began, 1e-9)
    log.info("%d examples in %.2f s, %.1f examples per second", count, seconds, count / seconds)
