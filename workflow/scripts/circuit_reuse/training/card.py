"""Write a trained model with its card: what it is, what it can do, how it learned."""

import csv
import json
import shutil
from pathlib import Path

from circuit_reuse.prompts.tasks import TASKS
from circuit_reuse.training.corpus import LEARNED

ABOUT = """# {name}

A {family_title} of {layers} layers, {heads} heads and width {width} ({parameters:,} parameters,
of which {inner:,} outside the embeddings), trained by `snakemake train_models` of this project
on the text of its own tasks.  It exists so that every study runs in minutes on a laptop, on a
model that really solves the tasks; it knows nothing else.

## Held-out accuracy

On {count} held-out examples of each task, with the beginning-of-sequence token: names, templates, filler words and summands that were not in the training text of that task.  Correct means
that the answer has the highest logit of all tokens; for greater-than, which has many right
answers, that it has a higher one than the distractor.

| task | accuracy |
|---|---|
{rows}

`training.csv` holds the same at every 250 steps, and the loss:

![Training curve](training.svg)

## Training

{steps} steps of 128 lines, AdamW with a cosine schedule (peak rate 0.003, weight decay 0.1),
seed 0, one processor thread.  Half of the lines begin with `<|endoftext|>`.  The tokenizer is a
byte-level BPE of {vocabulary} tokens in which every word of the tasks is one token.
"""
SPARSE = """
## Weights held at zero

After every step all but the largest weights of each matrix of attention and MLP are set to zero
(Gao et al. 2025): {share:.0%} of them are left at the end, {nonzero:,} of {inner:,}, the share falling from 1
by powers over the first half of training.  Embeddings, biases and norms are not sparse.  Width,
layers, heads and text are those of tiny-{family}-medium, so the two differ in this alone and in
the number of steps.  The weights are stored as float16, whose values are the ones measured above;
they load as float32.
"""
TITLES = {"gpt2": "GPT-2", "neox": "GPT-NeoX"}


def read_tokenizer(path):
    """The tokenizer from its file."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def save(model, curve, family, size, tokenizer, folder, count=100):
    """Write weights (safetensors), tokenizer, curve, figure and card into a folder.

    curve: as from `train`;  tokenizer: the folder of the tokenizer's files
    count: held-out examples behind each accuracy
    """
    from circuit_reuse.training.train import SIZES

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sparse = "density" in SIZES[size]
    if sparse:
        model.half()
    model.save_pretrained(folder, safe_serialization=True)
    if sparse:
        model.float()
        load_as_float32(folder / "config.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tokenizer) / name, folder / name)
    with (folder / "training.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, curve[0])
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if k != "step" else v for k, v in row.items()} for row in curve)
    draw(curve, f"tiny-{family}-{size}", folder / "training.svg")
    shape = SIZES[size]
    total = sum(parameter.numel() for parameter in model.parameters())
    embeddings = {id(m.weight): m.weight.numel() for m in model.modules() if type(m).__name__ == "Embedding"}
    rows = "\n".join(f"| {TASKS[task].title} | {curve[-1][task]:.2f} |" for task in LEARNED)
    (folder / "README.md").write_text(
        ABOUT.format(
            name=f"tiny-{family}-{size}",
            family_title=TITLES[family],
            rows=rows,
            parameters=total,
            inner=total - sum(embeddings.values()),
            count=count,
            vocabulary=model.config.vocab_size,
            layers=shape["layers"],
            heads=shape["heads"],
            width=shape["width"],
            steps=shape["steps"],
        )
        + (sparsity(model, family, shape["density"]) if sparse else "")
    )


def sparsity(model, family, share):
    """The card's paragraph about weights at zero, counted in the model itself."""
    from circuit_reuse.training.train import sparse_weights

    weights = list(sparse_weights(model))
    return SPARSE.format(
        share=share,
        nonzero=sum(int((w != 0).sum()) for w in weights),
        inner=sum(w.numel() for w in weights),
        family=family,
    )


def load_as_float32(path):
    """Let a model stored in half precision be run in single."""
    about = json.loads(path.read_text())
    key = "dtype" if "dtype" in about else "torch_dtype"
    path.write_text(json.dumps(about | {key: "float32"}, indent=2) + "\n")


def draw(curve, title, path):
    """The training curve: held-out accuracy of every task against the step."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    styles = ["-", "--"]
    for number, task in enumerate(LEARNED):
        axes.plot(
            [row["step"] for row in curve],
            [row[task] for row in curve],
            label=TASKS[task].title,
            linestyle=styles[number // 7],
            color=f"C{number % 7}",
        )
    axes.set(xlabel="step", ylabel="held-out accuracy", title=title, ylim=(0, 1.03))
    axes.legend(fontsize=7, ncols=1, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    matplotlib.rcParams["svg.hashsalt"] = "circuit-reuse"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
