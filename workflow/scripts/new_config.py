"""Write a first config for a model of one's own, and print its path; one that is there is left as it is.

    python workflow/scripts/new_config.py MODEL [TASK ...]

MODEL: a folder in Hugging Face format, a .gguf file, or a name on the hub, with @revision if it is not the main branch.
"""

import re
import sys
from pathlib import Path

import yaml
from circuit_reuse.config.errors import nearest
from circuit_reuse.prompts.tasks import TASKS

FIRST = ("ioi", "pronouns", "digits")
PROJECT = Path(__file__).resolve().parents[2]
# The new config lies on top of these.
BELOW = [PROJECT / "config" / name for name in ("config.yaml", "smollm2.yaml")]
TEXT = """# yaml-language-server: $schema=schema.json
# Written by `make mine`, to be edited: run the same command again, and only what an edit changes is run. What that would be:
#   make explain ARGS="reuse --configfile config/smollm2.yaml {path}"
# It lies on top of config/smollm2.yaml, whose settings suit models of 100 million to a few billion parameters; docs/configuration.md
# lists every key, docs/tasks.md the tasks, and `custom_tasks` takes prompts of your own.

models: [{name}]
tasks: [{tasks}]
# For the other studies: make run ARGS="scaling --configfile config/smollm2.yaml {path}"
scaling: {{models: [{name}]}}
sequences: {{models: [{name}]}}
weights: {{models: [{name}]}}
contrast: {{models: [{name}]}}

model_sources:
  {name}: {source}

# A GPU is used if there is one. For a model that does not fit in float32: dtype: bfloat16.
compute: {{device: auto, dtype: float32}}
"""


def source_of(model):
    """(name, source) of a model, as the config has them.

    raises: ValueError for what is neither on disk nor a name of the hub
    """
    path = Path(model).expanduser()
    if path.exists():
        stem = path.stem if path.suffix == ".gguf" else path.resolve().name
        return named(stem, {"path"}), f"{{path: {quoted(str(path))}}}"
    name, _, revision = model.partition("@")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+", name):
        raise ValueError(
            f"MODEL is {model!r}: there is no such folder or file, and it is no name on the hub (owner/name, or owner/name@revision)"
        )
    return named(name.split("/")[1], {"hub", "revision"}), f"{{hub: {name}, revision: {quoted(revision or 'main')}}}"


def named(text, keys):
    """A name that the config allows, that YAML reads as text, and that no source of another kind has in the configs below.

    keys: of the source; one with the keys of both would be neither
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._") or "mine"
    name = name if isinstance(yaml.safe_load(name), str) else f"model-{name}"
    for below in BELOW:
        known = yaml.safe_load(below.read_text(encoding="utf-8"))["model_sources"].get(name)
        if known and set(known) != keys:
            return f"{name}-mine"
    return name


def quoted(text):
    """A text that YAML reads as it is."""
    return "'" + text.replace("'", "''") + "'"


def write(model, chosen, folder=Path("config")):
    """Write the config of a model and some tasks, or the first ones; returns its path.

    raises: ValueError for a model or task that there is not, or other tasks than those of a config that is there already
    """
    for task in chosen:
        if task not in TASKS:
            raise ValueError(f"TASKS: unknown task {task!r}; known: {', '.join(TASKS)}{nearest(task, TASKS)}")
    name, source = source_of(model)
    path = Path(folder) / f"my-{name}.yaml"
    if path.exists():
        content = content_of(path)
        if chosen and sorted(chosen) != sorted(map(str, content.get("tasks") or [])):
            raise ValueError(
                f"{path} is there already, with other tasks than TASKS: edit its line `tasks:` and leave TASKS out, or remove the file"
            )
        check_source(path, name, model, yaml.safe_load(source), content)
        return path
    asked = ", ".join(chosen or FIRST)
    path.write_text(TEXT.format(name=name, tasks=asked, source=source, path=path), encoding="utf-8")
    return path


def content_of(path):
    """What a config holds, a dict.

    raises: ValueError if it is no YAML
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as problem:
        raise ValueError(f"{path} is there already and cannot be read: {' '.join(str(problem).split())}") from None
    return content if isinstance(content, dict) else {}


def check_source(path, name, model, source, content):
    """A config that is there must be of this model: two folders or revisions may have one name.

    raises: ValueError that names both
    """
    sources = content.get("model_sources")
    known = sources.get(name) if isinstance(sources, dict) else None
    if not isinstance(known, dict):
        return
    if "@" not in model and known.get("hub") == source.get("hub") is not None:
        # Without a revision, that of the file is meant.
        return
    if any(known.get(key) != value for key, value in source.items()):
        raise ValueError(
            f"{path} is of another model, {known}, and MODEL is {model}: rename or remove that file, or run it as it is with "
            f'make run ARGS="reuse --configfile config/smollm2.yaml {path}"'
        )


if __name__ == "__main__":
    if len(sys.argv) < 2 or not sys.argv[1]:
        sys.exit("say which model: make mine MODEL=<folder, .gguf file or owner/name>")
    try:
        print(write(sys.argv[1], sys.argv[2:]))
    except ValueError as problem:
        sys.exit(str(problem))
