"""Tables: how schemas are declared, the tables that all studies share, and how a table is read and written.

A table is Parquet (zstd), written to a temporary name and renamed, so that there is never
half a file.  The file's metadata says which model and settings it was made with; it holds no
time and no path, so equal content is equal bytes.
"""

import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from circuit_reuse.data import left_out as left

ROLE_SPANS = pa.list_(pa.struct({"role": pa.string(), "start": pa.int32(), "end": pa.int32()}))
ROLE_POSITIONS = pa.list_(pa.struct({"role": pa.string(), "position": pa.int32()}))
TOKENS = pa.list_(pa.int32())
NAMES = pa.list_(pa.string())


def table(**fields):
    """A schema from name=(type, description); a type followed by None is nullable."""
    return pa.schema(
        [
            pa.field(name, kind, nullable=optional, metadata={"description": text})
            for name, (kind, text, optional) in fields.items()
        ]
    )


def column(kind, text):
    """A column that always has a value."""
    return (kind, text, False)


def optional(kind, text):
    """A column in which missing is null."""
    return (kind, text, True)


def bounds(name, what="bootstrap bound over clusters of examples", form=optional):
    """Columns for the two ends of the 95 per cent interval of a value: {name_low: ..., name_high: ...}.

    what: they are, after their level;  form: column or optional
    """
    ends = (("low", "2.5"), ("high", "97.5"))
    return {f"{name}_{end}": form(pa.float64(), f"{level} per cent {what}") for end, level in ends}


EXAMPLE = column(pa.int32(), "number of the example in its task")
COMPONENT = column(pa.dictionary(pa.int32(), pa.string()), "input, a5.h1 (head) or m3 (MLP)")
CLUSTER = column(
    pa.dictionary(pa.int32(), pa.string()), "what near copies share: template, start of a sequence; the unit of tests"
)
N_CLUSTERS = column(pa.int32(), "clusters that these examples fall into: the units of intervals and tests")
CIRCUIT = column(pa.string(), "hash of the sorted component names; 'empty' for none")

PROMPTS = table(
    example=EXAMPLE,
    id=column(pa.string(), "name of the example: a user's own, or its number"),
    split=column(pa.string(), "train (circuits are chosen on it) or held_out (they are tested on it)"),
    clean=column(pa.string(), "clean prompt"),
    corrupt=column(pa.string(), "corrupt prompt"),
    answer=column(pa.string(), "what follows the clean prompt, with its leading space"),
    distractors=column(NAMES, "the wrong answers, whose mean the metric compares with"),
    right=optional(NAMES, "all right answers of a task that has many; their probability enters probability_difference"),
    wrong=optional(NAMES, "all wrong answers of such a task"),
    corrupt_answer=optional(pa.string(), "what follows the corrupt prompt, if definite"),
    variant=column(pa.string(), "label, such as ABBA"),
    template=column(pa.string(), "name of the sentence that the prompt is made from"),
    cluster=CLUSTER,
    roles=column(ROLE_SPANS, "character spans of the named words in the clean prompt"),
)
EXAMPLES = table(
    example=EXAMPLE,
    id=column(pa.string(), "name of the example"),
    split=column(pa.string(), "train or held_out"),
    valid=column(pa.bool_(), "whether the pair is used"),
    reason=optional(pa.string(), "why a pair is not valid"),
    used=column(pa.bool_(), "whether circuits use it: valid, and answered correctly if asked"),
    length=column(pa.int32(), "tokens of the clean prompt, with the BOS token and what is shared"),
    clean_tokens=column(TOKENS, "token ids"),
    corrupt_tokens=column(TOKENS, "token ids"),
    answer=optional(pa.int32(), "token id of the answer where it first differs from the distractors"),
    distractors=column(TOKENS, "token ids of the distractors at the same place"),
    answer_tokens=column(TOKENS, "token ids of the whole answer"),
    shared=column(pa.int32(), "first tokens of the answer that the distractors share: part of the prompt"),
    choices=optional(
        pa.list_(TOKENS),
        "token ids of every variant of each label, the right one first; or of all right and of all wrong answers",
    ),
    positions=column(TOKENS, "token positions in which clean and corrupt differ"),
    roles=column(ROLE_POSITIONS, "last token position of every named word"),
    variant=column(pa.string(), "label, such as ABBA"),
    template=column(pa.string(), "name of the sentence that the prompt is made from"),
    cluster=CLUSTER,
    clean_metric=optional(pa.float32(), "metric of the clean run, logits or nats"),
    corrupt_metric=optional(pa.float32(), "metric of the corrupt run, same answer"),
    correct=optional(pa.bool_(), "whether the clean run answers correctly, with the whole answer"),
    answer_log_probability=optional(pa.float32(), "of the whole answer after the clean prompt, nats"),
    rank=optional(pa.int32(), "rank of the answer among all tokens in the clean run, from 1"),
)
SCORES = table(
    example=EXAMPLE,
    component=COMPONENT,
    score=column(pa.float32(), "change in the metric when the component is corrupted"),
)

EFFECTS = table(
    intervention=column(pa.string(), "key under which the rows were computed and are kept"),
    circuit=optional(pa.string(), "circuit id; null for the run without intervention"),
    control=optional(pa.int32(), "number of the control; null for the circuit itself"),
    direction=column(pa.string(), "none, remove (necessity) or keep (sufficiency)"),
    replacement=column(pa.string(), "none, zero, mean, corrupt or resample"),
    example=EXAMPLE,
    cluster=CLUSTER,
    metric=column(pa.float32(), "metric, logits or nats"),
    correct=column(pa.bool_(), "whether the answer is correct, at the first token that differs"),
    rank=column(pa.int32(), "rank of the answer among all tokens, from 1"),
    kl=column(pa.float32(), "KL(clean run || this run) at the answer, nats"),
)

SCHEMAS = {"prompts": PROMPTS, "examples": EXAMPLES, "scores": SCORES, "effects": EFFECTS}
PACKAGES = ("torch", "transformers", "transformer-lens", "numpy", "scipy", "pyarrow")


def write(path, schema, rows, left_out=None, **provenance):
    """Write rows (a DataFrame or a list of dicts) as a table of a schema.

    left_out: left_out.LeftOut, if the rows say only why a task is left out
    raises: pyarrow.ArrowInvalid if a column is missing, has another type, or holds a null
            where the schema allows none
    """
    if isinstance(rows, list):
        content = pa.Table.from_pylist(rows, schema=schema)
    else:
        rows = rows.assign(**{name: decoded(rows[name]) for name, kind in rows.dtypes.items() if kind == "category"})
        content = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
    for field in schema:
        if not field.nullable and content[field.name].is_null(nan_is_null=True).to_numpy().any():
            raise ValueError(f"{path}: column {field.name} holds a null, which it must not")
    about = json.dumps(provenance | {"versions": versions()}, sort_keys=True)
    note = {left.KEY: json.dumps(left_out.record(), sort_keys=True)} if left_out else {}
    content = content.replace_schema_metadata({"circuit_reuse": about, **note})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(content, temporary, compression="zstd", write_page_checksum=True)
    temporary.replace(path)


def decoded(column):
    """A column of categories as their texts, in Arrow's memory: pandas would make a Python object of each of perhaps millions."""
    import pandas

    codes = column.cat.codes.to_numpy()
    indexed = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(column.cat.categories))
    return pandas.arrays.ArrowExtensionArray(indexed.dictionary_decode())


class DamagedTable(ValueError):
    """A table whose bytes are not those that were written; `damaged` is its path."""

    def __init__(self, path, problem):
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        super().__init__(f"{path} is damaged ({reason})")
        self.damaged = path


def read(path, schema=None):
    """A DataFrame; with a schema, checked to have its columns.

    raises: DamagedTable for a truncated or altered file, ValueError if it was not written as that table
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no table {path}")
    try:
        content = pq.read_table(path, page_checksum_verification=True)
        # Text is checked only when it is used.
        content.validate(full=True)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as problem:
        # A disk or a memory that fails says nothing about the file.
        if isinstance(problem, MemoryError) or getattr(problem, "errno", None):
            raise
        raise DamagedTable(path, problem) from None
    if schema is not None and set(schema.names) - set(content.column_names):
        missing = ", ".join(sorted(set(schema.names) - set(content.column_names)))
        raise ValueError(f"{path} is not the expected table: columns missing: {missing}")
    return content.to_pandas()


def earlier(path, schema):
    """The table that an earlier run left, or None if there is none that can be read."""
    try:
        return read(path, schema)
    except (ValueError, OSError):
        return None


def read_all(paths, schema=None):
    """The rows of several tables, one after the other."""
    import pandas

    return pandas.concat([read(path, schema) for path in paths], ignore_index=True)


def provenance(path):
    """What a file's metadata says about how it was made."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(b"circuit_reuse", b"{}"))


def versions():
    """Versions of the libraries that shape the numbers."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
