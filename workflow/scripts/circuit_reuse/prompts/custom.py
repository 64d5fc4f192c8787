"""A user's own prompts, from CSV, JSONL or Parquet.

Columns clean, corrupt, answer and distractor are needed; id, split, variant, template, cluster and corrupt_answer are used
where they are there.  Without a cluster every row is its own, with those that share a prompt with it, and in the cluster that
one of them has.  Several wrong answers go into a column distractors instead: a list, or in a CSV text with | between them.  The
answer is written as it follows the prompt, with its leading space where it has one, and wrong ones likewise.  Files of public
datasets may have other columns, see prompts.datasets.
"""

import re
import unicodedata

from circuit_reuse.data import user_tables
from circuit_reuse.prompts import datasets
from circuit_reuse.prompts.generate import split_of

NEEDED = ("clean", "corrupt", "answer", "distractor")
# Columns that may be there: of any file of texts, and of prompts alone.
USED = ("id", "split", "cluster")
OF_PROMPTS = ("distractors", "variant", "template", "corrupt_answer")
LABELS = ("set", "split", "variant", "template", "cluster", "corrupt_answer")
SPLITS = ("train", "held_out")


def rows(file, held_out_share, **options):
    """Rows of the prompts table from a file, and how many were left out because they repeat another.

    options: of prompts.datasets.pairs, for the columns of public datasets
    A row without a split that shares a prompt with another, in whichever role, or its cluster, is put into the same split.
    raises: ValueError for missing columns, empty cells, duplicated ids, unknown splits, or a prompt in both splits
    """
    records = checked(file, NEEDED, **options)
    result, seen, repeats, texts = [], {}, set(), ("clean", "corrupt", "answer")
    alike_texts = in_one_form(records, texts, file)
    first, given = linked(alike_texts), splits_given(records)
    join(alike_texts, first)
    named = {record["cluster"] for record in alike_texts if record.get("cluster")}
    for record, forms in zip(records, alike_texts, strict=True):
        index = len(result)
        wrong = distractors(record, f"{file}, id {record['id']!r}")
        alike(record, wrong, f"{file}, id {record['id']!r}")
        same = (forms["clean"], forms["corrupt"], record["answer"], *sorted(wrong))
        if same in repeats:
            continue
        repeats.add(same)
        beside = seen.get(first[forms["clean"]])
        # Groups are counted, not rows: of pairs of rows every first one would be divided alike.
        beside = beside[1] if beside else given.get(forms.get("cluster"))
        split = record.get("split") or beside or split_of(len(seen), held_out_share)
        if split not in SPLITS:
            raise ValueError(f"{file}, id {record['id']!r}: split is {split!r}; allowed: {' or '.join(SPLITS)}")
        before = seen.setdefault(first[forms["clean"]], (record["id"], split))
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
                "corrupt_answer": record.get("corrupt_answer") or None,
                "variant": record.get("variant") or "all",
                "template": record.get("template") or "all",
                # An id that is the name of another row's cluster is not that cluster.
                "cluster": forms.get("cluster") or (f"id {before[0]}" if before[0] in named else before[0]),
                "roles": [],
            }
        )
    divided = any(record.get("split") for record in records) or len({row["split"] for row in result}) > 1
    if not divided and len(result) * min(held_out_share, 1 - held_out_share) >= 1:
        raise ValueError(
            f"{file}: its rows cannot be divided into train and held out, since all share prompts, clean or corrupt, or a cluster with one "
            "another; a circuit must be tested on prompts that it was not chosen on. A corrupt prompt that is the clean one of the next row links all "
            "rows: exchange within pairs (A for B and B for A, C for D and D for C), or give a column split"
        )
    return result, len(records) - len(result)


def in_one_form(records, texts, file):
    """The records with prompts in one form: texts that look the same, and are one to some tokenizers, are one prompt.

    texts:  columns that must hold text
    raises: ValueError for an empty one
    """
    for record in records:
        empty = [name for name in texts if not isinstance(record[name], str) or not record[name]]
        if empty:
            raise ValueError(f"{file}, id {record['id']!r}: {empty[0]} is empty or not text")
    return [record | {name: one_form(record[name]) for name in ("clean", "corrupt")} for record in records]


def one_form(text):
    """A text with one way to write letters with accents (NFC) and line breaks."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n")


def splits_given(records):
    """{cluster: the split that a row of it has}: rows of it without one follow."""
    return {record["cluster"]: record["split"] for record in records if record.get("cluster") and record.get("split")}


def join(records, first):
    """Put rows without a cluster into that of the rows that share a prompt with them, directly or not, in place.

    first: from `linked`
    """
    of = {}
    for record in records:
        if record.get("cluster"):
            for prompt in (record["clean"], record["corrupt"]):
                of.setdefault(prompt, record["cluster"])
                of.setdefault(("linked", first[prompt]), record["cluster"])
    for record in records:
        if of and not record.get("cluster"):
            beside = (record["clean"], record["corrupt"], ("linked", first[record["clean"]]))
            record["cluster"] = next((of[each] for each in beside if each in of), "")


def linked(records):
    """{prompt: the first of those that share rows with it}; prompts of one row, clean and corrupt, belong together.

    So do those of one cluster where the file does not divide its rows itself.
    """
    first = {}

    def root(prompt):
        while first.setdefault(prompt, prompt) != prompt:
            prompt = first[prompt]
        return prompt

    for record in records:
        together = [record["corrupt"]]
        if record.get("cluster") and not record.get("split"):
            together.append(("cluster", record["cluster"]))
        for other in together:
            first[root(other)] = root(record["clean"])
    return {prompt: root(prompt) for prompt in first}


def distractors(record, where):
    """The wrong answers of a row, from its column distractors or distractor.

    raises: ValueError for none, an empty one, or one that is the answer
    """
    several = record.get("distractors")
    if not several:
        found = [record.get("distractor")]
    elif isinstance(several, (str, list, tuple)):
        found = several.split("|") if isinstance(several, str) else several
    else:
        raise ValueError(
            f"{where}: distractors is {several!r}; it must be a list of texts, or a text with | between them"
        )
    if any(not isinstance(text, str) or not text for text in found):
        raise ValueError(f"{where}: distractor is empty or not text")
    if record["answer"] in found:
        raise ValueError(f"{where}: the answer {record['answer']!r} is among the distractors")
    return list(dict.fromkeys(found))


# A list that another program wrote as text: of texts in quotes, with or without commas between them, or of numbers.
LIST = re.compile(r"""\s*(array\()?[\[(]\s*(['"].*['"]\s*,?|[-\d.]+([,\s]+[-\d.]+)+)\s*[\])]\)?\s*""", re.DOTALL)


def alike(record, wrong, where):
    """The answers of a row must be of one form, or the wrong ones are no alternatives: a model never gives them.

    wrong:  its distractors
    raises: ValueError for a list as text, a space at the end, a space in front of some of them, or a NUL byte
    """
    given = [("answer", record["answer"]), *(("distractor", text) for text in wrong)]
    if record.get("corrupt_answer"):
        given.append(("corrupt_answer", record["corrupt_answer"]))
    if any("\0" in text for text in (record["clean"], record["corrupt"], *(text for _, text in given))):
        raise ValueError(f"{where}: the text holds a NUL byte")
    lists = [(name, text) for name, text in given if LIST.fullmatch(text)]
    if lists and len(lists) < len(given):
        raise ValueError(
            f"{where}: {lists[0][0]} is {lists[0][1]!r}, a list as text; separate several distractors by | in a column distractors, or "
            "use JSONL or Parquet"
        )
    for name, text in given:
        if text[-1].isspace():
            raise ValueError(f"{where}: {name} is {text!r}, which ends in a space or a line break; take it off")
        if text[0].isspace() != record["answer"][0].isspace():
            raise ValueError(
                f"{where}: the answer is {record['answer']!r} and {name} is {text!r}, and only one of them begins with a space; write both as "
                "they follow the prompt"
            )


def demonstrations(rows, count):
    """Rows that are shown solved before every prompt: the first ones of the train split."""
    found = [row for row in rows if row["split"] == "train"][:count]
    if len(found) < count:
        raise ValueError(f"there are only {len(found)} train rows for {count} shots")
    return found


def checked(file, needed, **options):
    """The rows of the file as dicts, with an id, and labels as text.

    options: of prompts.datasets.pairs
    raises:  ValueError for missing columns or duplicated ids
    """
    names, records = user_tables.rows(file)
    if not records:
        raise ValueError(f"{file} has no rows")
    names, records = datasets.pairs(names, records, file, **options)
    user_tables.near(names, (*needed, *USED, *(OF_PROMPTS if needed == NEEDED else ())), file)
    missing = [name for name in needed if name not in names]
    if "distractors" in names and "distractor" in missing:
        missing.remove("distractor")
    if missing:
        found = ", ".join(names)
        raise ValueError(f"{file} has no column {' or '.join(missing)}; needed: {', '.join(needed)}; found: {found}")
    result, seen = [], set()
    for index, record in enumerate(records):
        name = user_tables.label(record["id"], f"{file}, row {index + 1}: id") if "id" in names else f"{index:06d}"
        labels = {key: user_tables.label(record[key], f"{file}, id {name!r}: {key}") for key in LABELS if key in names}
        # A space at the end makes no other cluster; an answer has its leading space.
        labels = {key: text if key == "corrupt_answer" else text.strip() for key, text in labels.items()}
        if name in seen:
            raise ValueError(f"{file} has the id {name!r} twice; ids must be different")
        seen.add(name)
        result.append({**record, **labels, "id": name})
    return result
