"""Write docs/tables.md, docs/configuration.md, docs/models.md and config/schema.json from the code, so that they cannot drift."""

import json
from pathlib import Path

from circuit_reuse.config import schema
from circuit_reuse.data import tables
from circuit_reuse.data.csv_tables import LABELS
from circuit_reuse.engine import architectures
from circuit_reuse.studies.common.stage_findings import SKIPPED
from circuit_reuse.studies.registry import STUDIES
from circuit_reuse.validate import schemas as validate

PROJECT = Path(__file__).resolve().parents[2]
# Where the tables lie that no study has for itself.
SHARED = {
    "prompts": "prompts/<task>/<shard>",
    "examples": "<model>/<task>/examples/<shard>",
    "scores": "<model>/<task>/scores/<method>/<shard>",
    "effects": "<model>/<task>/effects/<method>, <model>/<task>/cross_task/<method>, <model>/heads/<task>/heroes, "
    "<model>/sequences/<task>/effects, <model>/contrast/<set>/effects",
}
# CSV files of a study that rules of their own write.
OTHER_CSVS = {
    "scaling": {"published_check": "published_check.csv", "validation": "validation/<table>.csv"},
    "sequences": {"published_check": "published_check.csv"},
}
TABLES = """# Tables

The same quantity has the same column, unit and scale in every table.

| column | what |
|---|---|
{labels}
| `n_<things>` | a count: examples, components, heads, runs |
| `<value>_low`, `<value>_high` | the ends of its 95 per cent interval; of a mean over controls or random circuits, the 2.5 and 97.5 per cent quantiles over these |
| `<value>_standard_error`, `<value>_std` | its standard error, its standard deviation |
| `<value>_control`, `<value>_random`, `<value>_null` | the same of matched controls, of size-matched random circuits, by chance |
| `p_value`, `q_value` | p of the table's main test, and its false discovery rate (Benjamini-Hochberg) |
| `p_<test>`, `q_<test>` | the same of other tests |
| `source`, `target` | the task that a circuit is of, the task on whose examples it is run |
| `writer`, `reader` | the two ends of an edge |

Shares, thresholds and scores that are a share of the metric are fractions, never per cent; such a score may lie outside 0 and 1.
Metrics are in logits or nats, as `attribution.metric` says. What is missing is null (in CSV files empty), never zero. Files that a published study has are in its own columns and units, and say so.

The **Parquet** tables (zstd) come from the stages. The metadata key `circuit_reuse` of a file says which settings, model
fingerprint and library versions it was made with. A shard holds `examples.shard_size` examples. The **CSV** tables are made
from them for people; numbers have six digits.
"""
CONFIG = """# Configuration

`config.yaml` is the default run. An overlay changes some keys and is put on top:

    make run ARGS="--configfile config/my.yaml"

Lists are replaced as a whole, maps key by key; null takes an entry out of a map of names
(`contrast: {sets: {sarcasm: null}}`). Every key is checked before anything runs; an
unknown one is an error. `public.yaml` is all studies on public models.

**The default of the table is the schema's.** An overlay lies on top of `config.yaml`, so a key that it
leaves out has the value of `config.yaml` where that has one: often a smaller one, made for the embedded
models. Set these explicitly for a run that goes into a paper. A run with another config writes over the tables and
figures of the last one; a second clone (`git worktree add ../second`) keeps two apart.

| key | what | allowed | default |
|---|---|---|---|
"""
AFTER = """
## Tasks

Built in: {tasks}. Options of a task (`task_options`) are the parameters of its family in
`workflow/scripts/circuit_reuse/prompts/`; for example
`task_options: {{digits: {{corruption: repeat_last, length: 5}}}}`.

A sequence of your own needs no file: `members` is a list of words (or digits, number_words, months,
days, letters), `frame` is sentence, bare, among, or your own text with `{{item}}`, and `{{word}}` where a
filler word goes; `corruption` is random, within_decade, repeat_last, repeat_all,
repeat_new or shuffled; `step: 0` repeats one element (a control); `largest` keeps the first so many members;
`fillers` are objects, names or a list of members, `filler_step` makes them a sequence too:

    custom_tasks:
      weekdays_in_french: {{sequence: {{members: [lundi, mardi, mercredi, jeudi, vendredi, samedi], length: 3, language: French}}}}

Any task may have four more settings, in `task_options` or `custom_tasks`: `bos` (auto, always, never),
`accuracy` (top1, preferred, choice), `shots` (solved examples before each prompt) and `chat` (the prompt as a
user's turn in the model's chat template), for example `task_options: {{pronouns: {{shots: 3}}}}`. [tasks.md](tasks.md)
lists the tasks with their prompts, under which tokenizers they are valid, and what SmolLM2 answers.

Your own task is a file with the columns clean, corrupt, answer and distractor (or distractors, a list or in a CSV
text with | between them), and if you like id, split (train or held_out), variant, template, cluster (what
rows have in common that are near copies of one another) and corrupt_answer:

    custom_tasks:
      capitals: {{file: config/capitals.csv, title: Capitals}}
    tasks: [ioi, capitals]

Rows of public datasets (the Mechanistic Interpretability Benchmark, MMLU, ARC) are read with `format`, from a file or from the
hub: [sources.md](sources.md#datasets-of-the-hub).

Answers are written as they follow the prompt, so usually with a leading space. Clean and corrupt must be equally
long in tokens. Answers may have several tokens: what answer and distractors share beyond the prompt belongs to
the prompt, and they are compared at the first token in which they differ. A pair that cannot be used is kept in
the examples table with the reason, and another one is drawn, up to `examples.draws` times `examples.count` prompts. A
task for which a model still has fewer than `examples.min_valid` usable pairs is left out of the study for this model, and
`results/tables/<study>/skipped.csv` says why (`results/tables/skipped.csv` those of all studies).
"""


def allowed(part):
    """What a key may be, in words."""
    if "enum" in part:
        return ", ".join(map(str, part["enum"]))
    if part.get("type") == "array":
        return f"list of {allowed(part['items'])}"
    kind = part.get("type", "map")
    words = [kind if isinstance(kind, str) else " or ".join(kind).replace("null", "none").replace("array", "list")]
    for key, word in (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("exclusiveMaximum", "below"),
    ):
        if key in part:
            words.append(f"{word} {part[key]:g}")
    return " ".join(words)


def keys(part, name=""):
    """Rows of the table of keys."""
    for key, inner in part.get("properties", {}).items():
        full = f"{name}.{key}".strip(".")
        if inner.get("type") == "object" and "properties" in inner:
            yield from keys(inner, full)
            continue
        default = inner.get("default", "")
        yield f"| `{full}` | {inner['description']} | {allowed(inner)} | {default} |"
        nested = inner.get("additionalProperties")
        if isinstance(nested, dict) and "properties" in nested:
            yield from keys(nested, f"{full}.<name>")


def rows_of(columns):
    """A Markdown table of columns."""
    text = "| column | type | what |\n|---|---|---|\n"
    for field in columns:
        about = field.metadata[b"description"].decode().replace("|", "\\|")
        kind = str(field.type).replace("dictionary<values=string, indices=int32, ordered=0>", "category")
        text += f"| `{field.name}` | {kind}{', or null' if field.nullable else ''} | {about} |\n"
    return text


def csv_text(path, title, declared):
    """The section of a CSV file."""
    rows = "".join(f"| `{name}` | {about} |\n" for name, about in escaped(declared))
    return f"\n### {path}\n\n{title + chr(10) * 2 if title else ''}| column | what |\n|---|---|\n{rows}"


def escaped(declared):
    """Columns and descriptions as a Markdown table can hold them."""
    return [(name.replace("|", "\\|"), text.replace("|", "\\|")) for name, text in declared.items()]


def csv_sections():
    """The CSV files of every study, and those of no study."""
    text = ""
    for name, study in STUDIES.items():
        schemas = study.module("schemas")
        text += f"\n## CSV files of {name}\n\n`results/tables/{name}/`; {study.question}\n"
        for output, (file, title) in study.tables.items():
            text += csv_text(file.replace("{tasks}", "<tasks>"), title and f"{title}.", schemas.CSVS[output])
        for output, file in OTHER_CSVS.get(name, {}).items():
            text += csv_text(file, "", schemas.CSVS[output])
    text += "\n## Other CSV files\n"
    text += csv_text("skipped.csv", "What was left out of a study, for all studies and in the folder of each.", SKIPPED)
    for name, declared in STUDIES["reuse"].module("schemas").FAITHFULNESS_CSVS.items():
        text += csv_text(f"faithfulness/{name}.csv", "", declared)
    for name, declared in validate.CSVS.items():
        text += csv_text(f"validate/{name}.csv", "", declared)
    return text


def tables_text():
    """docs/tables.md."""
    text = TABLES.format(labels="\n".join(f"| `{name}` | {about} |" for name, about in LABELS.items()))
    parts = [(tables.SCHEMAS, SHARED), (validate.SCHEMAS, {"planted": "validate/<planted>"})]
    parts[1:1] = [(study.module("schemas").SCHEMAS, study.schemas) for study in STUDIES.values()]
    text += "\n## Parquet files\n"
    for name, fields, places in ((name, schemas[name], places[name]) for schemas, places in parts for name in schemas):
        where = ", ".join(f"`results/{place}.parquet`" for place in places.split(", "))
        text += f"\n### {name}\n\n{where}\n\n{rows_of(fields)}"
    return text + csv_sections()


def config_text():
    """docs/configuration.md."""
    from circuit_reuse.prompts.tasks import TASKS

    return CONFIG + "\n".join(keys(schema.read_schema())) + "\n" + AFTER.format(tasks=", ".join(TASKS))


def editor_schema():
    """config/schema.json, by which editors complete and check a config or an overlay."""
    found = for_overlays(schema.read_schema())
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=1) + "\n"


def for_overlays(part):
    """A part of the schema for files that lie on top of others: nothing is required there, and null takes an entry out."""
    found = {key: value for key, value in part.items() if key != "required"}
    if "properties" in part:
        found["properties"] = {key: for_overlays(value) for key, value in part["properties"].items()}
    if isinstance(part.get("additionalProperties"), dict):
        found["additionalProperties"] = {"anyOf": [part["additionalProperties"], {"type": "null"}]}
    return found


DOCUMENTS = {
    "config/schema.json": editor_schema,
    "docs/tables.md": tables_text,
    "docs/configuration.md": config_text,
    "docs/models.md": architectures.document,
}

if __name__ == "__main__":
    for path, text in DOCUMENTS.items():
        (PROJECT / path).write_text(text())
