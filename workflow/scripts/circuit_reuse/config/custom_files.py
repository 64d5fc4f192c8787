"""Files of custom tasks: can they be read, and do they give enough valid pairs under every model that is on disk?

A file that was found sound is not read again until it, its settings, a tokenizer or this code changes.
"""

import hashlib
import json
import warnings
from pathlib import Path

from circuit_reuse.config import kept, paths
from circuit_reuse.config.errors import ConfigError, ConfigNote, note
from circuit_reuse.config.staleness import code_hash
from circuit_reuse.origins import dataset_files, sources
from circuit_reuse.prompts import tasks

# What was found sound, beside Snakemake's own records: {key: notes}.
KNOWN = "circuit-reuse-files.json"
# What shapes how a text is read, of a model folder.
TOKENIZER_FILES = "config.json tokenizer.json tokenizer_config.json special_tokens_map.json chat_template.jinja".split()
# Entries that are kept; a config has a few.
MOST = 200


def check(name, task, config, folders, names, count, what="examples.count"):
    """A custom file must be readable, and give enough valid pairs under every local model.

    names:  the models that it is for;  count: examples that are needed, set by the key `what`
    raises: ConfigError
    """
    if "sequence" in task:
        return
    key = f"custom_tasks.{name}.file"
    if "hub" in task and not dataset_files.there(name, task, folders[-1]):
        return
    path = paths.readable(dataset_files.local(name, task), key)
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {task['file']}")
    readers = {model: sources.folder(model, config["model_sources"][model]) for model in names}
    readers = {model: folder for model, folder in readers.items() if folder}
    found, known = state(path, name, task, config, readers, count), kept.read(KNOWN)
    if found not in known:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", ConfigNote)
            read(path, name, task, config, readers, count, what)
        known[found] = [str(each.message) for each in notes if each.category is ConfigNote]
        kept.write(KNOWN, dict(list(known.items())[-MOST:]))
    for text in known[found]:
        note(text)


def state(path, name, task, config, readers, count):
    """A hash of all that the outcome depends on."""
    tokenizers = [Path(folder) / file for folder in readers.values() for file in TOKENIZER_FILES]
    about = [
        [str(each), each.stat().st_size, each.stat().st_mtime_ns] for each in (path, *tokenizers) if each.is_file()
    ]
    settings = config["examples"]
    used = [name, tasks.settings(name, config), task["file"], "hub" in task, count]
    used += [settings["held_out_share"], settings["min_valid"], sorted(readers)]
    text = json.dumps([code_hash("circuit_reuse/config/custom_files.py"), about, used], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read(path, name, task, config, readers, count, what):
    """Read the file and make its pairs with every tokenizer; raises ConfigError, warns of what should be known."""
    from circuit_reuse.data import examples
    from circuit_reuse.prompts import custom
    from circuit_reuse.prompts.rows import with_shots

    key, settings, about = f"custom_tasks.{name}.file", config["examples"], tasks.settings(name, config)
    try:
        rows, repeats = custom.rows(path, settings["held_out_share"], **about["options"])
        rows = with_shots(rows, about["shots"])
    except (ValueError, OSError) as problem:
        # What pyarrow says may have several lines.
        raise ConfigError(f"{key}: {task['file']} cannot be read: {' '.join(str(problem).split())}") from None
    if len(rows) < count and "hub" not in task:
        beside = f" beside the {about['shots']} that are shown solved" if about["shots"] else ""
        raise ConfigError(f"{what} is {count}, but {task['file']} ({key}) has {len(rows)} rows{beside}")
    if repeats:
        note(f"{key}: {repeats} rows of {task['file']} repeat another row and are counted once; {len(rows)} are left")
    tried = rows[:count]
    note_clusters(key, task["file"], tried)
    for model, folder in readers.items():
        try:
            reader = examples.reader(folder, about["bos"], about["chat"])
        except examples.ReaderError as problem:
            raise ConfigError(f"custom_tasks.{name}, {model}: {problem}") from None
        pairs = [examples.tokenise(reader, row, labels=about["accuracy"] == "choice") for row in tried]
        note_pairs(key, task["file"], model, tried, pairs)
        for split in ("train", "held_out"):
            try:
                examples.enough(pairs, split, settings["min_valid"], name)
            except ValueError as problem:
                some = f" (of {len(rows)} rows the first {count} are used)" if count < len(rows) else ""
                raise ConfigError(f"{key}: with the tokenizer of {model}, {problem}{some}") from None


def note_clusters(key, file, rows):
    """Warn of held-out rows in too few clusters, and of frames that are taken as independent examples."""
    # It takes scipy, which only a custom file needs here.
    from circuit_reuse.stats import clusters

    held_out = [row for row in rows if row["split"] == "held_out"]
    number, frames = (len({row[name] for row in held_out}) for name in ("cluster", "template"))
    if number < min(clusters.FEWEST, len(held_out)):
        note(
            f"{key}: the {len(held_out)} held-out rows of {file} fall into {number} clusters; with fewer than {clusters.FEWEST} there "
            "are no intervals and no p-values over examples"
        )
    elif frames == 1 and number == len(held_out) > 1 and one_frame(held_out):
        note(
            f"{key}: most rows of {file} are one sentence with other words, and without a column cluster each is taken as independent; "
            "intervals then say nothing of other sentences. Name in a column cluster what rows have in common (the sentence, or what the answer follows from)"
        )
    elif 1 < frames < number == len(held_out):
        note(
            f"{key}: {file} has {frames} templates and no column cluster, so that its rows are taken as independent; if rows "
            "of a template are alike, copy it into a column cluster"
        )


def one_frame(rows):
    """Whether most prompts are one sentence with other words: as many words, and the same ones in most places."""
    words = [row["clean"].split() for row in rows]
    length = max({len(each) for each in words}, key=[len(each) for each in words].count)
    alike = [each for each in words if len(each) == length]
    same = sum(len(set(column)) == 1 for column in zip(*alike, strict=True))
    return len(alike) >= 0.8 * len(words) and same >= 0.5 * length


def note_pairs(key, file, model, rows, pairs):
    """Warn of pairs that are left out, and of answers that look as if a space were missing in front of them."""
    out = [pair for pair in pairs if not pair["valid"]]
    if out:
        note(
            f"{key}: {len(out)} of {len(pairs)} pairs of {file} are left out with the tokenizer of {model}; the first, "
            f"{out[0]['id']}: {out[0]['reason']}"
        )
    double = [row for row in rows if row["answer"][0] == " " == row["clean"][-1]]
    if double:
        note(
            f"{key}: {len(double)} of the {len(rows)} prompts of {file} that are used end in a space, and their answers begin with one, so that two "
            f"spaces stand before the answer; the first is of id {double[0]['id']}: take the space off the end of the prompt"
        )
    bare = [row for row in rows if row["answer"][0].isalnum() and row["clean"][-1].isalnum()]
    if bare:
        note(
            f"{key}: {len(bare)} of the {len(rows)} answers of {file} that are used have no space in front, and their prompts none at the end; "
            f"the first, of id {bare[0]['id']}, is {bare[0]['answer']!r}: did you mean {' ' + bare[0]['answer']!r}?"
        )
