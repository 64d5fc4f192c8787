"""Which share of the built-in prompts is valid under each tokenizer: make validity TOKENIZERS=<folder>.

The folder holds a folder with tokenizer.json for each tokenizer, or is one itself; folders of models do.
"""

import argparse
from collections import Counter
from pathlib import Path

import pandas as pd
from circuit_reuse.data import examples
from circuit_reuse.prompts import rows as sources
from circuit_reuse.prompts import tasks

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENT = PROJECT / "docs" / "tasks.md"
BEGIN, END = "<!-- validity -->", "<!-- /validity -->"
COUNT = 120
SHOTS = (0, 3)


def prompts(task, count=COUNT):
    """The first prompts of a task, as rows of the prompts table."""
    about = tasks.TASKS[task]
    spec = {"family": about.family, "options": about.options, "shots": about.shots}
    return sources.rows(task, {"seed": 0, "held_out_share": 0.5, "examples": [0, count], "task": spec})


def validity(tokenizers, count=COUNT):
    """One row a task and tokenizer: task, tokenizer, prompts, valid (0 to 1), reason (the commonest)."""
    readers = {folder.name: examples.reader(folder) for folder in tokenizers}
    rows = []
    for task, about in tasks.TASKS.items():
        made = prompts(task, count)
        for name, reader in readers.items():
            found = [examples.tokenise(reader, row, about.accuracy == "choice") for row in made]
            reasons = Counter(row["reason"] for row in found if not row["valid"])
            rows.append(
                {
                    "task": task,
                    "tokenizer": name,
                    "prompts": len(found),
                    "valid": sum(row["valid"] for row in found) / len(found),
                    "reason": reasons.most_common(1)[0][0] if reasons else None,
                }
            )
    return pd.DataFrame(rows)


def table(found):
    """The table of the documentation: per cent valid, a row a task and a column a tokenizer."""
    names = list(dict.fromkeys(found["tokenizer"]))
    lines = ["| task | example | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for task, mine in found.groupby("task", sort=False):
        row = prompts(task, 1)[0]
        text = f"{row['clean']} **{row['answer'].strip()}**".replace("\n", " / ")
        shares = mine.set_index("tokenizer")["valid"]
        lines.append(f"| {task} | {text} | " + " | ".join(f"{100 * shares[n]:.0f}" for n in names) + " |")
    return "\n".join(lines)


def accuracy(folder, count):
    """What a model answers: rows of task, shots, prompts, accuracy, preferred, over valid prompts."""
    from circuit_reuse import api

    model, rows = api.load(folder), []
    for task in tasks.TASKS:
        for shots in SHOTS:
            found = api.examples(model, folder, task, count, shots=shots)
            mine = found[found["valid"]]
            rows.append(
                {
                    "task": task,
                    "shots": shots,
                    "prompts": len(mine),
                    "accuracy": mine["correct"].astype(float).mean(),
                    "preferred": (mine["clean_metric"].astype(float) > 0).mean(),
                }
            )
            print("{task}, {shots} shots: {accuracy:.2f} of {prompts}".format(**rows[-1]), flush=True)
    return pd.DataFrame(rows)


def accuracy_table(found):
    """The table of the documentation: a row a task."""
    lines = [
        "| task | accuracy | " + " | ".join(f"with {n} shots" for n in SHOTS[1:]) + " |",
        "|---|---|" + "---|" * len(SHOTS[1:]),
    ]
    for task, mine in found.groupby("task", sort=False):
        values = mine.set_index("shots")["accuracy"]
        lines.append(f"| {task} | " + " | ".join(f"{values[n]:.2f}" for n in SHOTS) + " |")
    return "\n".join(lines)


def put(text, begin, end, inner):
    """A text with what stands between two marks replaced."""
    return f"{text[: text.index(begin) + len(begin)]}\n{inner}\n{text[text.index(end) :]}"


def main():
    """Write results/tables/validity.csv or accuracy.csv, and with --docs the tables of docs/tasks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of folders with tokenizer.json")
    parser.add_argument("--model", action="store_true", help="the folder is a model: measure its accuracy")
    parser.add_argument("--count", type=int, default=48, help="prompts of each task that it answers")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/tasks.md, too")
    asked = parser.parse_args()
    Path("results/tables").mkdir(parents=True, exist_ok=True)
    if asked.model:
        found = accuracy(asked.folder, asked.count)
        found.to_csv("results/tables/accuracy.csv", index=False)
        if asked.docs:
            text = put(
                DOCUMENT.read_text(encoding="utf-8"), "<!-- accuracy -->", "<!-- /accuracy -->", accuracy_table(found)
            )
            DOCUMENT.write_text(text, encoding="utf-8")
        return
    inner = sorted(path.parent for path in asked.folder.glob("*/tokenizer.json"))
    folders = inner or [asked.folder]
    if not (folders[0] / "tokenizer.json").is_file():
        parser.error(f"there is no tokenizer.json in {asked.folder} or in its folders")
    found = validity(folders)
    path = Path("results/tables/validity.csv")
    found.to_csv(path, index=False)
    low = found[found["valid"] < 0.95]
    print(f"{len(found)} pairs of a task and a tokenizer in {path}; {len(low)} below 95 % valid")
    for row in low.to_dict("records"):
        print(f"  {row['task']} under {row['tokenizer']}: {100 * row['valid']:.0f} %, most often: {row['reason']}")
    if asked.docs:
        text = put(DOCUMENT.read_text(encoding="utf-8"), BEGIN, END, table(found))
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
