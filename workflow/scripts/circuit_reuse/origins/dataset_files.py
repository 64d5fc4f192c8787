"""Fetch one Parquet file of a public dataset of the Hugging Face hub, and check that it is what the hub has on record."""

import json
import shutil
from pathlib import Path

from circuit_reuse.origins import fetching, pinned

# Where files are made ready: <resources>/datasets of the rules.
FETCHED = Path("resources", "datasets")
KEYS = ("hub", "revision", "file")


def run(job):
    """Make the file of a custom task ready."""
    source = job.cfg
    pin = pinned.Pin(source["hub"], source["revision"], kind="dataset")
    commit, sha256 = fetch(source["hub"], pin.commit or source["revision"], source["file"], job.output.prompts)
    pin.hold(commit)
    origin = {**source, "commit": commit, "record": sha256}
    Path(job.output.origin).write_text(json.dumps(origin, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    job.log.info("%s of %s is ready, commit %s%s", source["file"], source["hub"], commit, pin.note)


def fetch(name, revision, file, path):
    """Copy one file of a dataset to `path`, through the cache; returns (commit, hash on record).

    raises: ModelError, in one line, if it cannot be had, or is not the one on record
    """
    from huggingface_hub import hf_hub_download

    with fetching.one_line(name, revision, "dataset"):
        found = Path(hf_hub_download(name, file, revision=revision, repo_type="dataset"))
    # The cache keeps a file below the commit: snapshots/<commit>/<file>.
    commit = found.parts[-len(Path(file).parts) - 1]
    record = fetching.verify(name, commit, [found], "dataset")[found.name]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, path)
    return commit, record


def local(name, task):
    """Where the file of a custom task lies: the user's own, or where it is made ready."""
    return FETCHED / f"{name}.parquet" if "hub" in task else Path(task["file"])


def there(name, task, directory="."):
    """Whether the file of a task of the hub was fetched, as the config has it now.

    directory: in which the workflow runs
    """
    path = Path(directory) / FETCHED / f"{name}.origin.json"
    try:
        origin = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(origin.get(key) == task[key] for key in KEYS) and path.with_name(f"{name}.parquet").is_file()
