"""A user's own prompts, from CSV, JSONL or Parquet.

Columns clean, corrupt, answer and distractor are needed; id, split, variant, template, cluster and
corrupt_answer are used where they are there.  Without a cluster every row is its own, with those that share a prompt with it.  Several wrong answers go into a column distractors
instead: a list, or in a CSV text with | between them.  The answer is written as it follows the
prompt, with its leading space where it has one.
"""

from circuit_reuse.prompts.generate import split_of

NEEDED = ("clean", "corrupt", "answer", "distractor")
KNOWN = (*NEEDED, "distractors", "id", "split", "variant", "template", "cluster", "corrupt_answer")
SPLITS = ("train", "held_out")


def rows(file, held_out_share):
    """Rows of the prompts table from a file, and how many were left out because they repeat another.

    A row without a split that shares a prompt with another, in whichever role, is put into the same split.
    raises: ValueError for missing columns, empty cells, duplicated ids, unknown splits, or a prompt in both splits
    """
    frame = checked(file, NEEDED)
    result, seen, repeats, texts = [], {}, set(), ("clean", "corrupt", "answer")
    records = frame.to_dict("records")
    first = linked(records)
    for record in records:
        index = len(result)
        empty = [name for name in texts if not isinstance(record[name], str) or not record[name]]
        if empty:
            raise ValueError(f"{file}, id {record['id']!r}: {empty[0]} is empty or not text")
        wrong = distractors(record, f"{file}, id {record['id']!r}")
        if any("\0" in text for text in (*wrong, *(record[name] for name in texts))):
            raise ValueError(f"{file}, id {record['id']!r}: the text holds a NUL byte")
        same = (*(record[name] for name in texts), *sorted(wrong))
        if same in repeats:
            continue
        repeats.add(same)
        beside = seen.get(first[record["clean"]])
        split = record.get("split") or (beside[1] if beside else split_of(index, held_out_share))
        if split not in SPLITS:
            raise ValueError(f"{file}, id {record['id']!r}: split is {split!r}; allowed: {' or '.join(SPLITS)}")
        before = seen.setdefault(first[record["clean"]], (record["id"], split))
        if before[1] != split:
            raise ValueError(
                f"{file}, id {record['id']!r}: a prompt of it, clean or corrupt, is also one of id {before[0]!r} or of those "
                "linked to it, in the other split; a circuit must be tested on prompts that it was not chosen on"
            )
        result.append(
            {
                "example": index,
                "id": record["id"],
                "split": split,
                **{name: record[name] for name in texts},
                "distractors": wrong,
                "corrupt_answer": text(record.get("corrupt_answer")) or None,
                "variant": text(record.get("variant")) or "all",
                "template": text(record.get("template")) or "all",
                "cluster": cluster_of(record) or str(before[0]),
                "roles": [],
            }
        )
    divided = "split" in frame or len({row["split"] for row in result}) > 1
    if not divided and len(result) * min(held_out_share, 1 - held_out_share) >= 1:
        raise ValueError(
            f"{file}: its rows cannot be divided into train and held out, since all share prompts, clean or corrupt, with one "
            "another; a circuit must be tested on prompts that it was not chosen on"
        )
    return result, len(records) - len(result)


def cluster_of(record):
    """The cluster that the file names for a row, text or a number; None where it names none."""
    found = record.get("cluster")
    return None if found is None or found == "" or found != found else str(found)


def linked(records):
    """{prompt: the first of those that share rows with it}; prompts of one row, clean and corrupt, belong together."""
    first = {}

    def root(prompt):
        while first.setdefault(prompt, prompt) != prompt:
            prompt = first[prompt]
        return prompt

    for record in records:
        first[root(record["corrupt"])] = root(record["clean"])
    return {prompt: root(prompt) for prompt in first}


def distractors(record, where):
    """The wrong answers of a row, from its column distractors or distractor.

    raises: ValueError for none, an empty one, or one that is the answer
    """
    several = record.get("distractors")
    if several is None or isinstance(several, float) or len(several) == 0:
        found = [record.get("distractor")]
    else:
        found = several.split("|") if isinstance(several, str) else list(several)
    if any(not isinstance(text, str) or not text for text in found):
        raise ValueError(f"{where}: distractor is empty or not text")
    if record["answer"] in found:
        raise ValueError(f"{where}: the answer {record['answer']!r} is among the distractors")
    return list(dict.fromkeys(found))


def demonstrations(rows, count):
    """Rows that are shown solved before every prompt: the first ones of the train split."""
    found = [row for row in rows if row["split"] == "train"][:count]
    if len(found) < count:
        raise ValueError(f"there are only {len(found)} train rows for {count} shots")
    return found


def checked(file, needed):
    """The file as a DataFrame with a column id.

    raises: ValueError for missing columns or duplicated ids
    """
    frame = read(file)
    missing = [name for name in needed if name not in frame.columns]
    if "distractors" in frame.columns and "distractor" in missing:
        missing.remove("distractor")
    if missing:
        found = ", ".join(map(str, frame.columns))
        raise ValueError(f"{file} has no column {' or '.join(missing)}; needed: {', '.join(needed)}; found: {found}")
    if "id" not in frame.columns:
        frame["id"] = [f"{index:06d}" for index in range(len(frame))]
    frame["id"] = frame["id"].astype(str)
    twice = frame["id"][frame["id"].duplicated()]
    if len(twice):
        raise ValueError(f"{file} has the id {twice.iloc[0]!r} twice; ids must be different")
    return frame


def text(value):
    """The value if it is text, else nothing (pandas reads an empty cell as a number)."""
    return value if isinstance(value, str) else ""


def read(file):
    """The file as a DataFrame of text."""
    import pandas

    path = str(file)
    if path.endswith(".csv"):
        return pandas.read_csv(path, dtype=str, keep_default_na=False)
    if path.endswith(".jsonl"):
        return pandas.read_json(path, lines=True, dtype=False)
    if path.endswith(".parquet"):
        return pandas.read_parquet(path)
    raise ValueError(f"{file} must end in .csv, .jsonl or .parquet")
