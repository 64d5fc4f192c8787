"""Prompt pairs from public datasets: rows of theirs as rows with clean, corrupt, answer, distractors and corrupt_answer.

Two formats, by their columns:
mib        prompt, choices, answerKey, and counterfactuals with the same three, as the Mechanistic Interpretability Benchmark
           has them (Mueller et al. 2025, arXiv 2504.13151): choices is a list of words, or {label, text} of lists
questions  question, choices, and answer or answerKey (a number or a label), as MMLU and ARC have them; the corrupt prompt
           has the same choices in another order
"""

import hashlib
import string

COLUMNS = ["id", "clean", "corrupt", "answer", "distractors", "corrupt_answer", "template", "cluster"]
# Counterfactuals of mib in which another answer is right, the first that a file has.
COUNTERFACTUALS = ("s2_io_flip_counterfactual", "answerPosition_counterfactual")


def pairs(names, records, file, format="pairs", counterfactual=None, longest=None):
    """Rows of a dataset as rows of pairs, in the same order.

    names, records: columns and rows of the file;  file: its name, for messages
    format:         pairs (as it is), mib or questions
    counterfactual: the column of the corrupt prompts, with mib
    longest:        characters of a prompt at most; rows with a longer one are left out
    returns:        (columns, rows)
    raises:         ValueError that names the column or the row that is not of the format
    """
    if format == "mib":
        names, records = COLUMNS, list(from_mib(names, records, file, counterfactual))
    elif format == "questions":
        names, records = COLUMNS, list(from_questions(names, records, file))
    if longest:
        records = [row for row in records if max(len(str(row.get(key))) for key in ("clean", "corrupt")) <= longest]
        if not records:
            raise ValueError(f"{file} has no row whose prompts have at most {longest} characters (longest)")
    return names, records


def from_mib(names, records, file, counterfactual):
    """Rows of the benchmark: the answer of a prompt against the other choices."""
    needs(names, file, ("prompt", "choices", "answerKey"))
    others = [name for name in names if name.endswith("_counterfactual")]
    column = counterfactual or next((name for name in COUNTERFACTUALS if name in others), None)
    if column not in others:
        raise ValueError(f"{file} has no column {column or ' or '.join(COUNTERFACTUALS)}; found: {', '.join(others)}")
    for number, record in enumerate(records):
        where = f"{file}, row {number + 1}"
        other = record[column]
        if not isinstance(other, dict) or not {"prompt", "choices", "answerKey"} <= set(other):
            raise ValueError(f"{where}: {column} is not a prompt with choices and answerKey")
        labels, place = choices_of(record, "answerKey", where)
        corrupt_labels, corrupt_place = choices_of(other, "answerKey", f"{where}, {column}")
        yield pair(
            record.get("id", f"{number:06d}"),
            record.get("template"),
            written(record["prompt"], where),
            written(other["prompt"], where),
            labels,
            place,
            corrupt_labels[corrupt_place],
        )


def from_questions(names, records, file):
    """Rows of multiple choice: the corrupt prompt has the choices moved on, so that another label is right."""
    key = next((name for name in ("answer", "answerKey") if name in names), "answer")
    needs(names, file, ("question", "choices", key))
    for number, record in enumerate(records):
        where = f"{file}, row {number + 1}"
        question = written(record["question"], where)
        _, place = choices_of(record, key, where, numbered=True)
        choices = record["choices"]
        texts = [written(text, where) for text in (choices["text"] if isinstance(choices, dict) else choices)]
        if len(texts) > len(string.ascii_uppercase):
            raise ValueError(f"{where}: {len(texts)} choices; there are letters for {len(string.ascii_uppercase)}")
        letters = list(string.ascii_uppercase[: len(texts)])
        step = 1 + hashlib.sha256(question.encode()).digest()[0] % (len(texts) - 1)
        moved = [texts[(place_of - step) % len(texts)] for place_of in range(len(texts))]
        other = letters[(place + step) % len(texts)]
        name = record.get("id", f"{number:06d}")
        yield pair(name, None, listed(question, texts), listed(question, moved), letters, place, other)


def listed(question, texts):
    """A question with its choices, one a line, under letters."""
    lines = [f"{letter}. {text}" for letter, text in zip(string.ascii_uppercase, texts, strict=False)]
    return "\n".join([question, *lines, "Answer:"])


def pair(name, template, clean, corrupt, labels, place, corrupt_answer):
    """One row of pairs; answers have the space in front with which they follow the prompt."""
    answers = [f" {label.strip()}" for label in labels]
    return {
        "id": name,
        "clean": clean,
        "corrupt": corrupt,
        "answer": answers[place],
        "distractors": [each for number, each in enumerate(answers) if number != place],
        "corrupt_answer": f" {corrupt_answer.strip()}",
        "template": template,
        "cluster": template,
    }


def choices_of(record, key, where, numbered=False):
    """The labels of a row's choices, and the place of the right one.

    numbered: whether a number may be a label (ARC); in the benchmark it is always a place
    raises: ValueError for fewer than two, or a right one that is not among them
    """
    choices, right = record["choices"], record[key]
    labels = listed_choices(choices, where)
    labels = [written(str(label), where) for label in labels]
    if str(right) in labels and (isinstance(right, str) or (numbered and isinstance(choices, dict))):
        place = labels.index(str(right))
    else:
        place = int(right) if str(right).isascii() and str(right).isdigit() else -1
    if len(labels) < 2 or not 0 <= place < len(labels):
        raise ValueError(f"{where}: {key} is {right!r}, which is none of its {len(labels)} choices")
    return labels, place


def listed_choices(choices, where):
    """The labels of choices: a list of words, or {label, text} of lists of one length.

    raises: ValueError for anything else, such as a list that a CSV holds as text
    """
    if isinstance(choices, dict):
        labels, texts = choices.get("label"), choices.get("text")
        if isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts):
            return labels
    elif isinstance(choices, list):
        return choices
    raise ValueError(
        f"{where}: choices is {str(choices)[:60]!r}; it must be a list, or label and text with a list each (JSONL or Parquet: a CSV has none)"
    )


def written(value, where):
    """A text without spaces at its end.

    raises: ValueError if it is none
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: a prompt or a choice is empty or not text")
    return value.rstrip()


def needs(names, file, columns):
    """raises: ValueError if a column is missing."""
    missing = [name for name in columns if name not in names]
    if missing:
        found = ", ".join(names)
        raise ValueError(f"{file} has no column {missing[0]}; needed: {', '.join(columns)}; found: {found}")
