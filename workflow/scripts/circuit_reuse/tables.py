"""Every table of the workflow: its schema, and how it is read and written.

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

from circuit_reuse import left_out as left

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


EXAMPLE = column(pa.int32(), "number of the example in its task")
COMPONENT = column(pa.dictionary(pa.int32(), pa.string()), "input, a5.h1 (head) or m3 (MLP)")
TOP_K = column(pa.float64(), "K as configured: a count from 1, below 1 a share of components")
K = column(pa.int32(), "components per example circuit that top_k stands for")
THRESHOLD = column(pa.float64(), "reuse threshold p, per cent of the train examples")
CIRCUIT = column(pa.string(), "hash of the sorted component names; 'empty' for none")

PROMPTS = table(
    example=EXAMPLE,
    id=column(pa.string(), "name of the example: a user's own, or its number"),
    split=column(pa.string(), "train (selection) or held_out (every reported test)"),
    clean=column(pa.string(), "clean prompt"),
    corrupt=column(pa.string(), "corrupt prompt"),
    answer=column(pa.string(), "what follows the clean prompt, with its leading space"),
    distractors=column(NAMES, "the wrong answers, whose mean the metric compares with"),
    corrupt_answer=optional(pa.string(), "what follows the corrupt prompt, if definite"),
    variant=column(pa.string(), "label, such as ABBA"),
    template=column(pa.string(), "sentence frame"),
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
    choices=optional(pa.list_(TOKENS), "token ids of every variant of each label, the right one first"),
    positions=column(TOKENS, "token positions in which clean and corrupt differ"),
    roles=column(ROLE_POSITIONS, "last token position of every named word"),
    variant=column(pa.string(), "label, such as ABBA"),
    template=column(pa.string(), "sentence frame"),
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
CIRCUITS = table(
    kind=column(pa.string(), "example, shared, control (disjoint) or random (same make)"),
    top_k=TOP_K,
    k=K,
    threshold=optional(pa.float64(), "reuse threshold p, per cent; null for example circuits"),
    example=optional(pa.int32(), "the example whose circuit this is"),
    control=optional(pa.int32(), "number of the control or random set, from 0"),
    circuit=column(pa.string(), "hash of the component names; of the circuit that a control is for"),
    components=column(NAMES, "component names in the order of the computation"),
    problem=optional(pa.string(), "why a shared circuit has no controls"),
)
INCLUSION = table(
    top_k=TOP_K,
    k=K,
    component=COMPONENT,
    count=column(pa.int32(), "train examples whose circuit holds the component"),
    frequency=column(pa.float64(), "the same as a share"),
    mean_score=column(pa.float64(), "mean score over the train examples"),
)
SIMILARITY = table(
    top_k=TOP_K,
    first=column(pa.int32(), "example"),
    second=column(pa.int32(), "a later example"),
    jaccard=column(pa.float64(), "Jaccard index of the two example circuits"),
    rank_correlation=optional(pa.float64(), "Spearman correlation of all absolute scores"),
)
FAMILIES = table(
    top_k=TOP_K,
    example=EXAMPLE,
    family=column(pa.int32(), "cluster of example circuits, from 1"),
    place=column(pa.int32(), "place in the clustered order"),
    variant=column(pa.string(), "label of the example"),
    template=column(pa.string(), "sentence frame of the example"),
)
REUSE = table(
    task=column(pa.string(), "task"),
    top_k=TOP_K,
    k=K,
    threshold=THRESHOLD,
    n_examples=column(pa.int32(), "train examples"),
    circuit=CIRCUIT,
    circuit_size=column(pa.int32(), "components of the shared circuit"),
    reuse=column(pa.float64(), "min(size, K) / K, per cent"),
    reuse_low=column(pa.float64(), "lower end of a basic bootstrap interval over examples"),
    reuse_high=column(pa.float64(), "upper end of the same"),
    reuse_null=column(pa.float64(), "mean of the same with random example circuits, per cent"),
    reuse_null_high=column(pa.float64(), "95 per cent quantile of the same"),
    p_reuse=column(pa.float64(), "share of random draws with as much reuse, with +1"),
    reuse_other=optional(pa.float64(), "mean reuse when circuits are mixed with another task's, highest"),
    p_reuse_other=optional(pa.float64(), "permutation p against the task it is least apart from"),
    reuse_rarefied=column(pa.float64(), "mean reuse over subsets of a fixed size"),
    identifiability=column(pa.float64(), "mean inclusion frequency of the K most frequent"),
    mean_jaccard=column(pa.float64(), "mean Jaccard index of two example circuits"),
    mean_rank_correlation=optional(pa.float64(), "mean Spearman correlation of two examples"),
    families=column(pa.int32(), "clusters of example circuits"),
    family_variant_agreement=optional(pa.float64(), "adjusted Rand index of families, variants"),
    p_variant=optional(pa.float64(), "permutation p that similarity follows the variant"),
    p_template=optional(pa.float64(), "permutation p that similarity follows the template"),
)
EFFECTS = table(
    unit=column(pa.string(), "key under which the rows were computed and are kept"),
    circuit=optional(pa.string(), "circuit id; null for the run without intervention"),
    control=optional(pa.int32(), "number of the control; null for the circuit itself"),
    direction=column(pa.string(), "none, remove (necessity) or keep (sufficiency)"),
    replacement=column(pa.string(), "none, zero, mean, corrupt or resample"),
    example=EXAMPLE,
    metric=column(pa.float32(), "metric, logits or nats"),
    correct=column(pa.bool_(), "whether the answer is correct, at the first token that differs"),
    rank=column(pa.int32(), "rank of the answer among all tokens, from 1"),
    kl=column(pa.float32(), "KL(clean run || this run) at the answer, nats"),
)
TESTS = table(
    top_k=TOP_K,
    k=K,
    threshold=THRESHOLD,
    circuit=CIRCUIT,
    circuit_size=column(pa.int32(), "components of the shared circuit"),
    n_examples=column(pa.int32(), "held-out examples"),
    n_controls=column(pa.int32(), "different random circuits, disjoint from it"),
    n_random=column(pa.int32(), "different random sets of its make, for p_rank"),
    split=column(pa.string(), "held_out"),
    replacement=column(pa.string(), "what removed components are replaced by"),
    metric=column(pa.float64(), "mean metric without intervention"),
    effect=optional(pa.float64(), "mean change in the metric when the circuit is removed"),
    effect_low=optional(pa.float64(), "2.5 per cent bootstrap bound over examples"),
    effect_high=optional(pa.float64(), "97.5 per cent bootstrap bound over examples"),
    control_effect=optional(pa.float64(), "mean of the same over the controls"),
    control_low=optional(pa.float64(), "2.5 per cent quantile over the controls"),
    control_high=optional(pa.float64(), "97.5 per cent quantile over the controls"),
    difference=optional(pa.float64(), "effect - control_effect"),
    difference_low=optional(pa.float64(), "2.5 per cent bootstrap bound"),
    difference_high=optional(pa.float64(), "97.5 per cent bootstrap bound"),
    accuracy=column(pa.float64(), "share correct without intervention"),
    accuracy_circuit=optional(pa.float64(), "share correct with the circuit removed"),
    accuracy_control=optional(pa.float64(), "share correct with a control removed, mean"),
    accuracy_control_0=optional(pa.float64(), "the same for control 0, which p_mcnemar uses"),
    lift=optional(pa.float64(), "(accuracy_circuit - accuracy_control) / accuracy"),
    lift_low=optional(pa.float64(), "2.5 per cent bootstrap bound"),
    lift_high=optional(pa.float64(), "97.5 per cent bootstrap bound"),
    p_mcnemar=optional(pa.float64(), "exact McNemar, circuit against control 0, two-sided"),
    p_permutation=optional(pa.float64(), "sign flips of effect - mean control, two-sided"),
    p_rank=optional(pa.float64(), "(1 + random sets that hurt as much) / (random sets + 1)"),
    faithfulness=optional(pa.float64(), "metric kept by the circuit alone, 0 all removed, 1 full"),
    faithfulness_low=optional(pa.float64(), "2.5 per cent bootstrap bound over examples"),
    faithfulness_high=optional(pa.float64(), "97.5 per cent bootstrap bound over examples"),
    faithfulness_control=optional(pa.float64(), "the same for the controls alone, mean"),
    kl=optional(pa.float64(), "mean KL(clean || circuit removed), nats"),
    problem=optional(pa.string(), "why there is no test"),
)
CROSS = table(
    source=column(pa.string(), "task whose shared circuit is removed"),
    target=column(pa.string(), "task on whose held-out examples it is removed"),
    top_k=TOP_K,
    threshold=THRESHOLD,
    circuit=CIRCUIT,
    circuit_size=column(pa.int32(), "components"),
    n_examples=column(pa.int32(), "held-out examples of the target"),
    n_controls=column(pa.int32(), "different random circuits compared with"),
    accuracy=column(pa.float64(), "share correct without intervention"),
    accuracy_drop=optional(pa.float64(), "drop in accuracy, points of per cent"),
    accuracy_drop_low=optional(pa.float64(), "2.5 per cent bootstrap bound"),
    accuracy_drop_high=optional(pa.float64(), "97.5 per cent bootstrap bound"),
    control_drop=optional(pa.float64(), "mean drop for the controls, points of per cent"),
    effect=optional(pa.float64(), "mean change in the metric"),
    effect_low=optional(pa.float64(), "2.5 per cent bootstrap bound"),
    effect_high=optional(pa.float64(), "97.5 per cent bootstrap bound"),
    control_effect=optional(pa.float64(), "mean of the same over the controls"),
    jaccard=optional(pa.float64(), "Jaccard index of the two tasks' shared circuits"),
)
AGREEMENT = table(
    task=column(pa.string(), "task"),
    example=EXAMPLE,
    method=column(pa.string(), "method compared with exact patching"),
    rank_correlation=optional(pa.float64(), "Spearman, |score| over heads and MLPs"),
    top_overlap=column(pa.float64(), "share of the K largest that both have"),
)
LEVEL = column(pa.string(), "node (heads, MLPs, input) or edge")
RANKING = column(pa.string(), "absolute, signed (helpful first) or random")
SIZE = column(pa.float64(), "share of all nodes or edges that the circuit holds")
KEPT = column(pa.int32(), "nodes or edges that it holds: the share, rounded down")
CURVE_RUNS = table(
    level=LEVEL,
    ranking=RANKING,
    draw=optional(pa.int32(), "number of the random ranking"),
    size=SIZE,
    k=KEPT,
    example=EXAMPLE,
    metric=column(pa.float64(), "metric with all else corrupted, logits or nats"),
)
CURVES = table(
    level=LEVEL,
    ranking=RANKING,
    size=SIZE,
    k=KEPT,
    total=column(pa.int32(), "all nodes or edges"),
    n_examples=column(pa.int32(), "held-out examples"),
    faithfulness=optional(pa.float64(), "0 all corrupted, 1 untouched"),
    low=optional(pa.float64(), "2.5 per cent bootstrap bound over examples"),
    high=optional(pa.float64(), "97.5 per cent bootstrap bound over examples"),
    cpr=optional(pa.float64(), "area under faithfulness, signed ranking; of the level"),
    cpr_low=optional(pa.float64(), "2.5 per cent bootstrap bound"),
    cpr_high=optional(pa.float64(), "97.5 per cent bootstrap bound"),
    cmd=optional(pa.float64(), "area under |1 - faithfulness|, absolute ranking; of the level"),
    cmd_low=optional(pa.float64(), "2.5 per cent bound of resampled examples: a spread"),
    cmd_high=optional(pa.float64(), "97.5 per cent bound of the same; CMD is biased upwards"),
    cpr_random=optional(pa.float64(), "the same for random rankings"),
    cpr_random_low=optional(pa.float64(), "2.5 per cent bootstrap bound"),
    cpr_random_high=optional(pa.float64(), "97.5 per cent bootstrap bound"),
    cmd_random=optional(pa.float64(), "the same for random rankings"),
    cmd_random_low=optional(pa.float64(), "2.5 per cent bootstrap bound"),
    cmd_random_high=optional(pa.float64(), "97.5 per cent bootstrap bound"),
)
EDGES = table(
    writer=column(pa.string(), "component that writes"),
    reader=column(pa.string(), "a5.h1.q, .k or .v, m3 or logits"),
    score=column(pa.float64(), "mean score over the train examples, units of the metric"),
    standard_error=column(pa.float64(), "of the mean"),
    size=column(pa.float64(), "mean of the absolute score"),
)
COMPLETENESS = table(
    kind=column(pa.string(), "completeness (a random half left out) or minimality (one)"),
    k=column(pa.int32(), "nodes of the circuit"),
    left_out=column(NAMES, "what is left out"),
    circuit=optional(pa.float64(), "faithfulness of the circuit"),
    full_without=optional(pa.float64(), "faithfulness of the model without what is left out"),
    circuit_without=optional(pa.float64(), "faithfulness of the circuit without it"),
    difference=optional(pa.float64(), "completeness: |full - circuit| without it; minimality: what the circuit loses"),
)
PLANTED = table(
    model=column(pa.string(), "task and architecture of the planted model"),
    method=column(pa.string(), "attribution method, or activation-difference"),
    seed=column(pa.int32(), "seed of its places, rotation, decoys and prompts"),
    auroc=column(pa.float64(), "area under the curve of components against truth"),
    precision=column(pa.float64(), "share of truth among as many of largest score"),
    components=column(pa.int32(), "heads and MLPs"),
    circuit=column(pa.string(), "what was planted"),
    accuracy=column(pa.float64(), "share of prompts answered rightly"),
    necessity=column(pa.float64(), "share of the effect when the circuit alone is corrupted"),
    sufficiency=column(pa.float64(), "share kept when all but the circuit is corrupted"),
    weakest=column(pa.float64(), "least share when one part alone is corrupted"),
    why=optional(pa.string(), "why the method missed it; null where it did not"),
)

SCHEMAS = {
    "prompts": PROMPTS,
    "examples": EXAMPLES,
    "scores": SCORES,
    "circuits": CIRCUITS,
    "inclusion": INCLUSION,
    "similarity": SIMILARITY,
    "families": FAMILIES,
    "reuse": REUSE,
    "effects": EFFECTS,
    "tests": TESTS,
    "cross_task": CROSS,
    "agreement": AGREEMENT,
    "curve_runs": CURVE_RUNS,
    "curves": CURVES,
    "edges": EDGES,
    "completeness": COMPLETENESS,
    "planted": PLANTED,
}
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
