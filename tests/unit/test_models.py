"""The embedded models: they solve the tasks, and are what their cards say."""

import pytest
import torch
from circuit_reuse.data import fingerprint
from circuit_reuse.engine import batching, models
from circuit_reuse.training.corpus import LEARNED
from safetensors.torch import load_file
from support import MODELS, examples_for

NAMES = [f"tiny-{family}-{size}" for family in ("gpt2", "neox") for size in ("small", "medium", "large")] + [
    "tiny-gpt2-sparse"
]
SOLVED = ["ioi", "anti_repeat", *(name for name, task in LEARNED.items() if task.family == "sequence")]


@torch.no_grad()
def held_out_accuracy(model, folder, task, count=200):
    """Share of valid held-out examples whose answer has the highest logit."""
    examples = examples_for(task, count, folder)
    examples = examples[examples["valid"] & (examples["split"] == "held_out")].reset_index(drop=True)
    right = 0
    for batch in batching.batches(examples, 1024):
        right += (models.logits(model, batch.clean).argmax(-1) == batch.answer).sum().item()
    return right / len(examples)


@pytest.mark.parametrize("name", NAMES)
def test_held_out_accuracy(name):
    model = models.load(MODELS / name, "cpu", threads=1)
    # 64 dimensions do not carry all tasks: the small models fall short, and their cards say so.
    floor = dict.fromkeys(SOLVED, 0.85 if name.endswith("small") else 0.98)
    if name == "tiny-gpt2-large":
        floor["digits_by_two"] = 0.97
    if name == "tiny-gpt2-sparse":
        # Names that are new to IOI, as in the small models.
        floor["ioi"] = 0.9
    found = {task: held_out_accuracy(model, MODELS / name, task) for task in SOLVED}
    assert {task: value for task, value in found.items() if value < floor[task]} == {}


def test_models_hold_no_pickle_and_are_small():
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert not [path for path in files for pattern in fingerprint.PICKLES if path.match(pattern)]
    assert sum(path.stat().st_size for path in files) < 15 * 2**20
    assert {path.name for path in MODELS.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_the_curve_says(name):
    import csv

    card = (MODELS / name / "README.md").read_text()
    with (MODELS / name / "training.csv").open() as stream:
        last = list(csv.DictReader(stream))[-1]
    for task, spec in LEARNED.items():
        assert f"| {spec.title} | {float(last[task]):.2f} |" in card
    parameters = sum(weights.numel() for weights in load_file(MODELS / name / "model.safetensors").values())
    assert f"{parameters:,} parameters" in card.replace("\n", " ")


def test_training_is_the_same_twice(tmp_path):
    """The first steps from a seed give the same bits; the rule trains longer in the same way."""
    from circuit_reuse.training import card, train

    tokenizer = card.read_tokenizer(MODELS / NAMES[0] / "tokenizer.json")
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = train.build("gpt2", "small", tokenizer.get_vocab_size(), 0)
        lines = train.corpus.lines(0, 1, 8)
        train.backward(model, tokenizer, lines, 0, 0, 1)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(*found)


def test_the_committed_tokenizer_is_the_one_that_is_trained():
    from circuit_reuse.training import corpus, tokenizer

    trained = tokenizer.train(*corpus.vocabulary())
    for name in NAMES:
        assert (MODELS / name / "tokenizer.json").read_text() == trained.to_str(pretty=True)
