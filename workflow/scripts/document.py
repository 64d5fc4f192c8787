"""Write docs/tables.md, docs/configuration.md and docs/models.md from the code, so that they cannot drift."""

from pathlib import Path

from circuit_reuse.config import schema
from circuit_reuse.data import tables
from circuit_reuse.engine import architectures
from circuit_reuse.studies.registry import STUDIES
from circuit_reuse.validate import schemas as validate

PROJECT = Path(__file__).resolve().parents[2]
# Where the tables lie that no study has for itself.
SHARED = {
    "prompts": "prompts/<task>/<shard>",
    "examples": "<model>/<task>/examples/<shard>",
    "scores": "<model>/<task>/scores/<method>/<shard>",
    "effects": "<model>/<task>/effects/<method>, <model>/cross_task/<method>.effects, <model>/heads/<task>/heroes, "
    "<model>/sequences/<task>/effects, <model>/contrast/<set>/effects",
}
TABLES = """# Tables

All tables are Parquet (zstd). Missing is null, never zero. The metadata key `circuit_reuse` of a
file says which settings, model fingerprint and library versions it was made with. A shard holds
`examples.shard_size` examples.

`results/tables/reuse/summary.csv` joins `tests` and `reuse` of all models and tasks and adds
`q_value`, `q_permutation` and `q_mcnemar`: Benjamini-Hochberg over all different circuits of the
study, for `p_rank`, `p_permutation` and `p_mcnemar`.
"""
CONFIG = """# Configuration

`config.yaml` is the default run. An overlay changes some keys and is put on top:

    make run ARGS="--configfile config/my.yaml"

Lists are replaced as a whole, maps key by key; null takes an entry out of a map of names
(`contrast: {sets: {sarcasm: null}}`). Every key is checked before anything runs; an
unknown one is an error. `paper.yaml` is the same study on public models.

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
filler word goes; `corruption` is random, repeat_last, repeat_all or shuffled; `largest` keeps the first so many members;
`fillers` are objects, names or a list of members, `filler_step` makes them a sequence too:

    custom_tasks:
      weekdays_in_french: {{sequence: {{members: [lundi, mardi, mercredi, jeudi, vendredi, samedi], length: 3, language: French}}}}

Any task may have four more settings, in `task_options` or `custom_tasks`: `bos` (auto, always, never),
`accuracy` (top1, preferred, choice), `shots` (solved examples before each prompt) and `chat` (the prompt as a
user's turn in the model's chat template), for example `task_options: {{pronouns: {{shots: 3}}}}`. [tasks.md](tasks.md)
lists the tasks with their prompts, under which tokenizers they are valid, and what SmolLM2 answers.

Your own task is a file with the columns clean, corrupt, answer and distractor (or distractors, a list or in a CSV
text with | between them), and if you like id, split (train or held_out), variant, template and corrupt_answer:

    custom_tasks:
      capitals: {{file: config/capitals.csv, title: Capitals}}
    tasks: [ioi, capitals]

Answers are written as they follow the prompt, so usually with a leading space. Clean and corrupt must be equally
long in tokens. Answers may have several tokens: what answer and distractors share beyond the prompt belongs to
the prompt, and they are compared at the first token in which they differ. A pair that cannot be used is kept in
the examples table with the reason, and another one is drawn, up to `examples.draws` times `examples.count` prompts. A
task for which a model still has fewer than `examples.min_valid` usable pairs is left out of the study for this model, and
`results/tables/skipped.csv` says why.
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


def tables_text():
    """docs/tables.md."""
    text = TABLES
    parts = [(tables.SCHEMAS, SHARED), (validate.SCHEMAS, {"planted": "validate/<planted>"})]
    parts[1:1] = [(study.module("schemas").SCHEMAS, study.schemas) for study in STUDIES.values()]
    for name, fields, places in ((name, schemas[name], places[name]) for schemas, places in parts for name in schemas):
        where = ", ".join(f"`results/{place}.parquet`" for place in places.split(", "))
        text += f"\n## {name}\n\n{where}\n\n| column | type | what |\n|---|---|---|\n"
        for field in fields:
            about = field.metadata[b"description"].decode().replace("|", "\\|")
            kind = str(field.type).replace("dictionary<values=string, indices=int32, ordered=0>", "category")
            null = ", or null" if field.nullable else ""
            text += f"| `{field.name}` | {kind}{null} | {about} |\n"
    return text


def config_text():
    """docs/configuration.md."""
    from circuit_reuse.prompts.tasks import TASKS

    return CONFIG + "\n".join(keys(schema.read_schema())) + "\n" + AFTER.format(tasks=", ".join(TASKS))


DOCUMENTS = {
    "docs/tables.md": tables_text,
    "docs/configuration.md": config_text,
    "docs/models.md": architectures.document,
}

if __name__ == "__main__":
    for path, text in DOCUMENTS.items():
        (PROJECT / path).write_text(text())
