"""Train an embedded model on the text of the tasks, from a seed.

Two families in three sizes, and one with most weights held at zero.  The loss is the
cross-entropy of the answers plus a tenth of that of all tokens, with AdamW and a cosine schedule
(Loshchilov & Hutter 2017).
"""

import math
import random

import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from circuit_reuse.engine import progress
from circuit_reuse.prompts.generate import generate
from circuit_reuse.prompts.tasks import TASKS
from circuit_reuse.training import corpus
from circuit_reuse.training.corpus import LEARNED

SIZES = {
    "small": {"layers": 3, "heads": 4, "width": 64, "steps": 2500},
    "medium": {"layers": 3, "heads": 8, "width": 96, "steps": 2000},
    "large": {"layers": 4, "heads": 8, "width": 128, "steps": 1600},
    # The shape of medium, with this share of each matrix of attention and MLP not zero.
    "sparse": {"layers": 3, "heads": 8, "width": 96, "steps": 6000, "density": 0.06},
}
CONTEXT = 64
LENGTHS = (10, 18, 26, CONTEXT)


def build(family, size, vocabulary, end):
    """An untrained model of a family (gpt2 or neox) and size, embeddings tied."""
    shape = SIZES[size]
    if family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocabulary,
                n_positions=CONTEXT,
                n_embd=shape["width"],
                n_layer=shape["layers"],
                n_head=shape["heads"],
                bos_token_id=end,
                eos_token_id=end,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
            )
        )
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=vocabulary,
            max_position_embeddings=CONTEXT,
            hidden_size=shape["width"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            intermediate_size=4 * shape["width"],
            bos_token_id=end,
            eos_token_id=end,
            rotary_pct=0.5,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        )
    )


def batches(tokenizer, lines, end, rng):
    """The lines of a step by length, so that little is padded: [(tokens, targets, answers)].

    tokens:  [line, position];  targets: the same shifted, -100 where there is none
    answers: the position before each line's answer, -1 for a line without one

    Half of the lines begin with the beginning-of-sequence token, so that both policies work.
    """
    groups = {}
    for text, answer in lines:
        row = tokenizer.encode(text + answer).ids
        if rng.random() < 0.5:
            row = [end, *row]
        group = next(length for length in LENGTHS if len(row) <= length)
        groups.setdefault(group, []).append((row, len(row) - 2 if answer else -1))
    for group in sorted(groups):
        rows, answers = zip(*groups[group], strict=True)
        tokens = torch.full((len(rows), max(map(len, rows))), end)
        targets = torch.full_like(tokens, -100)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row)
            targets[index, : len(row) - 1] = torch.tensor(row[1:])
        yield tokens, targets, torch.tensor(answers)


def held_out(tokenizer, end, count=100):
    """Held-out examples by task: [(task, lengths, tokens, answer, distractor)]."""
    tests = []
    for task in LEARNED:
        prompts = [
            p for _, split, p in generate(task, 2 * count, 1, options=LEARNED[task].options) if split == "held_out"
        ]
        rows = [[end, *tokenizer.encode(prompt.clean).ids] for prompt in prompts]
        tokens = torch.full((len(rows), max(map(len, rows))), end)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row)
        answers = [tokenizer.encode(prompt.answer).ids[0] for prompt in prompts]
        wrong = [tokenizer.encode(prompt.distractor).ids[0] for prompt in prompts]
        last = torch.tensor([len(row) - 1 for row in rows])
        tests.append((task, last, tokens, torch.tensor(answers), torch.tensor(wrong)))
    return tests


@torch.no_grad()
def accuracy(model, tests):
    """Share of held-out examples answered correctly, by task."""
    model.eval()
    result = {}
    for task, last, tokens, answers, wrong in tests:
        logits = model(tokens).logits[torch.arange(len(last)), last]
        if TASKS[task].accuracy == "top1":
            correct = logits.argmax(-1) == answers
        else:
            rows = torch.arange(len(last))
            correct = logits[rows, answers] > logits[rows, wrong]
        result[task] = correct.float().mean().item()
    model.train()
    return result


def train(tokenizer, family, size, seed=0, lines=128, rate=3e-3, every=250):
    """A trained model and its curve: [{step, loss, task: held-out accuracy, ...}].

    tokenizer: tokenizers.Tokenizer;  family: gpt2 or neox;  size: a key of SIZES
    """
    torch.manual_seed(seed)
    steps = SIZES[size]["steps"]
    end = tokenizer.token_to_id("<|endoftext|>")
    model = build(family, size, tokenizer.get_vocab_size(), end)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.1)
    tests, curve, losses = held_out(tokenizer, end), [], []
    for step in progress.bar(range(1, steps + 1), desc=f"tiny-{family}-{size}"):
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(step, steps)
        optimizer.zero_grad()
        losses.append(backward(model, tokenizer, corpus.lines(seed, step, lines), end, seed, step))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if "density" in SIZES[size]:
            hold_at_zero(model, density(step, steps, SIZES[size]["density"]))
        if step == steps and "density" in SIZES[size]:
            # Stored in half the room, so what is reported is what is stored.
            model.half().float()
        if step % every == 0 or step == steps:
            mean = sum(losses) / len(losses)
            curve.append({"step": step, "loss": round(mean, 4), **accuracy(model, tests)})
            losses = []
    return model.eval(), curve


def density(step, steps, target):
    """Share of the weights that are not zero: from 1 to the target over the first half, by powers."""
    return target ** min(1.0, 2 * step / steps)


def sparse_weights(model):
    """The matrices of attention and MLP."""
    base = model.base_model
    for block in base.h if hasattr(base, "h") else base.layers:
        yield from (weight for weight in block.parameters() if weight.ndim == 2)


@torch.no_grad()
def hold_at_zero(model, share):
    """Set all but the largest weights of each matrix of attention and MLP to zero.

    Done after every step, so a weight that was zero can come back.
    source: Gao et al. 2025, weight-sparse transformers
    """
    for weight in sparse_weights(model):
        size = weight.abs().flatten()
        least = size.kthvalue(size.numel() - max(1, round(share * size.numel())) + 1).values
        weight.mul_(weight.abs() >= least)


def backward(model, tokenizer, lines, end, seed, step):
    """Gradients of one step, accumulated over the length groups; returns the loss per line.

    Every token of the text counts a tenth, every answer one.
    """
    total = 0.0
    for tokens, targets, answers in batches(tokenizer, lines, end, random.Random(f"{seed}/{step}")):
        logits = model(tokens).logits
        loss = 0.1 * cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        rows = torch.nonzero(answers >= 0).squeeze(1)
        places = answers[rows]
        loss = loss + cross_entropy(logits[rows, places], targets[rows, places], reduction="sum")
        loss = loss / len(lines)
        loss.backward()
        total += loss.item()
    return total


def schedule(step, steps, warmup=100, floor=0.05):
    """Linear warm-up, then a cosine down to `floor` of the rate."""
    if step < warmup:
        return step / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
