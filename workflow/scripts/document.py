"""Write docs/tables.md, docs/configuration.md and docs/models.md from the code, so that they cannot drift."""

from pathlib import Path

import yaml
from circuit_reuse import checks, families, tables
from circuit_reuse.contrast import schemas as contrast
from circuit_reuse.scaling import schemas
from circuit_reuse.sequences import schemas as sequences
from circuit_reuse.weights import schemas as weights

PROJECT = Path(__file__).resolve().parents[2]
WHERE = {
    "prompts": "results/prompts/<task>/<shard>.parquet",
    "examples": "results/<model>/<task>/examples/<shard>.parquet",
    "scores": "results/<model>/<task>/scores/<method>/<shard>.parquet",
    "circuits": "results/<model>/<task>/circuits/<method>.parquet",
    "inclusion": "results/<model>/<task>/circuits/<method>.inclusion.parquet",
    "similarity": "results/<model>/<task>/circuits/<method>.similarity.parquet",
    "families": "results/<model>/<task>/circuits/<method>.families.parquet",
    "reuse": "results/<model>/reuse/<method>.parquet",
    "effects": "results/<model>/<task>/effects/<method>.parquet, "
    "results/<model>/cross_task/<method>.effects.parquet, "
    "results/<model>/heads/<task>/heroes.parquet, "
    "results/<model>/sequences/<task>/effects.parquet, "
    "results/<model>/contrast/<set>/effects.parquet",
    "tests": "results/<model>/<task>/tests/<method>.parquet",
    "cross_task": "results/<model>/cross_task/<method>.parquet",
    "agreement": "results/<model>/agreement/<method>.parquet",
    "curve_runs": "results/<model>/<task>/faithfulness/<method>.runs.parquet",
    "curves": "results/<model>/<task>/faithfulness/<method>.parquet",
    "edges": "results/<model>/<task>/faithfulness/<method>.edges.parquet",
    "completeness": "results/<model>/<task>/faithfulness/<method>.completeness.parquet",
    "planted": "results/validate/<planted>.parquet",
    "scan": "results/<model>/heads/<task>/scan/<shard>.parquet",
    "trace": "results/<model>/heads/<task>/trace.parquet",
    "heads": "results/<model>/heads/classes.parquet",
    "model_trends": "results/<model>/heads/trends.parquet",
    "depths": "results/<model>/heads/depths.parquet",
    "sweep": "results/<model>/heads/sweep.parquet",
    "heroes": "results/<model>/heads/heroes.parquet",
    "hero_sets": "results/<model>/heads/hero_sets.parquet",
    "evaluated": "results/<model>/sequences/<task>/evaluated.parquet",
    "pruned": "results/<model>/sequences/<task>/pruned.parquet",
    "pruning_steps": "results/<model>/sequences/<task>/steps.parquet",
    "node_inclusion": "results/<model>/sequences/<task>/inclusion.parquet",
    "frontier": "results/<model>/sequences/<task>/frontier.parquet",
    "named_circuits": "results/<model>/sequences/circuits.parquet",
    "overlap": "results/<model>/sequences/overlap.parquet",
    "paths": "results/<model>/sequences/<task>/paths.parquet (every edge), edges.parquet (kept marked)",
    "cuts": "results/<model>/sequences/<task>/cuts.parquet",
    "ov_scores": "results/<model>/sequences/<task>/ov.parquet",
    "attention": "results/<model>/sequences/<task>/attention.parquet",
    "motifs": "results/<model>/sequences/<task>/motifs.parquet, results/<model>/sequences/motifs.parquet",
    "lens": "results/<model>/sequences/<task>/lens.parquet",
    "direct": "results/<model>/sequences/<task>/direct.parquet",
    "neurons": "results/<model>/sequences/<task>/neurons.parquet",
    "spectrum": "results/<model>/sequences/spectrum.parquet",
    "lengths": "results/<model>/sequences/lengths.parquet",
    "masks": "results/<model>/weights/<task>/masks.parquet",
    "mask_history": "results/<model>/weights/<task>/history.parquet",
    "mask_frontier": "results/<model>/weights/<task>/frontier.parquet",
    "weight_circuits": "results/<model>/weights/<task>/circuits.parquet",
    "weight_edges": "results/<model>/weights/<task>/edges.parquet",
    "weight_sweep": "results/<model>/weights/<task>/sweep.parquet",
    "random_sweep": "results/<model>/weights/<task>/random.parquet",
    "weight_sizes": "results/<model>/weights/<task>/sizes.parquet",
    "weight_matches": "results/<model>/weights/<task>/matches.parquet",
    "node_runs": "results/<model>/weights/<task>/node_runs.parquet",
    "node_random": "results/<model>/weights/<task>/node_random.parquet",
    "unexplained": "results/<model>/weights/<task>/unexplained.parquet",
    "node_importance": "results/<model>/weights/<task>/node_importance.parquet",
    "differences": "results/<model>/contrast/<set>/differences.parquet",
    "pairs": "results/<model>/contrast/<set>/pairs.parquet",
    "draws": "results/<model>/contrast/<set>/draws.parquet, scores.parquet (with attribution)",
    "contrast_circuits": "results/<model>/contrast/<set>/circuits.parquet",
    "inclusion_draws": "results/<model>/contrast/<set>/inclusion.parquet",
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
models. Say what you mean for a run that goes into a paper. A run with another config writes over the tables and
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
    every = tables.SCHEMAS | schemas.SCHEMAS | sequences.SCHEMAS | weights.SCHEMAS | contrast.SCHEMAS
    for name, schema in every.items():
        text += f"\n## {name}\n\n`{WHERE[name]}`\n\n| column | type | what |\n|---|---|---|\n"
        for field in schema:
            about = field.metadata[b"description"].decode().replace("|", "\\|")
            kind = str(field.type).replace("dictionary<values=string, indices=int32, ordered=0>", "category")
            null = ", or null" if field.nullable else ""
            text += f"| `{field.name}` | {kind}{null} | {about} |\n"
    return text


def config_text():
    """docs/configuration.md."""
    from circuit_reuse.prompts.registry import TASKS

    schema = yaml.safe_load(checks.SCHEMA.read_text())
    return CONFIG + "\n".join(keys(schema)) + "\n" + AFTER.format(tasks=", ".join(TASKS))


DOCUMENTS = {"docs/tables.md": tables_text, "docs/configuration.md": config_text, "docs/models.md": families.document}

if __name__ == "__main__":
    for path, text in DOCUMENTS.items():
        (PROJECT / path).write_text(text())
