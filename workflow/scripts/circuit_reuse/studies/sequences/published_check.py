"""The published circuits and numbers of GPT-2 small (Lan et al. 2024), recomputed where that can be done.

What follows from the lists of nodes is recomputed here; what needs the model's weights is null until
the study has run with the published circuits on GPT-2 (config/papers/sequences.yaml), and is then compared
within a tolerance, because prompts and the order of computation differ.
"""

import itertools
import json
from pathlib import Path

import pandas as pd

from circuit_reuse.data import csv_tables
from circuit_reuse.stats.circuits import jaccard
from circuit_reuse.studies.sequences import schemas
from circuit_reuse.studies.sequences.published_runs import PublishedRun

COLUMNS = ["item", "published", "recomputed", "agrees", "why", "model"]
# Points by which scores on other prompts may differ; drops by a quarter, or by 2 points.
POINTS, SHARE = 5.0, 10.0
NEEDS = "needs the weights of GPT-2 small: run config/papers/sequences.yaml, in which the published circuits are scored"


def run(job):
    """published_check.csv: item, published, recomputed, agrees, why, model."""
    circuits = json.loads(Path(job.input.circuits).read_text())["circuits"]
    numbers = json.loads(Path(job.input.numbers).read_text())
    tables = {
        {"cross_task": "cross", "ov_scores": "ov"}.get(path.stem, path.stem): csv_tables.read(path)
        for path in map(Path, job.input.tables)
    }
    found = check(circuits, numbers, tables)
    csv_tables.write(job.output.check, found, schemas.CSVS["published_check"])
    agree, differ = ((found["agrees"] == value).sum() for value in (True, False))
    job.log.info("%d items: %d agree, %d do not, the others need a run", len(found), agree, differ)


def check(circuits, numbers, tables):
    """Rows of published_check.csv.

    circuits: {task: components};  numbers: as in resources/published
    tables:   {cross, importance, ov} of a run with the published circuits, or empty
    """
    rows = [*from_lists(circuits, numbers), *from_numbers(numbers), *from_runs(numbers, PublishedRun(tables, circuits))]
    return pd.DataFrame(rows, columns=COLUMNS)


def of_other_models(found, circuits, numbers, tables):
    """The table with numbers of another model in the rows that a run of GPT-2 would fill, if none was run.

    found: published_check.csv;  tables: {cross, importance, ov}
    """
    run = PublishedRun(tables, circuits)
    if not run.stands_in:
        return found
    more = pd.DataFrame(from_runs(numbers, run), columns=COLUMNS)
    return pd.concat([found[~found["item"].isin(more["item"])], more], ignore_index=True)


def row(item, published, recomputed, digits=None, why="", tolerance=None, model=None):
    """One row; numbers agree to the digits that were published, or within a tolerance."""
    if recomputed is None:
        return [item, text(published), None, None, why, model]
    if isinstance(published, (int, float)):
        room = tolerance if tolerance is not None else 0.5 * 10 ** -(digits or 0) + 1e-9
        agrees = abs(recomputed - published) <= room
    else:
        agrees = published == recomputed
    return [item, text(published), text(recomputed), bool(agrees), why, model]


def text(value):
    """A value as it stands in the table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(value) if isinstance(value, list) else str(value)


def heads_of(names):
    """The heads among component names."""
    return [name for name in names if "h" in name]


def from_lists(circuits, numbers):
    """What follows from the lists of nodes."""
    heads = {task: heads_of(names) for task, names in circuits.items()}
    for task, count in numbers["heads"].items():
        yield row(f"heads, {task}", count, len(heads[task]))
    for task, out in numbers["mlps_left_out"].items():
        missing = [f"m{layer}" for layer in range(12) if f"m{layer}" not in circuits[task]]
        yield row(f"MLPs left out, {task}", out, missing)
    for first, second in itertools.combinations(circuits, 2):
        reported = numbers["overlap_heads"][f"{first} and {second}"]
        shared = len(set(heads[first]) & set(heads[second]))
        yield row(f"heads shared, {first} and {second}", reported["shared"], shared)
        found = jaccard(heads[first], heads[second])
        yield row(f"Jaccard index of heads, {first} and {second}", reported["jaccard"], found, 2)
        whole = jaccard(circuits[first], circuits[second])
        why = "published for heads alone; MLPs are in nearly all circuits"
        yield [f"Jaccard index of heads and MLPs, {first} and {second}", None, text(whole), None, why, None]
    sets = [set(names) for names in heads.values()]
    order = [name for name in heads["digits"] if name in set.intersection(*sets)]
    yield row("heads in all three", numbers["in_all_three"], order)
    yield row("heads in any", numbers["heads_in_any"], len(set.union(*sets)))
    other = numbers["months_without_m11"]
    yield row(
        "Jaccard index of heads, months with and without MLP 11 exempted",
        other["jaccard_with_months"],
        jaccard(other["circuit"], heads["months"]),
        2,
        "the same data and threshold: taking MLP 11 out first costs 19.5 of the 20 points",
    )


def from_numbers(numbers):
    """What published numbers say of each other."""
    for task, score in numbers["score"].items():
        yield row(f"score on its own data, {task}", numbers["cross_task"][task][task], score, 2)
        cut = score - numbers["edge_cut_level"]
        why = "edges were kept below 80 per cent of the full model, so the cut depends on how far the circuit lies above it"
        yield row(f"points an edge must be worth, {task}", numbers["edge_cut_points"][task], cut, 2, why)
    for task, drops in numbers["in_circuit_drop"].items():
        weak = [name for name, drop in drops.items() if -drop < numbers["score"][task] - 80]
        yield row(
            f"heads that could still go, {task}",
            "none",
            " ".join(weak) or "none",
            why="a published drop smaller than what the score lies above 80; order and MLP means explain it",
        )


def from_runs(numbers, run):
    """What a run of GPT-2 with the published circuits gives, or the own circuits of another model in their place."""

    def compared(item, published, value, tolerance, scale=100, less=0.0, stands_in=None):
        """One row of a number in per cent or points; `stands_in` is the component of the other model."""
        if value is None:
            why = NEEDS if run.model is None else f"{run.model} has no circuit or component in its place. It {NEEDS}"
            return row(item, published, None, why=why)
        value = less + scale * value
        if run.stands_in:
            place = f", {stands_in}" if stands_in else ""
            return [
                item,
                text(published),
                text(value),
                None,
                f"published of GPT-2 small; here of {run.model}{place}",
                run.model,
            ]
        why = f"other prompts; agrees within {tolerance:g}"
        return row(item, published, value, why=why, tolerance=tolerance, model=run.model)

    for task, cells in numbers["cross_task"].items():
        for data, percent in cells.items():
            yield compared(f"score, % of full: circuit {task} on {data}", percent, run.score(task, data), POINTS)
    for drops, words, value_of in (
        ("in_circuit_drop", "circuit", run.drop),
        ("from_full_drop", "full model", run.from_full),
    ):
        for task, published in numbers[drops].items():
            for name, drop in published.items():
                value, place = value_of(task, name, published)
                room = max(2.0, abs(drop) / 4)
                yield compared(f"drop out of the {words}, points: {name}, {task}", drop, value, room, stands_in=place)
    for task, left in numbers["mlp_left"].items():
        for layer, percent in enumerate(left):
            value, place = run.from_full(task, f"m{layer}")
            item = f"score without m{layer}, % of full, {task}"
            yield compared(item, percent, value, POINTS, less=100, stands_in=place)
    for task, scores in numbers["scores_top5"].items():
        for kind, published in scores.items():
            for name, percent in published.items():
                value, place = run.next_score(task, kind, name, published)
                yield compared(f"{kind} score, % of tokens: {name}, {task}", percent, value, SHARE, stands_in=place)
