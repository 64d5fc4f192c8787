"""A model written by hand with two tasks, in which every head's class is known."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from circuit_reuse.engine import models
from circuit_reuse.validate import planted_models, planted_tasks
from circuit_reuse.validate.planted_plan import Head
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

CLASSES = {
    "a0.h1": "first_only",
    "a1.h2": "second_only",
    "a2.h0": "shared",
    "a1.h3": "first_only",
    "a3.h1": "second_only",
}
SUPPRESSING = {"a1.h3": "first", "a3.h1": "second"}
MARKS = {"first": ("mark 1", planted_tasks.SYMBOLS), "second": ("mark 2", 2 * planted_tasks.SYMBOLS)}


def copier(marks, weight):
    """A head that copies the symbol with one of the marks, and looks at the last token if none."""
    key = dict.fromkeys(marks, 1.0) | {"rest": 0.5}
    return Head(planted_tasks.copying("symbol", "found", weight), query=[(0, {"one": 16.0})], key=[(0, key)])


def load(architecture, seed=0):
    """The model: a head for each task, one for both, one against each, all others decoys."""
    plan = planted_tasks.empty()
    plan.coordinates.append("rest")
    plan.embedding[planted_tasks.QUERY] = {"rest": 1.0}
    plan.heads |= {
        (0, 1): copier(["mark 1"], 0.6),
        (1, 2): copier(["mark 2"], 0.6),
        (2, 0): copier(["mark 1", "mark 2"], 0.6),
        (1, 3): copier(["mark 1"], -0.3),
        (3, 1): copier(["mark 2"], -0.3),
    }
    planted_tasks.answer_by(plan, "found")
    planted_tasks.add_decoys(plan, np.random.default_rng(seed))
    model = planted_models.build(plan, architecture, torch.Generator().manual_seed(seed))
    words = {f"t{n}": n for n in range(len(plan.embedding))}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        Tokenizer(WordLevel(words, unk_token="t0")).save(str(Path(folder) / "tokenizer.json"))
        return models.load(folder, "cpu", threads=1)


def examples(task, count, seed=0):
    """Prompts in which one symbol bears the task's mark; in the corrupt one it is another."""
    rng = np.random.default_rng([seed, len(task)])
    rows = []
    for n in range(count):
        clean, corrupt, answer, distractor = planted_tasks.marked_prompts(rng)
        marked = MARKS[task][1] - planted_tasks.SYMBOLS
        clean, corrupt = (
            [t + marked if planted_tasks.SYMBOLS <= t < 2 * planted_tasks.SYMBOLS else t for t in tokens]
            for tokens in (clean, corrupt)
        )
        place = next(p for p, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b)
        rows.append(
            {
                "example": n,
                "id": f"{n}",
                "cluster": f"{n}",
                "split": "train" if n % 2 else "held_out",
                "valid": True,
                "used": True,
                "length": len(clean),
                "clean_tokens": clean,
                "corrupt_tokens": corrupt,
                "positions": [place],
                "roles": [{"role": "marked", "position": place}],
                "answer": answer,
                "distractors": [distractor],
            }
        )
    return pd.DataFrame(rows)
